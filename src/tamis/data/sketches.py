"""What is told of a column in one pass and bounded memory: how many distinct values, the frequent ones, a sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

_HASHES = float(2**64)


class DistinctCount:
    """The number of distinct values from their smallest hashes: exact up to `size`, then within about 1 %.

    Source: Bar-Yossef et al., Counting distinct elements in a data stream, RANDOM 2002: of `size` smallest hashes in
    the unit interval, `(size - 1) / the largest of them`.
    """

    def __init__(self, size: int = 16_384) -> None:
        self._size = size
        self._smallest: npt.NDArray[np.uint64] = np.empty(0, dtype=np.uint64)

    def add(self, hashes: npt.NDArray[np.uint64]) -> None:
        """Count more values by their hashes, which may repeat."""
        if not self.is_exact:
            hashes = hashes[hashes < self._smallest[-1]]
        self._smallest = np.unique(np.concatenate([self._smallest, hashes]))[: self._size]

    @property
    def is_exact(self) -> bool:
        """Whether so few values were seen that all are known."""
        return len(self._smallest) < self._size

    @property
    def estimate(self) -> int:
        """About how many distinct values were seen."""
        if self.is_exact:
            return len(self._smallest)
        return round((self._size - 1) * _HASHES / float(self._smallest[-1]))


class FrequentValues:
    """Values with their counts; of more than `size` values the rare ones are forgotten.

    No value was seen more than `missed` times beyond its count, so nothing that frequent is left out.
    """

    def __init__(self, dtype: pl.DataType, size: int = 8192) -> None:
        self._size, self.missed = size, 0
        self._counts = pl.DataFrame(schema={"value": dtype, "count": pl.Int64})

    def add(self, counts: pl.DataFrame) -> None:
        """Count more values, given as `value` and `count`."""
        both = pl.concat([self._counts, counts.cast({"count": pl.Int64})])
        counts = both.group_by("value").agg(pl.col("count").sum())
        if len(counts) > self._size:
            counts = counts.sort("count", descending=True)
            self.missed += counts["count"][self._size]
        self._counts = counts.head(self._size)

    def top(self, k: int) -> list[tuple[Any, int]]:
        """The most frequent values with their counts, equal ones by value."""
        ordered = self._counts.sort("count", "value", descending=[True, False])
        return [(row[0], row[1]) for row in ordered.head(k).iter_rows()]


class RowSample:
    """Rows at random, each with the same chance, in random order; all rows where there are no more than `size`."""

    def __init__(self, size: int = 50_000, *, seed: int = 0) -> None:
        self._size, self._generator = size, np.random.default_rng(seed)
        self._rows: pl.DataFrame | None = None
        self._keys: npt.NDArray[np.float64] = np.empty(0)

    def add(self, rows: pl.DataFrame) -> None:
        """Let more rows take part in the draw."""
        keys = self._generator.random(len(rows))
        if len(self._keys) >= self._size:
            chosen = keys < self._keys[self._size - 1]
            rows, keys = rows.filter(pl.Series(chosen)), keys[chosen]
        both = rows if self._rows is None else pl.concat([self._rows, rows])
        keys = np.concatenate([self._keys, keys])
        order = np.argsort(keys, kind="stable")[: self._size]
        self._rows, self._keys = both[order], keys[order]

    @property
    def rows(self) -> pl.DataFrame:
        """The rows drawn."""
        return pl.DataFrame() if self._rows is None else self._rows
