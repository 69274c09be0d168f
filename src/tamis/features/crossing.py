"""A hash for combinations of values: portable, and different for another order of the columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from tamis.features.codes import codes
from tamis.features.hash_tables import bucket_of
from tamis.features.lookup import bucket, encoding, kind_of, plain_values
from tamis.features.table_store import Tables
from tamis.features.values import polars_type
from tamis.schema import ColumnSchema

if TYPE_CHECKING:
    from tamis.features.ops.op import Column

_SPREAD = 2**31 - 3  # of one column's hash: with the codes before it, the largest that 32 bits hold


def crossed(columns: Sequence[Column], num_buckets: int) -> pl.Expr:
    """The bucket of each row's combination, 0 to `num_buckets - 1`; null is a value like others. Int32."""
    state, *others = [hashed(column, _SPREAD).cast(pl.UInt64) for column in columns]
    for i, other in enumerate(others, start=2):
        state = _buckets(state * 2**32 + other, num_buckets if i == len(columns) else _SPREAD).cast(pl.UInt64)
    return state.cast(pl.Int32) if others else _buckets(state, num_buckets)


def crossed_online(columns: Sequence[ColumnSchema], num_buckets: int, tables: Tables) -> Callable[..., int]:
    """The same for one plain Python value of each column."""
    code_of = [hashed_online(column, _SPREAD, tables) for column in columns]
    limits = [_SPREAD] * (len(columns) - 2) + [num_buckets]

    def cross(first: Any, *others: Any) -> int:
        state: int = code_of[0](first)
        if not others:
            return bucket_of(state, num_buckets)
        for value, code, limit in zip(others, code_of[1:], limits, strict=True):
            state = bucket_of((state << 32) + code(value), limit)
        return state

    return cross


def hashed(column: Column, num_buckets: int) -> pl.Expr:
    """For each value OOV and a bucket above; 1 for null."""
    dtype = column.schema.dtype
    values, kind = plain_values(column.values, dtype), kind_of(dtype)
    if kind not in ("text", "number"):
        values = values.to_physical()
    nothing_known = pl.String if kind == "text" else pl.UInt64 if dtype == "uint64" else pl.Int64
    return encoding(values, pl.Series([], dtype=nothing_known), num_buckets)


def hashed_online(column: ColumnSchema, num_buckets: int, tables: Tables) -> Callable[[Any], int]:
    """The same for one plain Python value."""
    is_float = column.dtype.startswith("float")
    dtype = pl.Int64() if is_float else polars_type(ColumnSchema(column.name, column.dtype))
    return codes(pl.Series([], dtype=dtype), num_buckets, tables, of_floats=is_float)


def _buckets(keys: pl.Expr, num_buckets: int) -> pl.Expr:
    def buckets(series: pl.Series) -> pl.Series:
        # Below a when(...), rows of the other branch may come as null.
        return pl.Series(series.name, bucket(series.fill_null(0).to_numpy(), num_buckets))

    return keys.map_batches(buckets, return_dtype=pl.Int32, is_elementwise=True)
