"""Look-ups of one value at a time: hash tables that plain Python reads out of flat memory.

Polars and NumPy look up a million values fast and one value slowly. Here a table is a few arrays of numbers, read
through a `memoryview`, so that it may as well be a file mapped into memory that several processes share.
"""

from __future__ import annotations

import datetime as dt
import struct
import zlib
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
Views: TypeAlias = Mapping[str, Any]  # the same as memoryviews; text as something whose slices are bytes
Find: TypeAlias = Callable[[Any], int | None]

_MULTIPLIER, _64_BITS = 0x9E3779B97F4A7C15, (1 << 64) - 1
_SMALL_RANGE, _SPARSE = 1 << 16, 4  # a dense array up to this range, or while it takes no more than a hash table
_EPOCH = dt.datetime(1970, 1, 1)
_EPOCH_UTC = _EPOCH.replace(tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_float, _bits = struct.Struct("<d"), struct.Struct("<Q")


def arrays_of(keys: pl.Series) -> Arrays:
    """The table of a series of distinct values; nulls are left out of it."""
    if keys.dtype == pl.String:
        return _text_arrays(keys)
    numbers = _as_numbers(keys)
    rows = np.flatnonzero(keys.is_not_null().to_numpy()).astype(np.int32)
    present = numbers[rows]
    if len(rows) and int(present.max()) - int(present.min()) < max(_SMALL_RANGE, _SPARSE * len(rows)):
        low = int(present.min())
        dense = np.zeros(int(present.max()) - low + 1, np.int32)
        dense[(present - present.min()).astype(np.int64)] = rows + 1
        return {"dense": dense, "low": np.array([low], numbers.dtype)}
    return {"slots": _slots(present.view(np.uint64), rows), "keys": numbers}


def content_of(keys: pl.Series) -> list[bytes]:
    """Bytes that are the same for the same values alone, on every machine with this order of bytes."""
    values = [
        part if isinstance(part, bytes) else part.tobytes()
        for part in (_text(keys) if keys.dtype == pl.String else [_as_numbers(keys)])
    ]
    return [str(keys.dtype).encode(), keys.is_null().to_numpy().tobytes(), *values]


def finder(dtype: pl.DataType, views: Views) -> Find:
    """From a value to its position in the keys that `arrays_of` was given; None where it is none of them."""
    if dtype == pl.String:
        return _text_finder(views["slots"], views["offsets"], views["text"])
    key_of = key_function(dtype)
    find = _dense_finder(views["dense"], views["low"][0]) if "dense" in views else _finder(**views)
    return find if key_of is None else lambda value: find(key_of(value))


def key_function(dtype: pl.DataType) -> Callable[[Any], int] | None:
    """What turns a value into the whole number to look up; None where the value is one."""
    if dtype.is_float():
        return _float_key
    if dtype == pl.Date:
        return lambda value: value.toordinal() - 719_163
    if isinstance(dtype, pl.Datetime):
        epoch = _EPOCH if dtype.time_zone is None else _EPOCH_UTC
        return _in_unit(lambda value: (value - epoch) // _MICROSECOND, dtype.time_unit)
    if isinstance(dtype, pl.Duration):
        return _in_unit(lambda value: value // _MICROSECOND, dtype.time_unit)
    if dtype == pl.Time:
        return lambda t: ((t.hour * 60 + t.minute) * 60 + t.second) * 1_000_000_000 + t.microsecond * 1000
    return None


def bucket_of(key: int, num_buckets: int) -> int:
    """What `tamis.features.lookup.bucket` gives, for one key."""
    mixed = (key + _MULTIPLIER) & _64_BITS
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 & _64_BITS
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB & _64_BITS
    return (mixed ^ (mixed >> 31)) % num_buckets


def float_bits(value: float) -> int:
    """The IEEE 754 bits of a number, those of 0.0 for -0.0."""
    bits: int = _bits.unpack(_float.pack(value + 0.0))[0]
    return bits


def _float_key(value: float) -> int:
    bits = float_bits(value)
    return bits ^ (bits >> 32)  # the low bits of a short number's are all zero, and the product below starts from them


def _in_unit(microseconds: Callable[[Any], int], unit: str) -> Callable[[Any], int]:
    if unit == "ns":
        return lambda value: microseconds(value) * 1000
    return microseconds if unit == "us" else lambda value: microseconds(value) // 1000


def _as_numbers(keys: pl.Series) -> NDArray[Any]:
    """The whole numbers that `key_function` makes of the values, all at once; something in the place of nulls."""
    if keys.dtype.is_float():
        bits = (keys.cast(pl.Float64).fill_null(0.0).to_numpy() + 0.0).view(np.uint64)
        return bits ^ (bits >> np.uint64(32))
    dtype = pl.UInt64 if keys.dtype == pl.UInt64 else pl.Int64
    return keys.to_physical().cast(dtype).fill_null(0).to_numpy()


def text_of(values: pl.Series) -> Arrays:
    """Texts one after the other, and where each begins and ends; null is empty."""
    lengths, text = _text(values)
    offsets = np.zeros(len(values) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return {"offsets": offsets, "text": np.frombuffer(text, np.uint8)}


def _text_arrays(keys: pl.Series) -> Arrays:
    arrays = text_of(keys)
    rows = np.flatnonzero(keys.is_not_null().to_numpy()).astype(np.int32)
    text, borders = arrays["text"].tobytes(), arrays["offsets"].tolist()
    sums = np.array([zlib.crc32(text[start:end]) for start, end in pairwise(borders)], np.uint64)
    return {"slots": _slots(sums[rows], rows), **arrays}


def _text(keys: pl.Series) -> tuple[NDArray[np.int64], bytes]:
    """The length of each value in bytes, 0 for null, and all of them one after the other."""
    filled = keys.fill_null("")
    return filled.str.len_bytes().cast(pl.Int64).to_numpy(), "".join(filled).encode()


def _slots(hashed: NDArray[np.uint64], rows: NDArray[np.int32]) -> NDArray[np.int32]:
    """An open-addressing table that holds row + 1; 0 is an empty slot, at which a search ends."""
    bits = max(4, (2 * len(rows)).bit_length())
    mask, shift = (1 << bits) - 1, np.uint64(64 - bits)
    slots, todo = np.zeros(1 << bits, np.int32), rows + 1
    at = ((hashed * np.uint64(_MULTIPLIER)) >> shift).astype(np.int64)
    while len(todo):
        free = slots[at] == 0
        slots[at[free]] = todo[free]  # of several for one slot, the last stays
        left = slots[at] != todo
        todo, at = todo[left], (at[left] + 1) & mask
    return slots


def _dense_finder(dense: Any, low: int) -> Find:
    size = len(dense)

    def find(key: int) -> int | None:
        at = key - low
        if 0 <= at < size:
            row: int = dense[at]
            return row - 1 if row else None
        return None

    return find


def _finder(slots: Any, keys: Any) -> Find:
    mask, shift = len(slots) - 1, 65 - len(slots).bit_length()

    def find(key: int) -> int | None:
        at = (key * _MULTIPLIER & _64_BITS) >> shift
        row: int = slots[at]
        while row:
            if keys[row - 1] == key:
                return row - 1
            at = (at + 1) & mask
            row = slots[at]
        return None

    return find


def _text_finder(slots: Any, offsets: Any, text: Any) -> Find:
    mask, shift, crc32 = len(slots) - 1, 65 - len(slots).bit_length(), zlib.crc32

    def find(value: str) -> int | None:
        wanted = value.encode()
        at = (crc32(wanted) * _MULTIPLIER & _64_BITS) >> shift
        row: int = slots[at]
        while row:
            if text[offsets[row - 1] : offsets[row]] == wanted:
                return row - 1
            at = (at + 1) & mask
            row = slots[at]
        return None

    return find
