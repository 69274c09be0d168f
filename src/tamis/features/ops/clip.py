"""Numbers kept between two limits."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from tamis.errors import SettingError
from tamis.features.ops.op import Column, ColumnOp, Learned, Online, need_numbers, polars_dtype
from tamis.features.rounding import rounder
from tamis.features.table_store import Tables
from tamis.schema import ColumnSchema, Schema


@dataclass(frozen=True)
class Clip(ColumnOp):
    """Raise smaller numbers to `min_value`, lower larger ones to `max_value`. Nulls and NaN stay as they are.

    The dtype stays: whole numbers are kept between the first and the last whole number that the limits allow.

    Raises:
        SettingError: no limit is given, one is NaN, or `max_value` is below `min_value`; a column holds no numbers, or
            its dtype has none between the limits.
    """

    min_value: float | None = None
    max_value: float | None = None

    def __post_init__(self) -> None:
        given = [limit for limit in (self.min_value, self.max_value) if limit is not None]
        if not given or not all(isinstance(n, int | float) and not math.isnan(n) for n in given):
            raise SettingError(
                f"Clip: min_value={self.min_value!r}, max_value={self.max_value!r} are no limits. "
                "Give one number or two."
            )
        if given[-1] < given[0]:
            raise SettingError(
                f"Clip: max_value={self.max_value!r} is below min_value={self.min_value!r}. Swap the two."
            )

    def check(self, columns: Schema) -> None:
        """Refuse columns that cannot be kept between the limits."""
        need_numbers(self, columns)
        for column in columns:
            if column.dtype.startswith(("bool", "decimal")):
                raise SettingError(f"Clip: the column {column.name!r} holds {column.dtype}. Cast it to a number first.")
            low, high = self._limits(column.dtype)
            if low is not None and high is not None and low > high:
                raise SettingError(
                    f"Clip: the column {column.name!r} holds {column.dtype}, which has no number from "
                    f"{self.min_value} to {self.max_value}. Give wider limits or cast the column."
                )

    def apply(self, column: Column, learned: Learned) -> pl.Expr:
        """The numbers within the limits."""
        dtype = polars_dtype(column.schema.dtype)
        low, high = (None if n is None else pl.lit(n, dtype=dtype) for n in self._limits(column.schema.dtype))
        return column.values.clip(low, high)

    def online(self, column: ColumnSchema, learned: Learned, tables: Tables) -> Online:
        """The number within the limits."""
        rounded = rounder(column.dtype) if column.dtype.startswith("float") else int
        low, high = (None if limit is None else rounded(limit) for limit in self._limits(column.dtype))

        def clipped(value: float | None) -> float | None:
            if value is None or (low is not None and value < low):
                return value if value is None else low
            return high if high is not None and value > high else value

        return clipped

    def _limits(self, dtype: str) -> tuple[float | None, float | None]:
        """The limits as numbers of the dtype, None where it has none beyond the limit."""
        if dtype.startswith("float"):
            return self.min_value, self.max_value
        first, last = _range(dtype)
        low = None if self.min_value is None else _whole(self.min_value, first, last + 1, math.ceil)
        high = None if self.max_value is None else _whole(self.max_value, first - 1, last, math.floor)
        return (first if low is None else low), (last if high is None else high)


def _range(dtype: str) -> tuple[int, int]:
    bits = int(dtype.lstrip("uint"))
    return (0, 2**bits - 1) if dtype.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _whole(limit: float, least: int, most: int, rounded: Callable[[float], int]) -> int:
    """The whole number beside a limit, no further out than one beyond the dtype's own."""
    if math.isinf(limit):
        return most if limit > 0 else least
    return min(max(rounded(limit), least), most)
