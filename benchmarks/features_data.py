"""Rows for the benchmarks of features: Zipf ids as numbers and text, small categoricals, floats with gaps, a target."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

IDS = {"id_1m": 1_000_000, "id_200k": 200_000, "text_1m": 1_000_000, "text_500k": 500_000}
SMALL = {"small_10": 10, "small_24": 24, "small_50": 50, "small_100": 100, "small_365": 365, "small_1000": 1000}
CATEGORICAL = [*IDS, *SMALL]
FLOATS = ["price", "rating", "share", "stay"]
ENCODED = ["id_200k", "text_500k"]  # by the target, too
TARGET = "click"
ROWS_PER_FILE = 1_000_000
_ZIPF = 1.05


def write(folder: Path, num_rows: int, seed: int) -> None:
    """The rows as parquet files; a file's rows depend on the seed and its number alone."""
    folder.mkdir(parents=True, exist_ok=True)
    shared = np.random.default_rng(seed)
    # Scattered, so that the order of the ids says nothing about their frequency.
    scattered = {name: shared.permutation(size) for name, size in IDS.items()}
    liked = shared.normal(0, 1, IDS["id_200k"])
    for number, start in enumerate(range(0, num_rows, ROWS_PER_FILE)):
        generator = np.random.default_rng([seed, number])
        frame = _file(generator, min(ROWS_PER_FILE, num_rows - start), scattered, liked)
        frame.write_parquet(folder / f"part-{number:03}.parquet", row_group_size=250_000)


def zipf(generator: np.random.Generator, size: int, num_rows: int) -> NDArray[np.int64]:
    """Ranks from 0, with probability in proportion to 1 / (rank + 1) ** 1.05."""
    reached = np.cumsum(1.0 / np.arange(1, size + 1) ** _ZIPF)
    drawn = np.searchsorted(reached / reached[-1], generator.random(num_rows))
    return np.minimum(drawn, size - 1).astype(np.int64)


def _file(
    generator: np.random.Generator, rows: int, scattered: dict[str, NDArray[np.int64]], liked: NDArray[np.float64]
) -> pl.DataFrame:
    ids = {name: scattered[name][zipf(generator, size, rows)] for name, size in IDS.items()}
    small = {name: generator.integers(0, size, rows) for name, size in SMALL.items()}
    numbers = {
        "price": generator.lognormal(0, 1, rows),
        "rating": generator.normal(5, 2, rows),
        "share": generator.random(rows),
        "stay": generator.pareto(2.5, rows),
    }
    logit = 0.8 * liked[ids["id_200k"]] + 0.1 * (small["small_24"] % 5 - 2) + 0.2 * (numbers["rating"] - 5) - 1
    click = (generator.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int8)
    floats = {name: values.astype(np.float32) for name, values in numbers.items()}
    frame = pl.DataFrame({**ids, **small, **floats, TARGET: click}).with_columns(
        pl.col("id_1m") + 10_000_000_000,
        pl.format("user-{}", "text_1m").alias("text_1m"),
        pl.format("sku-{}", "text_500k").alias("text_500k"),
        pl.format("k{}", "small_10").alias("small_10"),
        pl.format("channel {}", "small_100").alias("small_100"),
    )
    gaps = {**dict.fromkeys(("text_1m", "text_500k"), 0.01), **dict.fromkeys(FLOATS, 0.05)}
    return frame.with_columns(
        pl.when(pl.Series(generator.random(rows) >= share)).then(name).alias(name) for name, share in gaps.items()
    )
