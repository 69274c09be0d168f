"""A value in the place of nulls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tamis.errors import SettingError
from tamis.features.lookup import kind_of
from tamis.features.ops.op import Column, ColumnOp, Learned, Online
from tamis.features.table_store import Tables
from tamis.schema import ColumnSchema, Schema


@dataclass(frozen=True)
class FillMissing(ColumnOp):
    """Replace nulls and NaN by a value. A null inside a list is replaced, a null in the place of a list stays.

    Args:
        fill_val: must fit the column's dtype: a whole number for whole numbers, text for text.
        add_binary_cols: add a boolean column `<name>_filled` that says which rows were replaced.

    Raises:
        SettingError: the value does not fit a column.
    """

    fill_val: float | int | str | bool = 0
    add_binary_cols: bool = False

    def check(self, columns: Schema) -> None:
        """Refuse columns that the value does not fit."""
        for column in columns:
            if not fits(self.fill_val, column.dtype):
                raise SettingError(
                    f"FillMissing: fill_val={self.fill_val!r} does not fit the column {column.name!r}, which holds "
                    f"{column.dtype}. Give a value of its kind."
                )

    def apply(self, column: Column, learned: Learned) -> Sequence[pl.Expr]:
        """The values with the gaps filled, and whether there was one."""
        is_float = column.schema.dtype.startswith("float")
        values = column.values.fill_nan(None) if is_float else column.values
        # Cast back: a literal must not widen the column, an int8 stays an int8.
        filled = values.fill_null(pl.lit(self.fill_val, dtype=fill_dtype(column.schema.dtype)))
        return [filled, values.is_null()] if self.add_binary_cols else [filled]

    def online(self, column: ColumnSchema, learned: Learned, tables: Tables) -> Online:
        """The value or what it is replaced by, and whether it was."""
        fill = pl.select(pl.lit(self.fill_val, dtype=fill_dtype(column.dtype))).item()

        def filled(value: Any) -> Any:
            return fill if value is None or value != value else value

        def filled_and_whether(value: Any) -> tuple[Any, bool]:
            is_missing = value is None or value != value
            return fill if is_missing else value, is_missing

        return filled_and_whether if self.add_binary_cols else filled

    def describe(self, column: ColumnSchema, learned: Learned) -> Sequence[ColumnSchema]:
        """The column as it was, and the boolean one."""
        extra = ColumnSchema(f"{column.name}_filled", "boolean", is_list=column.is_list)
        return [column, extra] if self.add_binary_cols else [column]


def fits(value: Any, dtype: str) -> bool:
    """Whether a column of this dtype can hold the value as it is."""
    wanted = fill_dtype(dtype)
    if wanted is None or (kind_of(dtype) == "text") != isinstance(value, str):
        return False
    if kind_of(dtype) == "text" or wanted.is_float():
        return True
    cast = pl.Series([value]).cast(wanted, strict=False).item()
    return cast is not None and cast == value


def fill_dtype(name: str) -> type[pl.DataType] | None:
    """The type of a literal for a column of this dtype; None where there is none."""
    found: type[pl.DataType] | None = {t.__name__.lower(): t for t in _FILLABLE}.get(name)
    return found


_FILLABLE: tuple[type[pl.DataType], ...] = (
    pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64,
    pl.Float32, pl.Float64, pl.String, pl.Boolean,
)  # fmt: skip
