"""Do fit, transform and save of data ten times larger than the memory finish within it?

150 million rows of 18 columns, 21 GB as a frame, in a process that the system kills beyond 2 GiB (a control group,
which counts files in memory too; RLIMIT_AS where none can be made). One id column has 20 million distinct values, so
that its vocabulary and its look-up go to files. All 13 id columns are categorified, four floats filled and normalised.
Reported: seconds; the most that the process held, without the pages of files that the system keeps as long as there is
room (`peak_rss_mb` has those that are mapped); what it wrote to disk besides the results; and whether it ended well.
With `--limit-mb 0` the same without a limit; with `--users 100000000` a vocabulary that does not fit at all, which
takes three times as long. Six minutes and 30 GB of disk; not part of any test.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from limited import memory_limit, run
from measure import measured, peak_mb, report

IDS = {"item": 2_000_000, "shop": 500_000, "brand": 100_000, "place": 50_000}
SMALL = {"hour": 24, "day": 7, "device": 3, "channel": 13, "region": 97, "age": 365, "campaign": 1000}
CATEGORICAL = ["user", *IDS, "search", *SMALL]
FLOATS = ["price", "rating", "share", "stay"]
ROWS_PER_FILE = 2_000_000
SEED = 1


def write(folder: Path, num_rows: int, num_users: int) -> dict[str, Any]:
    """The rows as parquet files. Every user comes once before any comes twice."""
    import numpy as np
    import polars as pl

    folder.mkdir(parents=True)
    frame = pl.DataFrame()
    for number, start in enumerate(range(0, num_rows, ROWS_PER_FILE)):
        generator = np.random.default_rng([SEED, number])
        rows = min(ROWS_PER_FILE, num_rows - start)
        user = (np.arange(start, start + rows) % num_users) * 2_654_435_761 % (1 << 40)
        # A uniform power of the size: small ids are frequent, large ones rare.
        ids = {name: (size ** generator.random(rows)).astype(np.int64) for name, size in IDS.items()}
        search = (100_000 ** generator.random(rows)).astype(np.int64)
        small = {name: generator.integers(0, size, rows) for name, size in SMALL.items()}
        floats = {name: generator.random(rows) for name in FLOATS}
        columns = {"user": user, **ids, "search": search, **small, **floats, "click": generator.integers(0, 2, rows)}
        gaps = [pl.when(pl.Series(generator.random(rows) > 0.05)).then(name).alias(name) for name in FLOATS[:2]]
        frame = pl.DataFrame(columns).with_columns(pl.format("query {}", "search").alias("search"), *gaps)
        frame.write_parquet(folder / f"part-{number:04}.parquet", row_group_size=125_000)
    return {"columns": frame.width, "frame_mb": round(frame.estimated_size("mb") * num_rows / len(frame))}


def work(data: Path, out: Path) -> dict[str, Any]:
    """Fit, transform and save, with the seconds of each and the peak so far."""
    from tamis import Dataset, Workflow, ops

    features = (CATEGORICAL >> ops.Categorify()) + (FLOATS >> ops.FillMissing() >> ops.Normalize())
    workflow, rows = Workflow(features + "click"), Dataset(data)
    steps = {
        "fit": lambda: workflow.fit(rows),
        "transform": lambda: workflow.transform(rows).to_parquet(out / "rows"),
        "save": lambda: workflow.save(out / "workflow"),
    }
    found: dict[str, Any] = {}
    for name, step in steps.items():
        start = time.perf_counter()
        step()
        found[f"{name}_s"] = round(time.perf_counter() - start, 1)
    vocabulary = (workflow.output_schema["user"].cardinality or 0) - 3  # padding, null, unknown
    return {**found, "largest_vocabulary": vocabulary, "peak_rss_mb": peak_mb(), "spilled_mb": written_mb(out)}


def written_mb(out: Path) -> int | None:
    """What the process wrote to disk besides its results: spilled parts, and tables that are mapped."""
    io = Path("/proc/self/io")
    if not io.exists():
        return None
    written = next(int(line.split()[1]) for line in io.read_text().splitlines() if line.startswith("write_bytes"))
    return (written - sum(file.stat().st_size for file in out.rglob("*") if file.is_file())) >> 20


def check(out: Path, data: Path, num_users: int) -> dict[str, Any]:
    """Nothing got lost: all rows are there, and each user has one code and each code one user."""
    import polars as pl

    before = pl.scan_parquet(data / "*.parquet").select(rows=pl.len(), users=pl.col("user").n_unique())
    after = pl.scan_parquet(out / "rows" / "*.parquet").select(rows=pl.len(), users=pl.col("user").n_unique())
    found = [frame.collect(engine="streaming").row(0) for frame in (before, after)]
    assert found[0] == found[1] and found[0][1] == num_users, found
    return {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=150_000_000)
    parser.add_argument("--users", type=int, default=20_000_000)
    parser.add_argument("--limit-mb", type=int, default=2048)
    parser.add_argument("--folder", help="for all that is written, on a disk; by default one that goes again")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("folders", nargs="*", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    users = min(given.users, given.rows)
    if given.part == "write":
        print(json.dumps(write(given.folders[0], given.rows, users)))
    elif given.part == "work":
        print(json.dumps(work(*given.folders)), flush=True)
    elif given.part == "check":
        print(json.dumps(check(*given.folders, users)))
    else:
        with tempfile.TemporaryDirectory(dir=given.folder) as name:
            bench(Path(name), given.rows, users, given.limit_mb)


def bench(folder: Path, rows: int, users: int, limit_mb: int) -> None:
    data, out, scratch = folder / "data", folder / "out", folder / "scratch"
    scratch.mkdir()
    this = [sys.executable, __file__, "--rows", str(rows), "--users", str(users)]
    written = measured([*this, "--part", "write", str(data)])
    os.environ["POLARS_OOC_SPILL_DIR"] = str(scratch)
    with memory_limit(limit_mb << 20 if limit_mb else 1 << 62) as limit:
        code, printed, most = run([*this, "--part", "work", str(data), str(out)], limit)
        found = json.loads(printed.splitlines()[-1]) if code == 0 else {}
        ended = "finished" if code == 0 else "killed for memory" if limit.was_killed() else f"ended with code {code}"
    if code == 0:
        measured([*this, "--part", "check", str(out), str(data)])
    report(
        "out_of_core",
        rows=rows,
        **written,
        parquet_mb=sum(file.stat().st_size for file in data.iterdir()) >> 20,
        limit_mb=limit_mb or None,
        limited_by=limit.kind,
        ended=ended,
        **found,
        peak_mb=most >> 20 or found.get("peak_rss_mb"),
        seed=SEED,
    )


if __name__ == "__main__":
    main()
