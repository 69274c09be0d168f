"""Leave out rows with nulls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from tamis.errors import UnknownColumnError
from tamis.features.ops.op import RowOp
from tamis.schema import Schema


@dataclass(frozen=True)
class Dropna(RowOp):
    """Drop rows that hold a null or a NaN in the selected columns, or in the given ones of them.

    A null list counts, a null inside a list does not.
    """

    columns: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.columns is not None:
            given = [self.columns] if isinstance(self.columns, str) else self.columns
            object.__setattr__(self, "columns", tuple(given))

    def keep(self, columns: Schema) -> pl.Expr:
        """True for rows without a null."""
        names = columns.column_names if self.columns is None else self.columns
        for name in names:
            if name not in columns:
                raise UnknownColumnError(name, columns.column_names, where="Dropna")
        present = [pl.col(name).is_not_null() for name in names]
        floats = [n for n in names if columns[n].dtype.startswith("float") and not columns[n].is_list]
        return pl.all_horizontal(*present, *(pl.col(name).is_not_nan() for name in floats))
