"""The logarithm of counts and amounts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import polars as pl

from tamis.features.ops.op import Column, ColumnOp, Learned, Online, need_numbers
from tamis.features.rounding import float32
from tamis.features.table_store import Tables
from tamis.schema import ColumnSchema, Schema, Tags


@dataclass(frozen=True)
class LogOp(ColumnOp):
    """ln(1 + value) as float32. Nulls stay null; -1 becomes minus infinity, anything below it NaN.

    Raises:
        SettingError: a column holds no numbers.
    """

    def check(self, columns: Schema) -> None:
        """Refuse columns without numbers."""
        need_numbers(self, columns)

    def apply(self, column: Column, learned: Learned) -> pl.Expr:
        """The logarithm."""
        return column.values.cast(pl.Float64).log1p().cast(pl.Float32)

    def online(self, column: ColumnSchema, learned: Learned, tables: Tables) -> Online:
        """The logarithm."""

        def logarithm(value: float | None) -> float | None:
            if value is None:
                return None
            if value > -1:
                return float32(math.log1p(value))
            return -math.inf if value == -1 else math.nan

        return logarithm

    def describe(self, column: ColumnSchema, learned: Learned) -> ColumnSchema:
        """Continuous."""
        return column.with_dtype("float32").with_tags(Tags.CONTINUOUS)
