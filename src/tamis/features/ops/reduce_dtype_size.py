"""Numbers in the smallest dtype that holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tamis.features.ops.op import Column, ColumnOp, Learned, Online, number_dtype, polars_dtype, unchanged
from tamis.features.rounding import float32, whole_range
from tamis.features.table_store import Tables
from tamis.schema import ColumnSchema

_WHOLE = ("int8", "int16", "int32", "int64", "uint64")


@dataclass(frozen=True)
class ReduceDtypeSize(ColumnOp):
    """Cast whole numbers to the smallest of int8, int16, int32, int64 that holds them, and float64 to `float_dtype`.

    The numbers to hold are those of the training rows, and the column's domain where it has one, so that codes which
    were not seen fit too. A later number that does not fit becomes null. No dtype grows, and columns without numbers
    stay as they are.

    Raises:
        SettingError: float_dtype is neither float32 nor float64.
    """

    float_dtype: str = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "float_dtype", number_dtype(self, self.float_dtype, ("float32", "float64")))

    def learn(self, column: Column) -> Mapping[str, pl.Expr]:
        """The smallest and the largest of whole numbers."""
        if not _is_whole(column.schema.dtype):
            return {}
        return {"min": column.values.min(), "max": column.values.max()}

    def merge(self, parts: Sequence[Learned]) -> Learned:
        """The smallest and the largest of all parts."""
        seen = [part for part in parts if part.get("min") is not None]
        if not seen:
            return parts[0]
        return {"min": min(part["min"] for part in seen), "max": max(part["max"] for part in seen)}

    def apply(self, column: Column, learned: Learned) -> pl.Expr:
        """The same numbers, in their new dtype."""
        dtype = self._dtype(column.schema, learned)
        return column.values if dtype == column.schema.dtype else column.values.cast(polars_dtype(dtype), strict=False)

    def online(self, column: ColumnSchema, learned: Learned, tables: Tables) -> Online:
        """The number, rounded; None where the new dtype does not hold it."""
        dtype = self._dtype(column, learned)
        if dtype == column.dtype:
            return unchanged
        if dtype == "float32":
            return lambda value: None if value is None else float32(value)
        low, high = whole_range(dtype)
        return lambda value: value if value is not None and low <= value <= high else None

    def describe(self, column: ColumnSchema, learned: Learned) -> ColumnSchema:
        """The column with its new dtype."""
        return column.with_dtype(self._dtype(column, learned))

    def _dtype(self, column: ColumnSchema, learned: Learned) -> str:
        if column.dtype == "float64":
            return self.float_dtype
        if not _is_whole(column.dtype):
            return column.dtype
        numbers = [n for n in (learned["min"], learned["max"]) if n is not None]
        numbers += [int(column.domain.min), int(column.domain.max)] if column.domain else []
        smallest = next(name for name in _WHOLE if all(_holds(name, number) for number in numbers))
        return smallest if _bits(smallest) < _bits(column.dtype) else column.dtype


def _is_whole(dtype: str) -> bool:
    return dtype.startswith(("int", "uint"))


def _bits(dtype: str) -> int:
    return int(dtype.lstrip("uint"))


def _holds(dtype: str, number: int) -> bool:
    if dtype.startswith("u"):
        return number >= 0
    beyond: int = 2 ** (_bits(dtype) - 1)
    return -beyond <= number < beyond
