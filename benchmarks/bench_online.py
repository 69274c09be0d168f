"""How long does a request wait for its features, and what do several processes hold in memory for it?

Fifteen columns for Categorify, as the seed has, eight of whole numbers and seven of text, each with a vocabulary of a
million values. Measured: one row as a dict through `Workflow.online(folder)`, in a process of its own; the same row as
a Polars frame of one row through `Workflow.transform`; and of two processes that map the same folder, how much of the
tables is there once for both.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import polars as pl

from bench_workflow import IDS, ITEM, USER
from measure import peak_mb, report
from tamis.features.ops import Categorify
from tamis.features.workflow import Workflow

SEED = 42
NAMES = [*IDS, *ITEM, *USER][:15]
NUM_TEXT = 7


def values(num_values: int, generator: np.random.Generator) -> pl.DataFrame:
    """Every value of each column once, in no order; the last columns as text."""
    columns = {name: pl.Series(generator.permutation(10 * num_values)[:num_values] * 7919) for name in NAMES}
    text = {name: pl.format(f"{name}_{{}}", pl.col(name)).alias(name) for name in NAMES[-NUM_TEXT:]}
    return pl.DataFrame(columns).with_columns(**text)


def waits(transform: Callable[[Any], Any], rows: list[Any]) -> dict[str, float]:
    """How long each row took, in microseconds."""
    for row in rows[: len(rows) // 10]:  # warm up
        transform(row)
    taken = []
    for row in rows:
        start = time.perf_counter_ns()
        transform(row)
        taken.append((time.perf_counter_ns() - start) / 1000)
    return {f"p{p}_us": round(float(np.percentile(taken, p)), 1) for p in (50, 99)}


def mapped(folder: Path) -> dict[str, float]:
    """Of this process's memory, the folder's files: all of them, its share of what others hold too, its own alone."""
    found = {"Rss": 0, "Pss": 0, "Private": 0}
    is_ours = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, *rest = line.split()
        if not name.endswith(":"):
            is_ours = bool(rest) and rest[-1].startswith(str(folder))
        elif is_ours and (what := name.rstrip(":").split("_")[0]) in found and rest[-1] == "kB":
            found[what] += int(rest[0])
    return {f"tables_{what.lower()}_mb": round(kb / 1024, 1) for what, kb in found.items()}


def serve(folder: Path) -> None:
    """One server: map the tables, wait for a line, answer the rows; wait again, look at the memory."""
    start = time.perf_counter()
    workflow = Workflow.load(folder / "workflow")
    loaded = time.perf_counter()
    online = workflow.online(folder / "tables")
    opened = time.perf_counter()
    del workflow
    gc.collect()
    _say({"load_s": round(loaded - start, 2), "online_s": round(opened - loaded, 2)})
    sys.stdin.readline()
    _say(waits(online.transform, json.loads((folder / "rows.json").read_text())))
    sys.stdin.readline()
    _say(mapped(folder / "tables"))
    sys.stdin.readline()


def _say(found: dict[str, float]) -> None:
    print(json.dumps(found), flush=True)


def _hear(server: subprocess.Popen[str]) -> dict[str, float]:
    assert server.stdout is not None
    found: dict[str, float] = json.loads(server.stdout.readline())
    return found


def _go_on(server: subprocess.Popen[str]) -> None:
    assert server.stdin is not None
    server.stdin.write("\n")
    server.stdin.flush()


def _ask(server: subprocess.Popen[str]) -> dict[str, float]:
    """Let the server do its next part while the others wait."""
    _go_on(server)
    return _hear(server)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--values", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--serve", type=Path)
    given = parser.parse_args()
    if given.serve:
        return serve(given.serve)
    generator = np.random.default_rng(SEED)
    frame = values(given.values, generator)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workflow = Workflow(NAMES >> Categorify()).fit(frame)
        workflow.save(folder / "workflow")
        picked = generator.integers(0, given.values, given.rows).tolist()
        (folder / "rows.json").write_text(json.dumps(frame[picked].to_dicts()))
        start = time.perf_counter()
        workflow.online(folder / "tables")  # so that no server has to build them
        build_s = time.perf_counter() - start
        through_polars = waits(workflow.transform, [frame.slice(i, 1) for i in picked[: given.rows // 20]])
        command = [sys.executable, __file__, "--serve", str(folder)]
        servers = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
        ]
        opened = [_hear(server) for server in servers]
        answered = [_ask(server) for server in servers]
        memory = [_ask(server) for server in servers]
        for server in servers:
            _go_on(server)
            server.wait(timeout=60)
    report(
        "online",
        columns=len(NAMES),
        values=given.values,
        rows=given.rows,
        build_s=round(build_s, 2),
        **opened[0],
        **answered[0],
        transform_p50_us=through_polars["p50_us"],
        transform_p99_us=through_polars["p99_us"],
        **memory[0],
        peak_mb=peak_mb(),
        seed=SEED,
    )


if __name__ == "__main__":
    main()
