"""NVTabular's part of bench_features.py, run by the Python of its own environment: fit, then transform to parquet."""

import argparse
import json
import time
import warnings
from pathlib import Path

import nvtabular
from nvtabular import ops

warnings.filterwarnings("ignore")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the rows")
    parser.add_argument("work", type=Path, help="folder for what is written")
    for name in ("categorical", "floats", "encoded"):
        parser.add_argument(f"--{name}", type=lambda text: text.split(","), required=True)
    parser.add_argument("--target", required=True)
    parser.add_argument("--kfold", type=int, required=True)
    parser.add_argument("--smooth", type=int, required=True)
    given = parser.parse_args()
    given.work.mkdir(parents=True)
    features = given.categorical >> ops.Categorify(out_path=str(given.work / "categories"))
    features = features + (given.floats >> ops.FillMissing(0) >> ops.Normalize())
    settings = {"kfold": given.kfold, "p_smooth": given.smooth, "out_path": str(given.work / "encoding")}
    features = features + (given.encoded >> ops.TargetEncoding(given.target, **settings))
    data = nvtabular.Dataset(sorted(map(str, given.data.glob("*.parquet"))), engine="parquet", part_size="100MB")
    workflow = nvtabular.Workflow(features + [given.target])  # noqa: RUF005 - the node's own +
    start = time.perf_counter()
    workflow.fit(data)
    fitted = time.perf_counter()
    workflow.transform(data).to_parquet(str(given.work / "out"))
    transformed = time.perf_counter()
    print(json.dumps({"fit_s": fitted - start, "transform_s": transformed - fitted, "peak_mb": peak_mb()}))


def peak_mb() -> int:
    """The same as in measure.py, which this environment's Python need not be able to import."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024


if __name__ == "__main__":
    main()
