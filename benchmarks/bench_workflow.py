"""How fast does a workflow learn and encode the seed's million rows, parquet to parquet?

Log-normal draws with the domains of Ali-CCP: 700,000 training and 300,000 validation rows, 15 columns for Categorify
and the clicks to filter by. Measured: `fit`; `transform` of both parts into folders; `save`. The best of several runs,
since other work on the machine only ever adds.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import polars as pl

from measure import peak_mb, report
from tamis.data.dataset import Dataset
from tamis.features.workflow import Workflow
from tamis.journey.demo import seed_graph

SEED = 42
USER = {
    "user_shops": 100_000,
    "user_profile": 97,
    "user_group": 13,
    "user_gender": 2,
    "user_age": 7,
    "user_consumption_2": 3,
    "user_is_occupied": 2,
    "user_geography": 4,
    "user_intentions": 100_000,
    "user_brands": 58_000,
    "user_categories": 6_000,
}
ITEM = {"item_category": 10_000, "item_shop": 500_000, "item_brand": 200_000}
IDS = {"user_id": 3_000_000, "item_id": 1_000_000}


def rows(num_rows: int, generator: np.random.Generator) -> pl.DataFrame:
    """Users even, everything else log-normal over its domain: a few values are frequent, most are rare."""
    columns = {"user_id": generator.integers(1, IDS["user_id"] + 1, num_rows)}
    for name, cardinality in {"item_id": IDS["item_id"], **ITEM, **USER}.items():
        middle = np.log(cardinality) / 2
        drawn = np.exp(generator.normal(middle, middle / 3, num_rows)).astype(np.int64)
        columns[name] = np.clip(drawn, 1, cardinality)
    for name in ("click", "conversion"):
        columns[name] = generator.integers(0, 2, num_rows)
    return pl.DataFrame(columns)


def one_run(folder: Path) -> dict[str, float]:
    train, valid = Dataset(folder / "train"), Dataset(folder / "valid")
    start = time.perf_counter()
    workflow = Workflow(seed_graph()).fit(train)
    fitted = time.perf_counter()
    workflow.transform(train).to_parquet(folder / "out" / "train")
    workflow.transform(valid).to_parquet(folder / "out" / "valid")
    transformed = time.perf_counter()
    workflow.save(folder / "out" / "workflow")
    saved = time.perf_counter()
    return {
        "fit_s": fitted - start,
        "transform_s": transformed - fitted,
        "save_s": saved - transformed,
        "total_s": saved - start,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    num_train, num_valid = given.rows * 7 // 10, given.rows - given.rows * 7 // 10
    generator = np.random.default_rng(SEED)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Dataset(rows(num_train, generator)).to_parquet(folder / "train")
        Dataset(rows(num_valid, generator)).to_parquet(folder / "valid")
        one_run(folder)  # warm up
        runs = [one_run(folder) for _ in range(given.runs)]
    best = min(runs, key=lambda run: run["total_s"])
    report(
        "workflow",
        rows=given.rows,
        **{name: round(value, 3) for name, value in best.items()},
        total_p50_s=round(float(np.median([run["total_s"] for run in runs])), 3),
        fit_rows_per_s=round(num_train / best["fit_s"]),
        transform_rows_per_s=round(given.rows / best["transform_s"]),
        total_rows_per_s=round(given.rows / best["total_s"]),
        peak_mb=peak_mb(),
        seed=SEED,
    )


if __name__ == "__main__":
    main()
