"""How long lists are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from tamis.features.ops.op import Column, ColumnOp, Learned, need_lists
from tamis.schema import ColumnSchema, Schema


@dataclass(frozen=True)
class ValueCount(ColumnOp):
    """Say in the schema how long the training rows' lists are: `properties["value_count"] = {"min": 0, "max": 7}`.

    The values stay as they are. A null in the place of a list counts as an empty one, as it does in a batch.

    Raises:
        SettingError: a column holds no lists.
    """

    leaves: ClassVar[bool] = False

    def check(self, columns: Schema) -> None:
        """Refuse columns without lists."""
        need_lists(self, columns)

    def learn(self, column: Column) -> Mapping[str, pl.Expr]:
        """The length of the shortest and of the longest list."""
        if column.schema.width is not None:
            return {}
        lengths = column.values.list.len().fill_null(0)
        return {"min": lengths.min(), "max": lengths.max()}

    def merge(self, parts: Sequence[Learned]) -> Learned:
        """The shortest and the longest of all parts."""
        if not parts[0]:
            return parts[0]
        return {"min": min(part["min"] for part in parts), "max": max(part["max"] for part in parts)}

    def describe(self, column: ColumnSchema, learned: Learned) -> ColumnSchema:
        """The column with `value_count`."""
        lengths = dict(learned) or {"min": column.width, "max": column.width}
        return column.with_properties({"value_count": lengths})
