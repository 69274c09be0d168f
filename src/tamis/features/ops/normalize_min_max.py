"""Numbers to the range from 0 to 1."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tamis.errors import DataError
from tamis.features.ops.op import Column, ColumnOp, Learned, Online, Unit, need_numbers, number_dtype, polars_dtype
from tamis.features.rounding import rounder
from tamis.features.table_store import Tables
from tamis.schema import ColumnSchema, Schema, Tags


@dataclass(frozen=True)
class NormalizeMinMax(ColumnOp):
    """Shift and scale numbers so that the training rows' smallest becomes 0 and their largest 1.

    Numbers beyond those seen in training leave the range: put `Clip(0, 1)` behind to keep them in it. Nulls and NaN
    stay as they are. Where all training rows hold the same number, every number becomes 0.5.

    Raises:
        SettingError: a column holds no numbers.
        DataError: a column has no number but null and NaN, or an infinite one.
    """

    out_dtype: str = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "out_dtype", number_dtype(self, self.out_dtype, ("float32", "float64")))

    def check(self, columns: Schema) -> None:
        """Refuse columns without numbers."""
        need_numbers(self, columns)

    def learn(self, column: Column) -> Mapping[str, pl.Expr]:
        """The smallest and the largest number."""
        numbers = column.values.cast(pl.Float64).fill_nan(None)
        return {"min": numbers.min(), "max": numbers.max()}

    def merge(self, parts: Sequence[Learned]) -> Learned:
        """The smallest and the largest of all parts."""
        seen = [part for part in parts if part["min"] is not None]
        return {
            "min": min((part["min"] for part in seen), default=None),
            "max": max((part["max"] for part in seen), default=None),
        }

    def finish(self, unit: Unit, found: Learned) -> Learned:
        """The two numbers, once there are some."""
        if found["min"] is None:
            raise DataError(f"NormalizeMinMax: the column {unit.name!r} has no number but null and NaN. Leave it out.")
        if not (math.isfinite(found["min"]) and math.isfinite(found["max"])):
            raise DataError(
                f"NormalizeMinMax: the column {unit.name!r} holds an infinite number. Filter or replace it first."
            )
        return found

    def apply(self, column: Column, learned: Learned) -> pl.Expr:
        """(value - min) / (max - min)."""
        numbers, low, high = column.values.cast(pl.Float64), learned["min"], learned["max"]
        if low == high:
            scaled = pl.when(numbers.is_not_nan()).then(0.5).otherwise(numbers)  # null and NaN as they are
        else:
            scale, factor = _scale(low, high)
            scaled = (numbers * scale - low * scale) * factor
        return scaled.cast(polars_dtype(self.out_dtype))

    def online(self, column: ColumnSchema, learned: Learned, tables: Tables) -> Online:
        """(value - min) / (max - min)."""
        low, rounded = learned["min"], rounder(self.out_dtype)
        if low == learned["max"]:
            return lambda value: value if value is None else 0.5 if value == value else math.nan
        scale, factor = _scale(low, learned["max"])
        return lambda value: None if value is None else rounded((value * scale - low * scale) * factor)

    def describe(self, column: ColumnSchema, learned: Learned) -> ColumnSchema:
        """Continuous."""
        return column.with_dtype(self.out_dtype).with_tags(Tags.CONTINUOUS)


def _scale(low: float, high: float) -> tuple[float, float]:
    """A power of two at which the difference is an ordinary number, and what the scaled difference is multiplied with.

    To multiply is what Polars does of itself where many rows are divided by a number, but not with one row.
    """
    scale = 0.5 if math.isinf(high - low) else 2.0**100 if high - low < 1e-300 else 1.0
    return scale, 1.0 / (high * scale - low * scale)
