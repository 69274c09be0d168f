"""Everything that one pass learns of one column."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from tamis.data.sketches import DistinctCount, FrequentValues

_LEAVES_AT_ONCE = 1_000_000  # a column of long vectors must not unfold as a whole


class ColumnScan:
    """Counts over the rows of a column, or over the leaves of its lists."""

    def __init__(self, dtype: pl.DataType) -> None:
        self.is_list = isinstance(dtype, pl.List | pl.Array)
        self.leaf = dtype.inner if isinstance(dtype, pl.List | pl.Array) else dtype
        assert isinstance(self.leaf, pl.DataType)
        self.is_number = self.leaf.is_numeric()
        self.is_ordered = self.is_number or self.leaf.is_temporal()
        self.rows = self.nulls = self.nans = self.values = 0
        self.distinct, self.frequent = DistinctCount(), FrequentValues(self.leaf)
        self.total = 0.0
        self.low: Any = None
        self.high: Any = None
        self.shortest: int | None = None
        self.longest: int | None = None
        self.all_length = 0

    def add(self, column: pl.Series) -> None:
        """See more rows."""
        self.rows += len(column)
        self.nulls += column.null_count()
        if not self.is_list:
            self._add_values(column)
            return
        lengths = _lengths(column).drop_nulls()
        self._add_lengths(lengths)
        for part in _pieces(column, lengths):
            self._add_values(part.explode(empty_as_null=False, keep_nulls=False))

    def _add_values(self, values: pl.Series) -> None:
        values = values.drop_nulls()
        if self.leaf.is_float():
            self.nans += int(values.is_nan().sum())
            values = values.drop_nans()
        self.values += len(values)
        if not len(values) or isinstance(self.leaf, pl.Struct | pl.List | pl.Array | pl.Object):
            return
        counts = values.alias("value").value_counts(name="count")
        self.distinct.add(counts["value"].hash(seed=0).to_numpy())
        self.frequent.add(counts)
        if self.is_ordered:
            self._add_range(values)
        elif self.leaf == pl.String and not self.is_list:
            self._add_lengths(values.str.len_chars())

    def _add_range(self, values: pl.Series) -> None:
        self.low = _best(min, self.low, values.min())
        self.high = _best(max, self.high, values.max())
        if self.is_number:
            self.total += float(values.cast(pl.Float64).sum())

    def _add_lengths(self, lengths: pl.Series) -> None:
        if len(lengths):
            self.shortest = _best(min, self.shortest, lengths.min())
            self.longest = _best(max, self.longest, lengths.max())
            self.all_length += int(lengths.cast(pl.Int64).sum())


def _best(choose: Any, known: Any, new: Any) -> Any:
    return new if known is None else known if new is None else choose(known, new)


def _lengths(column: pl.Series) -> pl.Series:
    return column.arr.len() if isinstance(column.dtype, pl.Array) else column.list.len()


def _pieces(column: pl.Series, lengths: pl.Series) -> Iterator[pl.Series]:
    """The lists, so many at a time that their leaves stay few."""
    longest = int(lengths.max() or 1) if len(lengths) else 1  # type: ignore[arg-type]  # lengths are whole numbers
    for frame in column.to_frame().iter_slices(max(_LEAVES_AT_ONCE // max(longest, 1), 1)):
        yield frame.to_series()


def slim(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows with what a sample needs of them: lengths in place of lists, the beginnings of long texts."""
    return frame.select(_slim(name, dtype) for name, dtype in frame.schema.items())


def _slim(name: str, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.List):
        return pl.col(name).list.len()
    if isinstance(dtype, pl.Array):
        return pl.col(name).arr.len()
    if isinstance(dtype, pl.Struct | pl.Object):
        return pl.col(name).is_null()
    return pl.col(name).str.slice(0, 64) if dtype == pl.String else pl.col(name)
