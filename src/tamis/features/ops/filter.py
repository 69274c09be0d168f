"""Leave rows out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from tamis.errors import UnknownColumnError
from tamis.features.ops.op import RowOp
from tamis.features.trace import traced
from tamis.schema import Schema


@dataclass(frozen=True, eq=False)
class Filter(RowOp):
    """Keep the rows for which a condition holds; a null condition drops the row.

    Args:
        f: a boolean Polars expression, or a function of a stand-in for the frame: `lambda df: df["click"] == 1`. The
            function is called once, here, and becomes an expression. `df["a"]` and `df.a` are columns; `&`, `|`, `~`,
            comparisons and Polars' own methods work, and `isin`, `isna`, `notna`, `isnull`, `notnull` as in pandas. It
            may also return the filtered frame, `df[df["click"] == 1]`.

    Raises:
        SettingError: the function does not give an expression, or the expression is not boolean.
    """

    f: pl.Expr | Callable[[Any], Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "f", traced(self.f, where="Filter"))

    def __repr__(self) -> str:
        return f"Filter({self.f})"  # an expression's own repr holds its address

    def keep(self, columns: Schema) -> pl.Expr:
        """The condition."""
        assert isinstance(self.f, pl.Expr)
        for name in self.f.meta.root_names():
            if name not in columns:
                raise UnknownColumnError(name, columns.column_names, where="Filter")
        return self.f
