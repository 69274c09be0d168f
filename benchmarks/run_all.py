"""Run every benchmark and write the tables of `docs/benchmarks.md` and of the README from what they print.

    make bench                                   all of it, two hours on two quiet cores
    python benchmarks/run_all.py training loader only these; the tables keep the older figures of the others

With `MERLIN_PYTHON` naming the Python of an environment that has Merlin (`python3.10 -m venv merlin`, then
`merlin/bin/pip install -r benchmarks/merlin-requirements.txt`), and `MERLIN_BASELINE` the folder of scripts
that time it (by default `../shared/merlin-baseline`), its figures of the same run stand beside. So do those of
torch-rechub and deepctr-torch on Frappe where `RECHUB_PYTHON` and `DEEPCTR_PYTHON` name theirs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import tables

HERE = Path(__file__).parent
RESULTS = HERE / "results.jsonl"
SCRIPTS = (
    "generate",
    "workflow",
    "features",
    "out_of_core",
    "online",
    "loader",
    "training",
    "ranking",
    "scoring",
    "evaluation",
    "quality",
    "funnel",
    "frappe",
    "serving_steady",
    "serving",
)
MERLIN = (
    ("seed_notebook.py",),
    ("train_throughput.py", "twotower", "--items", "1000000", "--optimizer", "adam"),
    ("train_throughput.py", "twotower", "--items", "1000000", "--optimizer", "lazyadam"),
    ("topk_eval.py",),
)

Row = dict[str, Any]


def run(script: str) -> list[Row]:
    """What a benchmark printed, one row per line of JSON."""
    print(f"bench_{script}.py ...", file=sys.stderr, flush=True)
    command = [sys.executable, str(HERE / f"bench_{script}.py")]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=HERE)
    return [json.loads(line) for line in finished.stdout.splitlines() if line.startswith("{")]


def script_of(row: Row) -> str:
    """Which script printed it."""
    name: str = row["benchmark"]
    return next((script for script in SCRIPTS if name.startswith(script)), name.split("-")[0])


def run_merlin(python: str, folder: Path) -> list[Row]:
    """What Merlin's own scripts recorded."""
    rows: list[Row] = []
    for script, *arguments in MERLIN:
        print(f"Merlin: {script} {' '.join(arguments)} ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as work:
            out = Path(work) / "results.jsonl"
            environment = {**os.environ, "BENCH_OUT": str(out), "BENCH_DATA": work}
            subprocess.run([python, str(folder / script), *arguments], check=True, env=environment, cwd=folder)
            rows += [{**json.loads(line), "benchmark": "merlin"} for line in out.read_text().splitlines()]
    return rows


def main() -> None:
    chosen = sys.argv[1:] or [*SCRIPTS, "merlin"]
    unknown = [name for name in chosen if name not in (*SCRIPTS, "merlin")]
    if unknown:
        sys.exit(f"There is no benchmark {unknown[0]!r}. There are {', '.join(SCRIPTS)} and merlin.")
    kept = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    rows = [row for row in kept if script_of(row) not in chosen]
    for script in SCRIPTS:
        if script in chosen:
            rows += run(script)
    if "merlin" in chosen and "MERLIN_PYTHON" in os.environ:
        baseline = Path(os.environ.get("MERLIN_BASELINE", HERE.parents[1] / "shared" / "merlin-baseline"))
        rows += run_merlin(os.environ["MERLIN_PYTHON"], baseline)
    RESULTS.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tables.write(rows, HERE.parent)


if __name__ == "__main__":
    main()
