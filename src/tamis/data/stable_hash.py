"""A hash of rows that depends on their values alone: not on their order, the machine, or a library's version."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

Hashes: TypeAlias = NDArray[np.uint64]

_64_BITS = (1 << 64) - 1
_NULL = np.uint64(0xD1B54A32D192ED03)  # what a missing value counts as: any number that data is unlikely to hold


def is_hashable(dtype: pl.DataType) -> bool:
    """Whether values of this dtype have a stable hash: whole numbers of 64 bits, floats, truth values, text, times."""
    if dtype.is_integer():
        return dtype not in (pl.Int128, pl.UInt128)
    return dtype.is_float() or dtype.is_temporal() or dtype in (pl.Boolean, pl.String, pl.Categorical, pl.Enum)


def stable_hash(columns: Sequence[str], *, seed: int) -> pl.Expr:
    """A UInt64 for each row, evenly spread, equal for rows that are equal in these columns. Nulls are equal too.

    The width of a number does not matter: 7 has one hash as Int16 and as Int64.
    """

    def hashes(rows: pl.Series) -> pl.Series:
        return pl.Series(rows.name, hash_rows(rows.struct.unnest(), seed=seed))

    return pl.struct(columns).map_batches(hashes, return_dtype=pl.UInt64, is_elementwise=True)


def hash_rows(rows: pl.DataFrame, *, seed: int) -> Hashes:
    """The hash of each row over all columns: [rows]."""
    state = mixed(np.full(len(rows), seed & _64_BITS, np.uint64))
    for column in rows.iter_columns():
        state = mixed(state ^ _keys(column))
    return state


def mixed(keys: Hashes) -> Hashes:
    """Numbers to other numbers, one to one, so that near ones end up far apart.

    Source: Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014, the step of splitmix64.
    """
    keys = keys + np.uint64(0x9E3779B97F4A7C15)  # arithmetic on uint64 arrays wraps, which is what the mixing wants
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    spread: Hashes = keys ^ (keys >> np.uint64(31))
    return spread


def _keys(column: pl.Series) -> Hashes:
    """A number for each value."""
    keys = _text_keys(column) if column.dtype in (pl.String, pl.Categorical, pl.Enum) else _number_keys(column)
    return np.where(column.is_null().to_numpy(), _NULL, keys)


def _text_keys(column: pl.Series) -> Hashes:
    text = column.cast(pl.String)
    distinct = text.unique().drop_nulls()
    sums = pl.Series([zlib.crc32(value.encode()) for value in distinct], dtype=pl.UInt64)
    found: NDArray[Any] = text.replace_strict(distinct, sums, default=0, return_dtype=pl.UInt64).to_numpy()
    return found


def _number_keys(column: pl.Series) -> Hashes:
    if column.dtype.is_float():
        numbers = column.cast(pl.Float64).fill_null(0.0).to_numpy() + 0.0  # -0.0 is 0.0
        return np.where(np.isnan(numbers), np.nan, numbers).view(np.uint64)  # all NaN alike
    dtype = pl.UInt64 if column.dtype == pl.UInt64 else pl.Int64
    return column.to_physical().cast(dtype).fill_null(0).to_numpy().view(np.uint64)
