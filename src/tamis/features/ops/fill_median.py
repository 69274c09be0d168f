"""The median in the place of nulls."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tamis.errors import DataError, SettingError
from tamis.features.lookup import plain_values
from tamis.features.ops.fill_missing import FillMissing
from tamis.features.ops.op import Column, ColumnOp, Learned, Online, Unit, need_numbers
from tamis.features.quantiles import counts_together, quantiles
from tamis.features.statistics import Counts
from tamis.features.table_store import Tables
from tamis.schema import ColumnSchema, Schema


@dataclass(frozen=True)
class FillMedian(ColumnOp):
    """Replace nulls and NaN by the median of the training rows' other numbers.

    The median is exact, and that of all leaves of lists. Whole numbers stay whole: a median between two of them is
    rounded down. A null inside a list is replaced, a null in the place of a list stays.

    Args:
        add_binary_cols: add a boolean column `<name>_filled` that says which rows were replaced.

    Raises:
        SettingError: a column holds no numbers, or decimals.
        DataError: a column has no number but null and NaN, or its median is infinite.
    """

    add_binary_cols: bool = False

    def check(self, columns: Schema) -> None:
        """Refuse columns without numbers."""
        need_numbers(self, columns)
        for column in columns:
            if column.dtype.startswith("decimal"):
                raise SettingError(
                    f"FillMedian: the column {column.name!r} holds {column.dtype}. Cast it to float64 first."
                )

    def learn(self, column: Column) -> Mapping[str, pl.Expr | Counts]:
        """How often each number comes."""
        return {"counts": Counts(plain_values(column.values, column.schema.dtype))}

    def merge(self, parts: Sequence[Learned]) -> Learned:
        """Add the counts of equal numbers."""
        return {"counts": counts_together([part["counts"] for part in parts])}

    def finish(self, unit: Unit, found: Learned) -> Learned:
        """The median."""
        if found["counts"].is_empty():
            raise DataError(f"FillMedian: the column {unit.name!r} has no number but null and NaN. Leave it out.")
        (median,) = quantiles(found["counts"], [0.5])
        if not math.isfinite(median):
            raise DataError(
                f"FillMedian: the median of the column {unit.name!r} is {median}. Filter or replace infinite numbers."
            )
        return {"median": median}

    def apply(self, column: Column, learned: Learned) -> Sequence[pl.Expr]:
        """The numbers with the gaps filled, and whether there was one."""
        return FillMissing(learned["median"], self.add_binary_cols).apply(column, learned)

    def online(self, column: ColumnSchema, learned: Learned, tables: Tables) -> Online:
        """The number or the median, and whether it was replaced."""
        return FillMissing(learned["median"], self.add_binary_cols).online(column, learned, tables)

    def describe(self, column: ColumnSchema, learned: Learned) -> Sequence[ColumnSchema]:
        """The column as it was, and the boolean one."""
        return FillMissing(learned["median"], self.add_binary_cols).describe(column, learned)
