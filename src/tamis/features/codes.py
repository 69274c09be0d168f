"""Codes of one value at a time: the counterpart of `tamis.features.lookup.encoding`."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import polars as pl

from tamis.features.hash_tables import bucket_of, float_bits, key_function
from tamis.features.lookup import NULL, OOV
from tamis.features.table_store import Tables

if TYPE_CHECKING:
    from tamis.features.ops.op import Online


def codes(vocabulary: pl.Series, num_buckets: int, tables: Tables, *, of_floats: bool = False) -> Online:
    """From a value to its code: 1 for None and NaN, 2.. for an unknown one, then the vocabulary in its order.

    `of_floats` says that the values are floats; the vocabulary may hold whole numbers all the same.
    """
    if _is_whole(vocabulary):
        vocabulary = vocabulary.cast(pl.Int64)  # so that both 3 and 3.0 are found
    find, bucket = tables.positions(vocabulary), _bucket(vocabulary, num_buckets)
    first, is_by_number = OOV + num_buckets, of_floats and not vocabulary.dtype.is_float()

    def code(value: Any) -> int:
        if value is None or value != value:
            return NULL
        at = find(value)
        return OOV + bucket(value) if at is None else first + at

    def code_of_float(value: float | None) -> int:
        if value is None or value != value:
            return NULL
        if value.is_integer() and -(1 << 63) <= value < 1 << 63:
            return code(int(value))
        return OOV + bucket_of(float_bits(value), num_buckets)

    return code_of_float if is_by_number else code


def _is_whole(vocabulary: pl.Series) -> bool:
    if not vocabulary.dtype.is_float():
        return False
    whole = vocabulary.cast(pl.Int64, strict=False).cast(vocabulary.dtype) == vocabulary
    return bool(whole.all(ignore_nulls=False))


def _bucket(vocabulary: pl.Series, num_buckets: int) -> Callable[[Any], int]:
    if num_buckets == 1:
        return lambda value: 0
    if vocabulary.dtype == pl.String:
        return lambda value: bucket_of(zlib.crc32(value.encode()), num_buckets)
    if vocabulary.dtype.is_float():
        return lambda value: bucket_of(float_bits(value), num_buckets)
    key_of = key_function(vocabulary.dtype) or (lambda value: int(value))
    low, high = (0, 1 << 64) if vocabulary.dtype == pl.UInt64 else (-(1 << 63), 1 << 63)

    def bucket(value: Any) -> int:
        key = key_of(value)
        return bucket_of(key if low <= key < high else 0, num_buckets)

    return bucket
