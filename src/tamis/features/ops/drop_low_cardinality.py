"""Leave out categories that hardly differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from tamis.errors import SettingError
from tamis.features.ops.op import Column, ColumnOp, Learned, Online, unchanged
from tamis.features.table_store import Tables
from tamis.schema import ColumnSchema, Tags


@dataclass(frozen=True)
class DropLowCardinality(ColumnOp):
    """Leave out categorical columns whose largest code is below `min_cardinality`; all others stay.

    Behind Categorify, whose values start at code 3, the default leaves out columns with fewer than two values. Columns
    without the tag or without a domain stay, as nothing is known of them.

    Raises:
        SettingError: min_cardinality is not a whole number of at least 0.
    """

    min_cardinality: int = 4

    def __post_init__(self) -> None:
        given = self.min_cardinality
        if not isinstance(given, int) or isinstance(given, bool) or given < 0:
            raise SettingError(f"DropLowCardinality: min_cardinality={given!r} is not a whole number of at least 0.")

    def apply(self, column: Column, learned: Learned) -> Sequence[pl.Expr]:
        """The column, or nothing."""
        return [column.values] if self._stays(column.schema) else []

    def online(self, column: ColumnSchema, learned: Learned, tables: Tables) -> Online:
        """The value as it is."""
        return unchanged

    def describe(self, column: ColumnSchema, learned: Learned) -> Sequence[ColumnSchema]:
        """The column, or nothing."""
        return [column] if self._stays(column) else []

    def _stays(self, column: ColumnSchema) -> bool:
        known = column.domain if column.has_tag(Tags.CATEGORICAL) else None
        return known is None or known.max >= self.min_cardinality
