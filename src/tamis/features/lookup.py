"""From values to codes by tables that are built once: an array, a hash table, or an Enum for text."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.data.memory import memory_limit
from tamis.features.large_lookup import GroupedTable, TextTable

Keys: TypeAlias = NDArray[Any]  # int64, uint64 or float64
Codes: TypeAlias = NDArray[np.int32]

NULL, OOV = 1, 2
_SMALL_RANGE, _SPARSE = 1 << 18, 8  # an array takes 4 bytes a number of the range, a hash table 24 to 48 a value
_BYTES_PER_NUMBER, _BYTES_PER_TEXT = 36, 100  # of the tables in memory, about
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def kind_of(dtype: Any) -> str:
    """`"text"`, `"number"`, `"date"`, `"datetime"`, ... or `"other"`: values of one kind can be compared."""
    name = dtype if isinstance(dtype, str) else str(dtype).lower()
    if name.startswith(("string", "categorical", "enum")):
        return "text"
    if name.startswith(("int", "uint", "float", "bool")):
        return "other" if name.endswith("128") else "number"  # no look-up holds so many digits
    plain = name.split("(")[0]
    return plain if plain in ("date", "datetime", "time", "duration") else "other"


def encoding(values: pl.Expr, vocabulary: pl.Series, num_buckets: int) -> pl.Expr:
    """The codes of values: 1 for null and NaN, 2.. for unknown ones, then the vocabulary in its order. Int32."""
    if kind_of(vocabulary.dtype) == "text":
        known = _known_text(vocabulary, OOV + num_buckets)
        return _text_encoding(values.cast(pl.String), known, num_buckets)
    lookup = NumberLookup(vocabulary, num_buckets)
    return values.map_batches(lookup.codes, return_dtype=pl.Int32, is_elementwise=True)


def positions(values: Sequence[pl.Expr], keys: pl.DataFrame) -> pl.Expr:
    """The number of the row of `keys` that holds these values, one for each of its columns; null where none does.

    Null and NaN equal null. Int64. The rows of `keys` must differ from each other.
    """
    at, rows = _coded(values[0], keys.to_series(0))
    for value, column in zip(values[1:], keys.get_columns()[1:], strict=True):
        # Two codes become one number, which is looked up in turn, so that any number of columns fits into 64 bits.
        code, own = _coded(value, column)
        radix = OOV + 2 + column.n_unique()
        at, rows = _coded(at.cast(pl.Int64) * radix + code, rows.cast(pl.Int64) * radix + own)
    codes_of_rows = rows.to_numpy()
    row_of = np.full(int(codes_of_rows.max(initial=OOV)) + 1, -1, np.int64)
    row_of[codes_of_rows] = np.arange(len(codes_of_rows))

    def find(codes: pl.Series) -> pl.Series:
        # Below a when(...), rows of the other branch may come as null.
        found = np.take(row_of, codes.fill_null(0).to_numpy(), mode="clip")
        return pl.Series(codes.name, found).set(pl.Series(found < 0), None)

    return at.map_batches(find, return_dtype=pl.Int64, is_elementwise=True)


def _coded(values: pl.Expr, known: pl.Series) -> tuple[pl.Expr, pl.Series]:
    """Codes of the values by the distinct known ones, and the codes of the known ones themselves."""
    vocabulary = plain_values(pl.col("value"), known.dtype)
    distinct = known.alias("value").to_frame().select(vocabulary).to_series().drop_nulls().unique(maintain_order=True)
    own = known.alias("value").to_frame().select(encoding(vocabulary, distinct, 1)).to_series()
    return encoding(plain_values(values, known.dtype), distinct, 1), own


def plain_values(values: pl.Expr, dtype: Any) -> pl.Expr:
    """Values as they are counted: text as String, floats without NaN and without a zero of its own for -0.0."""
    if kind_of(dtype) == "text":
        return values.cast(pl.String)
    return (values + 0.0).fill_nan(None) if str(dtype).lower().startswith("float") else values


def _known_text(vocabulary: pl.Series, first: int) -> Callable[[pl.Expr], pl.Expr]:
    """From text to its code, null where it is not in the vocabulary."""
    if _is_large(len(vocabulary), _BYTES_PER_TEXT):
        table = TextTable(vocabulary, first)

        def find(text: pl.Series) -> pl.Series:
            codes = table.find(text)
            return pl.Series(text.name, codes).set(pl.Series(codes == 0), None)

        return lambda text: text.map_batches(find, return_dtype=pl.Int32, is_elementwise=True)
    categories = pl.Enum(vocabulary)
    return lambda text: text.cast(categories, strict=False).to_physical().cast(pl.Int32) + first


def _text_encoding(text: pl.Expr, known: Callable[[pl.Expr], pl.Expr], num_buckets: int) -> pl.Expr:
    code = known(text)
    if num_buckets == 1:
        unknown: pl.Expr = pl.lit(OOV, dtype=pl.Int32)
    else:
        both = pl.struct(text.alias("text"), code.is_null().alias("unknown"))
        unknown = both.map_batches(_text_buckets(num_buckets), return_dtype=pl.Int32, is_elementwise=True)
    null = pl.lit(NULL, dtype=pl.Int32)
    return pl.when(text.is_null()).then(null).when(code.is_null()).then(unknown).otherwise(code)


def _is_large(num_values: int, bytes_per_value: int) -> bool:
    """Whether a table in memory would take much of what the process may have."""
    return num_values * bytes_per_value > memory_limit() // 16


def _text_buckets(num_buckets: int) -> Callable[[pl.Series], pl.Series]:
    def buckets(both: pl.Series) -> pl.Series:
        text = both.struct.field("text")
        codes = np.full(len(text), OOV, np.int32)
        unknown = (both.struct.field("unknown") & text.is_not_null()).to_numpy()
        sums = [zlib.crc32(value.encode()) for value in text.filter(pl.Series(unknown))]
        codes[unknown] = OOV + bucket(np.array(sums, np.uint64), num_buckets)
        return pl.Series(text.name, codes)

    return buckets


def bucket(keys: Keys, num_buckets: int) -> Codes:
    """A bucket for each 64-bit key, the same on every machine and version: splitmix64's mixing, then the remainder.

    Text enters as the CRC-32 of its UTF-8 bytes, whole numbers as themselves, other floats as their IEEE 754 bits.
    Source: Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.
    """
    mixed = keys.view(np.uint64) + _MULTIPLIER  # arithmetic on uint64 arrays wraps, which is what the mixing wants
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> np.uint64(31))) % np.uint64(num_buckets)).astype(np.int32)


class NumberLookup:
    """Codes of numbers, booleans, dates and times."""

    def __init__(self, vocabulary: pl.Series, num_buckets: int) -> None:
        self.dtype, self.num_buckets = vocabulary.dtype, num_buckets
        self.key_dtype = _key_dtype(vocabulary)
        self._vocabulary = vocabulary

    @cached_property
    def find(self) -> Callable[[Keys], Codes]:
        """From keys to codes; made at its first use, since many a graph is only looked at."""
        return self._finder(self._vocabulary, OOV + self.num_buckets)

    def codes(self, values: pl.Series) -> pl.Series:
        """The codes of a series of numbers of any dtype that compares with the vocabulary's."""
        if values.dtype.is_float():
            values = values.fill_nan(None)
        keys, inexact = self._keys(values)
        codes = self.find(keys)
        if inexact is not None:
            codes[inexact] = 0
        unknown = codes == 0
        if self.num_buckets == 1:
            codes[unknown] = OOV
        elif unknown.any():
            codes[unknown] = OOV + bucket(keys[unknown], self.num_buckets)
        if values.null_count():
            codes[values.is_null().to_numpy()] = NULL
        return pl.Series(values.name, codes)

    def _finder(self, vocabulary: pl.Series, first: int) -> Callable[[Keys], Codes]:
        if _is_large(len(vocabulary), _BYTES_PER_NUMBER):
            return self._large_finder(vocabulary, first)
        keys, _ = self._keys(vocabulary)
        codes = np.arange(first, first + len(keys), dtype=np.int32)
        return (_dense if self._is_dense(keys) else _hashed)(keys, codes)

    def _large_finder(self, vocabulary: pl.Series, first: int) -> Callable[[Keys], Codes]:
        def parts() -> Iterator[NDArray[np.uint64]]:
            return (self._keys(part)[0].view(np.uint64) for part in vocabulary.get_chunks())

        table = GroupedTable(parts, len(vocabulary), first)
        return lambda wanted: table.find(np.ascontiguousarray(wanted).view(np.uint64))

    def _is_dense(self, keys: Keys) -> bool:
        if self.key_dtype == pl.Float64 or not len(keys):
            return not len(keys)
        return int(keys.max()) - int(keys.min()) < max(_SMALL_RANGE, _SPARSE * len(keys))

    def _keys(self, values: pl.Series) -> tuple[Keys, NDArray[np.bool_] | None]:
        """The values as an array to look up, and where that lost something, so that they cannot be in the table."""
        if self.dtype.is_temporal():
            same = values.cast(self.dtype)
            inexact = ~(same.cast(values.dtype) == values).fill_null(False).to_numpy()  # finer than what was learned
            return same.to_physical().cast(pl.Int64).fill_null(0).to_numpy(), inexact
        keys = values.cast(self.key_dtype, strict=False)
        if self.key_dtype == pl.Float64:  # adding 0.0 turns -0.0 into 0.0, so that equal floats have equal bits
            floats = keys.fill_null(0.0).to_numpy() + 0.0
            if not values.dtype.is_integer():
                return floats, None
            # A large whole number may be none that a float can hold.
            return floats, ~(keys.cast(values.dtype, strict=False) == values).fill_null(True).to_numpy()
        if not values.dtype.is_float() and keys.null_count() == values.null_count():
            return keys.fill_null(0).to_numpy(), None
        exact = keys.cast(values.dtype) == values
        whole = keys.fill_null(0).to_numpy().copy()
        inexact = ~exact.fill_null(False).to_numpy()
        if values.dtype.is_float():  # so that different fractions go to different buckets
            whole[inexact] = values.cast(pl.Float64).fill_null(0.0).to_numpy().view(whole.dtype)[inexact]
        return whole, inexact


def _key_dtype(vocabulary: pl.Series) -> type[pl.DataType]:
    if vocabulary.dtype == pl.UInt64:
        return pl.UInt64
    if vocabulary.dtype.is_float():
        whole = vocabulary.cast(pl.Int64, strict=False).cast(vocabulary.dtype) == vocabulary
        return pl.Int64 if whole.all(ignore_nulls=False) else pl.Float64  # null where it is beyond the whole numbers
    return pl.Int64


def _dense(keys: Keys, codes: Codes) -> Callable[[Keys], Codes]:
    """An array from the smallest to the largest key, with a slot for unknown ones at either end. 0: unknown."""
    low = keys.min() if len(keys) else keys.dtype.type(0)
    high = keys.max() if len(keys) else low
    table = np.zeros(int(high) - int(low) + 3, np.int32)
    table[(keys - low).astype(np.int64) + 1] = codes
    before = np.array([low]).view(np.uint64) - np.uint64(1)

    def find(wanted: Keys) -> Codes:
        # A difference that wraps around falls outside of the table all the same; as int64, clipping keeps it there.
        slots = (np.ascontiguousarray(wanted).view(np.uint64) - before).view(np.int64)
        return np.take(table, slots, mode="clip")

    return find


def _hashed(keys: Keys, codes: Codes) -> Callable[[Keys], Codes]:
    """An open-addressing hash table, probed for all values at once. 0: unknown."""
    bits = max(4, (2 * len(keys)).bit_length())
    mask, shift = np.int64((1 << bits) - 1), np.uint64(64 - bits)
    slot_keys, slot_codes = np.zeros(1 << bits, keys.dtype), np.zeros(1 << bits, np.int32)

    def first(wanted: Keys) -> NDArray[np.int64]:
        raw = np.ascontiguousarray(wanted).view(np.uint64)
        return (((raw ^ (raw >> np.uint64(32))) * _MULTIPLIER) >> shift).view(np.int64)

    slots, todo = first(keys), np.arange(len(keys))
    while len(todo):
        empty = todo[slot_codes[slots[todo]] == 0]
        slot_codes[slots[empty]] = codes[empty]  # of several for one slot, the last stays
        placed = slot_codes[slots[todo]] == codes[todo]
        slot_keys[slots[todo[placed]]] = keys[todo[placed]]
        todo = todo[~placed]
        slots[todo] = (slots[todo] + 1) & mask

    def find(wanted: Keys) -> Codes:
        at = first(wanted)
        found = slot_codes[at]
        todo = np.flatnonzero((found != 0) & (slot_keys[at] != wanted))
        while len(todo):
            at[todo] = (at[todo] + 1) & mask
            found[todo] = slot_codes[at[todo]]
            todo = todo[(found[todo] != 0) & (slot_keys[at[todo]] != wanted[todo])]
        return found

    return find
