"""The Polars type that a schema's name of a type stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from tamis.errors import SettingError
from tamis.schema import ColumnSchema, Schema

_PLAIN: dict[str, pl.DataType] = {
    str(dtype()).lower(): dtype()
    for dtype in (
        *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64),
        *(pl.Float32, pl.Float64, pl.String, pl.Boolean, pl.Date, pl.Time),
    )
}
_MOMENT = re.compile(r"datetime\(time_unit='(ms|us|ns)', time_zone=none\)")


def polars_dtype(name: str) -> pl.DataType | None:
    """The type of that name; None for one with parts that the name does not keep, such as a time zone."""
    moment = _MOMENT.fullmatch(name)
    if moment:
        return pl.Datetime(moment[1])  # type: ignore[arg-type]  # the pattern allows the three units only
    return _PLAIN.get(name)


def schema_dtypes(schema: Schema) -> dict[str, pl.DataType]:
    """The types of the columns that are no lists, where their names tell them."""
    found = {column.name: polars_dtype(column.dtype) for column in schema if not column.is_list}
    return {name: dtype for name, dtype in found.items() if dtype is not None}


def given_dtypes(dtypes: Mapping[str, Any]) -> dict[str, pl.DataType]:
    """What a user wrote: names such as `"int64"`, Python types or Polars types.

    Raises:
        SettingError: something that is no type.
    """
    return {name: _given(name, dtype) for name, dtype in dtypes.items()}


def _given(name: str, dtype: Any) -> pl.DataType:
    if isinstance(dtype, pl.DataType):
        return dtype
    found = polars_dtype(ColumnSchema(name, dtype).dtype)
    if found is None:
        known = ", ".join(_PLAIN)
        raise SettingError(f"Dataset: dtypes has {dtype!r} for {name!r}, which is no type. Give one of {known}.")
    return found
