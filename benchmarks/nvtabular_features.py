"""NVTabular's part of bench_features.py, run by the Python of its own environment: fit, then transform to parquet.

On a cluster of one process per core, since without one it works in one thread.
"""

import argparse
import json
import os
import time
import warnings
from pathlib import Path

import nvtabular
from dask.distributed import Client, LocalCluster
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
    with (
        LocalCluster(n_workers=os.cpu_count(), threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        print(json.dumps(measure(given, client)))


def measure(given: argparse.Namespace, client: Client) -> dict:
    started = set(client.run(os.getpid).values())
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
    peak = peak_mb(os.getpid()) + sum(peak_mb(worker) for worker in started)
    return {"fit_s": fitted - start, "transform_s": transformed - fitted, "peak_mb": peak}


def peak_mb(process: int) -> int:
    """The same as in measure.py, which this environment's Python need not be able to import."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024


if __name__ == "__main__":
    main()
