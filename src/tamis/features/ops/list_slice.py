"""A part of each list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from tamis.errors import SettingError
from tamis.features.ops.fill_missing import fill_dtype, fits
from tamis.features.ops.op import Column, ColumnOp, Learned, Online, need_lists
from tamis.features.table_store import Tables
from tamis.schema import ColumnSchema, Schema


@dataclass(frozen=True)
class ListSlice(ColumnOp):
    """Keep a part of each list: `ListSlice(3)` the first three values, `ListSlice(-3)` the last three.

    `ListSlice(start, end)` keeps what `values[start:end]` does in Python, negative numbers counted from the end. A null
    in the place of a list stays, unless lists are padded. `properties["value_count"]` says how long the lists can be.

    Args:
        start: alone, how many values; with `end`, the first one. 0 alone keeps all.
        end: the one after the last.
        pad: fill shorter lists up at their end, so that all have one length. A null list becomes all padding.
        pad_value: what to fill up with; must fit the column's dtype.

    Raises:
        SettingError: a column holds no lists, `pad_value` does not fit it, or `pad` has no length to fill up to.
    """

    leaves: ClassVar[bool] = False

    start: int
    end: int | None = None
    pad: bool = False
    pad_value: float | int | str | bool = 0

    def __post_init__(self) -> None:
        for name, value in (("start", self.start), ("end", 0 if self.end is None else self.end)):
            if not isinstance(value, int) or isinstance(value, bool):
                raise SettingError(f"ListSlice: {name}={value!r} is not a whole number.")
        if self.pad and not self._length:
            raise SettingError(
                f"ListSlice: {self.start} to {self.end} has no fixed length, so there is nothing to pad to. "
                "Give `start` alone, or a `start` below an `end` of the same sign."
            )

    def check(self, columns: Schema) -> None:
        """Refuse columns without lists, and those that the padding does not fit."""
        need_lists(self, columns)
        for column in columns:
            if self.pad and not fits(self.pad_value, column.dtype):
                raise SettingError(
                    f"ListSlice: pad_value={self.pad_value!r} does not fit the column {column.name!r}, which holds "
                    f"lists of {column.dtype}. Give a value of its kind."
                )

    def apply(self, column: Column, learned: Learned) -> pl.Expr:
        """The lists, shortened and padded."""
        lists = column.values if column.schema.width is None else column.values.arr.to_list()
        kept = self._kept(lists)
        if not self.pad:
            return kept
        assert self._length is not None
        leaf = fill_dtype(column.schema.dtype)
        assert leaf is not None
        padding = pl.Series([[self.pad_value] * self._length], dtype=pl.List(leaf))
        return kept.fill_null([]).list.concat(pl.lit(padding)).list.head(self._length)

    def online(self, column: ColumnSchema, learned: Learned, tables: Tables) -> Online:
        """The list, shortened and padded."""
        kept = slice(self.start, self.end)
        if self.end is None:  # the last ones, the first ones, or all
            kept = slice(self.start, None) if self.start < 0 else slice(self.start or None)
        if not self.pad:
            return lambda values: None if values is None else values[kept]
        assert self._length is not None
        padding = pl.Series([self.pad_value], dtype=fill_dtype(column.dtype)).to_list() * self._length
        return lambda values: ((values or [])[kept] + padding)[: len(padding)]

    def describe(self, column: ColumnSchema, learned: Learned) -> ColumnSchema:
        """The column with `value_count`, where the longest length is known."""
        properties = {name: value for name, value in column.properties.items() if name not in ("width", "value_count")}
        if self._length is not None:
            properties["value_count"] = {"min": self._length if self.pad else 0, "max": self._length}
        return ColumnSchema(column.name, column.dtype, column.tags, True, properties)

    @property
    def _length(self) -> int | None:
        """How long a list can be at most; None where that depends on the list."""
        if self.end is None:
            return abs(self.start) or None
        if (self.start < 0) != (self.end < 0):
            return None
        return max(self.end - self.start, 0)

    def _kept(self, lists: pl.Expr) -> pl.Expr:
        if self.end is None and self.start < 0:
            return lists.list.tail(-self.start)
        if self.end is None:
            return lists.list.head(self.start) if self.start else lists
        if self.start >= 0 and self.end >= 0:
            return lists.list.slice(self.start, max(self.end - self.start, 0))
        length = lists.list.len().cast(pl.Int64)
        first, last = (_from_start(number, length) for number in (self.start, self.end))
        return lists.list.slice(first, pl.max_horizontal(last - first, pl.lit(0)))


def _from_start(number: int, length: pl.Expr) -> pl.Expr:
    return pl.lit(number, dtype=pl.Int64) if number >= 0 else pl.max_horizontal(length + number, pl.lit(0))
