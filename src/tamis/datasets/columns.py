"""Numbers to Polars columns: labels, dtypes, lists."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from tamis.errors import SchemaError
from tamis.schema import ColumnSchema, Tags

Array: TypeAlias = NDArray[Any]

_DTYPES: dict[str, Any] = {
    "int8": pl.Int8, "int16": pl.Int16, "int32": pl.Int32, "int64": pl.Int64,
    "uint8": pl.UInt8, "uint16": pl.UInt16, "uint32": pl.UInt32, "uint64": pl.UInt64,
    "float32": pl.Float32, "float64": pl.Float64, "string": pl.String, "boolean": pl.Boolean,
}  # fmt: skip


def check_column(column: ColumnSchema) -> None:
    """Refuse a column that nobody could draw values for.

    Raises:
        SchemaError: an unknown dtype, or whole numbers or text without a domain.
    """
    if column.dtype not in _DTYPES:
        raise SchemaError(
            f"generate_data: the column {column.name!r} has the dtype {column.dtype!r}. "
            f"Use one of {', '.join(_DTYPES)}, or leave the column out."
        )
    if column.domain is None and not (is_binary(column) or is_continuous(column)):
        raise SchemaError(
            f"generate_data: the column {column.name!r} has no domain, so its values are unknown. "
            "Add one with `column.with_domain(max)`."
        )


def is_continuous(column: ColumnSchema) -> bool:
    """Whether the column holds fractions."""
    return column.dtype.startswith("float")


def is_binary(column: ColumnSchema) -> bool:
    """Whether the column holds 0 and 1 only."""
    binary = {Tags.BINARY, Tags.BINARY_CLASSIFICATION}
    return column.dtype == "boolean" or bool(column.tags & binary)


def bounds(column: ColumnSchema) -> tuple[float, float]:
    """The smallest and the largest value to draw. Categories begin at 1: 0 is left to padding."""
    if column.domain is None:
        return 0.0, 1.0
    categorical = not is_continuous(column) and not column.has_tag(Tags.TARGET)
    smallest = max(column.domain.min, 1.0) if categorical else column.domain.min
    return min(smallest, column.domain.max), column.domain.max


def size(column: ColumnSchema) -> int:
    """How many different values the column can hold."""
    low, high = bounds(column)
    return int(high) - int(low) + 1


def value_counts(column: ColumnSchema) -> tuple[int, int]:
    """Shortest and longest list of a list column; 1 to 4 where the schema does not say."""
    found = column.properties.get("value_count") or {}
    longest = int(found.get("max") or 4)
    return min(int(found.get("min", 1)), longest), longest


def to_series(column: ColumnSchema, numbers: Array) -> pl.Series:
    """Numbers of the column's domain in the column's dtype, or the labels that stand for them."""
    dtype = _DTYPES[column.dtype]
    labels = column.properties.get("values")
    if labels is not None:
        positions = pl.Series(column.name, numbers.astype(np.int64) - int(bounds(column)[0]))
        return pl.Series(column.name, labels).cast(dtype).gather(positions)
    return pl.Series(column.name, numbers).cast(dtype)


def to_list_series(column: ColumnSchema, values: Array, lengths: Array) -> pl.Series:
    """A list column out of a matrix [rows, longest], of which each row's first `lengths` values count."""
    kept = np.arange(values.shape[1]) < lengths[:, None]
    flat = to_series(column, values[kept])
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    lists = pa.LargeListArray.from_arrays(pa.array(offsets), flat.to_arrow())
    return pl.Series(column.name, lists)
