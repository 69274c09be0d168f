"""One plain Python value as a column of a dtype would hold it."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import polars as pl

from tamis.errors import DataError
from tamis.features.lookup import kind_of
from tamis.features.ops.op import polars_dtype
from tamis.features.rounding import float32, whole_range
from tamis.schema import ColumnSchema

Read: TypeAlias = Callable[[Any], Any]  # from what a caller gives to what the ops get


def reader(column: ColumnSchema) -> Read:
    """A function from any value that means one of this column's to the one Python value that stands for it.

    Whole numbers become `int`, others `float` (rounded to 32 bits where the column is float32), text `str`, dates and
    times those of `datetime`, lists `list`. NumPy's scalars and arrays are taken too, whole floats for whole numbers, a
    date for midnight. Missing is None; so is NaN where the column holds no floats.

    Raises:
        DataError: (the function) a value of another kind, or out of the dtype's range.
    """
    read = _leaf(column)
    return _list_of(read, column) if column.is_list else read


def polars_type(column: ColumnSchema) -> pl.DataType | None:
    """The Polars type of a column; None where its name does not tell."""
    leaf = _polars_leaf(column.dtype)
    if leaf is None or not column.is_list:
        return leaf
    return pl.List(leaf) if column.width is None else pl.Array(leaf, column.width)


def _leaf(column: ColumnSchema) -> Read:
    dtype = column.dtype
    if dtype.startswith(("int", "uint")):
        return _whole(column)
    if dtype.startswith("float"):
        return _fraction(column)
    kinds = {"text": str, "date": dt.date, "time": dt.time, "duration": dt.timedelta}
    if kind_of(dtype) in kinds:
        return _exactly(column, kinds[kind_of(dtype)])
    if dtype == "boolean":
        return _boolean(column)
    return _moment(column) if dtype.startswith("datetime") else _python


def _whole(column: ColumnSchema) -> Read:
    low, high = whole_range(column.dtype)

    def read(value: Any) -> int | None:
        if type(value) is int and low <= value <= high:
            return value
        plain = _python(value)
        if plain is None or plain != plain:
            return None
        if isinstance(plain, int | float) and plain == plain // 1 and low <= plain <= high:
            return int(plain)
        raise _refusal(column, value, f"a whole number from {low} to {high}")

    return read


def _fraction(column: ColumnSchema) -> Read:
    narrow = column.dtype != "float64"

    def read(value: Any) -> float | None:
        if type(value) is not float:
            plain = _python(value)
            if plain is None:
                return None
            if not isinstance(plain, int | float):
                raise _refusal(column, value, "a number")
            value = _to_float(plain)
        return float32(value) if narrow else value

    return read


def _to_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _exactly(column: ColumnSchema, kind: type) -> Read:
    """Values of one Python type."""

    def read(value: Any) -> Any:
        if type(value) is kind:
            return value
        plain = _python(value)
        if plain is None or plain != plain:
            return None
        if isinstance(plain, kind) and not isinstance(plain, dt.datetime):  # a datetime is a date to Python
            return plain
        raise _refusal(column, value, f"a `{kind.__name__}`")

    return read


def _boolean(column: ColumnSchema) -> Read:
    def read(value: Any) -> bool | None:
        plain = _python(value)
        if plain is None or plain != plain:
            return None
        if plain not in (0, 1):
            raise _refusal(column, value, "True or False")
        return bool(plain)

    return read


def _moment(column: ColumnSchema) -> Read:
    """Moments; with a time zone only where the column has one."""
    zone, wanted = _zone(column.dtype), "a `datetime` without a time zone"
    is_coarse = "time_unit='ms'" in column.dtype

    def read(value: Any) -> Any:
        plain = _python(value)
        if plain is None or plain != plain:
            return None
        if isinstance(plain, dt.date) and not isinstance(plain, dt.datetime):
            plain = dt.datetime.combine(plain, dt.time(), tzinfo=zone)
        if not isinstance(plain, dt.datetime) or (plain.tzinfo is None) != (zone is None):
            raise _refusal(column, value, wanted if zone is None else wanted.replace("without", "with"))
        if is_coarse:
            plain = plain.replace(microsecond=plain.microsecond // 1000 * 1000)
        return plain if zone is None else plain.astimezone(zone)

    return read


def _list_of(read: Read, column: ColumnSchema) -> Read:
    def read_all(values: Any) -> list[Any] | None:
        if isinstance(values, np.ndarray | pl.Series):
            values = list(values)
        if isinstance(values, list | tuple) and column.width in (None, len(values)):
            return [read(value) for value in values]
        if values is None or values != values:
            return None
        raise _refusal(column, values, "a list" if column.width is None else f"a list of {column.width}")

    return read_all


def _python(value: Any) -> Any:
    """What NumPy wraps, as plain Python."""
    if isinstance(value, np.datetime64 | np.timedelta64) and not np.isnat(value):
        rounded = value.astype("M8[us]" if isinstance(value, np.datetime64) else "m8[us]")
        if rounded != value:
            return value  # finer than Python can tell, so it is refused
        return value.item() if isinstance(value.item(), dt.date) else rounded.item()
    return value.item() if isinstance(value, np.generic) else value


def _refusal(column: ColumnSchema, value: Any, wanted: str) -> DataError:
    where = f"Workflow.online: the column {column.name!r} got {value!r}, a {type(value).__name__}"
    return DataError(f"{where}, but holds {_kind(column)}. Give {wanted}, or None.")


def _kind(column: ColumnSchema) -> str:
    return f"lists of {column.dtype}" if column.is_list else column.dtype


def _zone(dtype: str) -> ZoneInfo | None:
    """The zone in a dtype's name, which is in lower case there."""
    found = re.search(r"time_zone='(.+)'", dtype)
    if found is None:
        return None
    known = {name.lower(): name for name in available_timezones()}
    return ZoneInfo(known.get(found[1], "UTC"))


def _polars_leaf(dtype: str) -> pl.DataType | None:
    if dtype.startswith(("int", "uint", "float")):
        return polars_dtype(dtype)()
    if kind_of(dtype) == "text":
        return pl.String()
    unit = re.search(r"time_unit='(\w+)'", dtype)
    if dtype.startswith("datetime") and unit:
        zone = _zone(dtype)
        return pl.Datetime(unit[1], None if zone is None else zone.key)  # type: ignore[arg-type]
    if dtype.startswith("duration") and unit:
        return pl.Duration(unit[1])  # type: ignore[arg-type]
    plain = {"boolean": pl.Boolean(), "date": pl.Date(), "time": pl.Time()}
    return plain.get(dtype)
