"""How fast are features made of 10 million rows, parquet to parquet, beside hand-written Polars and NVTabular?

Four Zipf id columns (numbers and text, up to a million values), six small categoricals, four floats with gaps, a
target. All ten are categorified, the floats filled and normalised, two id columns encoded by the target out of five
folds. Each contender learns and writes in a process of its own, in turns, and its best run counts, since other work on
the machine only ever adds; peak memory is that process's. What Tamis and the hand-written Polars write is compared:
codes must be equal, floats to 1e-6. NVTabular runs once, where `MERLIN_PYTHON` names the Python of an environment with
`merlin-requirements.txt`.
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

from measure import measured, peak_mb, report

HERE = Path(__file__).parent
SEED, KFOLD, SMOOTH = 42, 5, 20


def run_tamis(data: Path, out: Path) -> dict[str, Any]:
    from features_data import CATEGORICAL, ENCODED, FLOATS, TARGET
    from tamis import Dataset, Workflow, ops

    features = CATEGORICAL >> ops.Categorify()
    features += FLOATS >> ops.FillMissing() >> ops.Normalize()
    features += [TARGET]
    features += ENCODED >> ops.TargetEncoding(TARGET, kfold=KFOLD, p_smooth=SMOOTH)
    workflow, rows = Workflow(features), Dataset(data)
    start = time.perf_counter()
    workflow.fit(rows)
    fitted = time.perf_counter()
    workflow.transform(rows, training=True).to_parquet(out)
    times = {"fit_s": fitted - start, "transform_s": time.perf_counter() - fitted}
    return {**times, "fit_passes": workflow.explain().num_passes}


def run_polars(data: Path, out: Path) -> dict[str, Any]:
    from features_by_hand import ByHand

    start = time.perf_counter()
    by_hand = ByHand(data, KFOLD, SMOOTH)
    by_hand.fit()
    fitted = time.perf_counter()
    by_hand.transform(out)
    return {"fit_s": fitted - start, "transform_s": time.perf_counter() - fitted}


def compare(one: Path, other: Path) -> dict[str, Any]:
    """Stop where the two wrote different things."""
    import polars as pl

    ours, theirs = (pl.scan_parquet(folder / "*.parquet") for folder in (one, other))
    names = ours.collect_schema().names()
    assert sorted(names) == sorted(theirs.collect_schema().names()), names
    furthest = 0.0
    for name in names:
        a, b = (frame.select(name).collect().to_series() for frame in (ours, theirs))
        if a.dtype.is_float():
            difference = (a - b).abs().max()
            assert a.null_count() == b.null_count() and difference < 1e-6, (name, difference)
            furthest = max(furthest, difference)
        else:
            assert a.equals(b), name
    return {"largest_difference": furthest}


def best(runs: list[dict[str, Any]]) -> dict[str, Any]:
    run = min(runs, key=lambda run: run["fit_s"] + run["transform_s"])
    total = run["fit_s"] + run["transform_s"]
    rounded = {name: round(value, 2) if isinstance(value, float) else value for name, value in run.items()}
    return {**rounded, "total_s": round(total, 2)}


def run_nvtabular(python: str, data: Path, work: Path) -> dict[str, Any]:
    from features_data import CATEGORICAL, ENCODED, FLOATS, TARGET

    columns = {"categorical": CATEGORICAL, "floats": FLOATS, "encoded": ENCODED, "target": [TARGET]}
    given = [word for name, names in columns.items() for word in (f"--{name}", ",".join(names))]
    script = [python, str(HERE / "nvtabular_features.py"), str(data), str(work), *given]
    return measured([*script, "--kfold", str(KFOLD), "--smooth", str(SMOOTH)], TF_CPP_MIN_LOG_LEVEL="3")


def in_process(part: str, *folders: Path) -> dict[str, Any]:
    return measured([sys.executable, __file__, "--part", part, *map(str, folders)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", help="for the rows and what is written; by default one that goes again")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("folders", nargs="*", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part == "rows":
        from features_data import write

        write(given.folders[0], given.rows, SEED)
        print("{}")
    elif given.part:
        parts = {"tamis": run_tamis, "polars": run_polars, "compare": compare}
        print(json.dumps({**parts[given.part](*given.folders), "peak_mb": peak_mb()}))
    else:
        with tempfile.TemporaryDirectory(dir=given.folder) as work:
            bench(Path(work), given.rows, given.runs)


def bench(work: Path, rows: int, num_runs: int) -> None:
    data = work / "rows"
    measured([sys.executable, __file__, "--rows", str(rows), "--part", "rows", str(data)])
    runs: dict[str, list[dict[str, Any]]] = {"tamis": [], "polars": []}
    for number in range(num_runs):
        for part in runs:
            runs[part].append(in_process(part, data, work / f"{part} {number}"))
    compared = in_process("compare", *(work / f"{part} {num_runs - 1}" for part in runs))
    found = {part: best(of_part) for part, of_part in runs.items()}
    if "MERLIN_PYTHON" in os.environ:
        found["nvtabular"] = best([run_nvtabular(os.environ["MERLIN_PYTHON"], data, work / "nvtabular")])
    else:
        print("NVTabular: left out, MERLIN_PYTHON does not name a Python that has it.", file=sys.stderr)
    tamis, by_hand = found["tamis"], found["polars"]
    report(
        "features",
        rows=rows,
        **found,
        largest_difference=compared["largest_difference"],
        time_of_hand_written=round(tamis["total_s"] / by_hand["total_s"], 2),
        memory_of_hand_written=round(tamis["peak_mb"] / by_hand["peak_mb"], 2),
        times_nvtabular=round(found["nvtabular"]["total_s"] / tamis["total_s"], 1) if "nvtabular" in found else None,
        rows_per_s=round(rows / tamis["total_s"]),
        peak_mb=tamis["peak_mb"],
        seed=SEED,
    )


if __name__ == "__main__":
    main()
