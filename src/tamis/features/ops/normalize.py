"""Numbers to mean 0 and standard deviation 1."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tamis.errors import DataError
from tamis.features.ops.op import Column, ColumnOp, Learned, Online, Unit, need_numbers, number_dtype, polars_dtype
from tamis.features.rounding import rounder
from tamis.features.statistics import Counts
from tamis.features.table_store import Tables
from tamis.schema import ColumnSchema, Schema, Tags


@dataclass(frozen=True)
class Normalize(ColumnOp):
    """Shift and scale numbers to mean 0 and standard deviation 1.

    Learns both from the training rows that are neither null nor NaN; the deviation is the population's. Nulls stay
    null: put `FillMissing` first. A constant column becomes 0. Of lists, all leaves count alike.

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

    def learn(self, column: Column) -> Mapping[str, pl.Expr | Counts]:
        """How many numbers, their mean and variance, and the ends, which tell a constant column without rounding."""
        numbers = _numbers(column)
        moments = {"count": numbers.count(), "mean": numbers.mean(), "variance": numbers.var(ddof=0)}
        return {**moments, "low": numbers.min(), "high": numbers.max()}

    def merge(self, parts: Sequence[Learned]) -> Learned:
        """Mean and variance of the parts together.

        Source: Chan, Golub and LeVeque, Updating Formulae for Computing Sample Variances, 1979.
        """
        count, mean, squares = 0, 0.0, 0.0
        parts = [part for part in parts if part["count"]]
        for part in parts:
            together = count + part["count"]
            mean = mean if count else part["mean"]
            apart = part["mean"] - mean
            squares += part["variance"] * part["count"] + apart * apart * count * part["count"] / together
            mean += apart * part["count"] / together
            count = together
        moments = {"count": count, "mean": mean, "variance": squares / count if count else 0.0}
        lows, highs = [part["low"] for part in parts], [part["high"] for part in parts]
        return {**moments, "low": min(lows, default=None), "high": max(highs, default=None)}

    def finish(self, unit: Unit, found: Learned) -> Learned:
        """The mean and the deviation."""
        if not found["count"]:
            raise DataError(f"Normalize: the column {unit.name!r} has no number but null and NaN. Leave it out.")
        if not (math.isfinite(found["mean"]) and math.isfinite(found["variance"])):
            raise DataError(
                f"Normalize: the column {unit.name!r} holds an infinite number. Filter or replace it first."
            )
        if found["low"] == found["high"]:  # the mean of many equal fractions is a little off, and so is their variance
            return {"mean": found["low"], "std": 0.0}
        return {"mean": found["mean"], "std": math.sqrt(found["variance"])}

    def apply(self, column: Column, learned: Learned) -> pl.Expr:
        """(value - mean) / deviation."""
        dtype = polars_dtype(self.out_dtype)
        centred: pl.Expr = column.values.cast(pl.Float64) - learned["mean"]
        return (centred * _factor(learned)).cast(dtype)

    def online(self, column: ColumnSchema, learned: Learned, tables: Tables) -> Online:
        """(value - mean) / deviation."""
        mean, factor, rounded = learned["mean"], _factor(learned), rounder(self.out_dtype)
        return lambda value: None if value is None else rounded((value - mean) * factor)

    def describe(self, column: ColumnSchema, learned: Learned) -> ColumnSchema:
        """Continuous."""
        return column.with_dtype(self.out_dtype).with_tags(Tags.CONTINUOUS)


def _factor(learned: Learned) -> float:
    """What to multiply with: Polars divides many rows by a number in this way, but one row really."""
    return 1.0 / (learned["std"] or 1.0)  # a constant column has a deviation of 0


def _numbers(column: Column) -> pl.Expr:
    return column.values.cast(pl.Float64).fill_nan(None)
