"""Codes of vocabularies too large for tables in memory: from a file that is mapped into it."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.data.memory import scratch_folder
from tamis.disk_full import is_disk_full
from tamis.disk_full import size as readable
from tamis.errors import DiskFullError

Keys: TypeAlias = NDArray[np.uint64]
Codes: TypeAlias = NDArray[np.int32]
Rows: TypeAlias = NDArray[np.int64]

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_ROWS_AT_ONCE, _KEYS_PER_REGION = 1 << 20, 1 << 20


class GroupedTable:
    """Numbered 64-bit keys in a file, grouped by a hash, with an array that says where each group starts.

    A key takes 8 bytes, its number 4, and its share of the array 1 to 2. The file has no name and goes with the table.
    It is filled region by region of the hash, so that no more than a region has to be in memory.

    Args:
        parts: the keys, in the order of their numbers, as often as it is called; equal keys may come.
        num_keys: how many they are.
        first: the number of the first key, at least 1.
    """

    def __init__(self, parts: Callable[[], Iterable[Keys]], num_keys: int, first: int) -> None:
        self._bits = max(1, (num_keys // 4).bit_length())  # two to four keys a group
        self.keys: Keys = _array_in_file(num_keys, np.uint64)
        self.codes: Codes = _array_in_file(num_keys, np.int32)
        self.starts: NDArray[np.uint32] = _array_in_file((1 << self._bits) + 1, np.uint32)
        region_bits = min(self._bits, (num_keys // _KEYS_PER_REGION).bit_length(), 16)
        regions = self._place(parts, first, region_bits)
        for number, (start, end) in enumerate(zip(regions[:-1].tolist(), regions[1:].tolist(), strict=True)):
            self._group(number, start, end, region_bits)
        self.starts[-1] = num_keys
        for array in (self.keys, self.codes, self.starts):
            _expect_jumps(array)

    def find(self, wanted: Keys, is_it: Callable[[Rows, Codes], NDArray[np.bool_]] | None = None) -> Codes:
        """The number of each key, 0 where it is none of them.

        `is_it` has the last word on equal keys, where different things may have one key: of some rows of `wanted` and
        the numbers found for them, whether they are right.
        """
        groups = self._groups(wanted)
        at, end = self.starts[groups].astype(np.int64), self.starts[groups + 1].astype(np.int64)
        found = np.zeros(len(wanted), np.int32)
        todo = np.flatnonzero(at < end)
        while len(todo):
            here = at[todo]
            hit = self.keys[here] == wanted[todo]
            if is_it is not None:
                hit[hit] = is_it(todo[hit], self.codes[here[hit]])
            found[todo[hit]] = self.codes[here[hit]]
            at[todo] += 1
            todo = todo[~hit]
            todo = todo[at[todo] < end[todo]]
        return found

    def _groups(self, keys: Keys) -> Rows:
        return (((keys ^ (keys >> np.uint64(32))) * _MULTIPLIER) >> np.uint64(64 - self._bits)).astype(np.int64)

    def _place(self, parts: Callable[[], Iterable[Keys]], first: int, region_bits: int) -> Rows:
        """Put every key into its region, and say where the regions start."""
        shift, sizes = self._bits - region_bits, np.zeros(1 << region_bits, np.int64)
        for keys in _pieces(parts()):
            sizes += np.bincount(self._groups(keys) >> shift, minlength=len(sizes))
        starts = np.concatenate([[0], np.cumsum(sizes)])
        free = starts[:-1].copy()
        for keys in _pieces(parts()):
            regions = self._groups(keys) >> shift
            order = np.argsort(regions.astype(np.uint16), kind="stable")  # of so few bits, a radix sort
            counts = np.bincount(regions, minlength=len(free))
            # Where each goes: the first free place of its region, and one further for each before it in this piece.
            offsets = free - np.concatenate([[0], np.cumsum(counts)[:-1]])
            places = np.arange(len(keys)) + offsets[regions[order]]
            self.keys[places], self.codes[places] = keys[order], (first + order).astype(np.int32)
            free, first = free + counts, first + len(keys)
        return starts

    def _group(self, region: int, start: int, end: int, region_bits: int) -> None:
        """Bring the keys of a region into the order of their groups."""
        width = 1 << (self._bits - region_bits)
        keys, codes = self.keys[start:end].copy(), self.codes[start:end].copy()
        groups = self._groups(keys) - region * width
        order = np.argsort(groups)
        self.keys[start:end], self.codes[start:end] = keys[order], codes[order]
        before = np.cumsum(np.bincount(groups, minlength=width))[:-1]
        self.starts[region * width : (region + 1) * width] = start + np.concatenate([[0], before])


class TextTable:
    """Numbers of the texts of a vocabulary: the table has their hashes, the vocabulary itself the last word."""

    def __init__(self, vocabulary: pl.Series, first: int) -> None:
        self.vocabulary, self.first = vocabulary, first
        self.table = GroupedTable(self._hashes, len(vocabulary), first)

    def find(self, texts: pl.Series) -> Codes:
        """The number of each text, 0 where it is none of the vocabulary or null."""

        def is_it(rows: Rows, codes: Codes) -> NDArray[np.bool_]:
            same = texts.gather(rows) == self.vocabulary.gather(codes - self.first)
            return same.fill_null(False).to_numpy()

        return self.table.find(self._hash(texts).to_numpy(), is_it)

    def _hashes(self) -> Iterator[Keys]:
        for start in range(0, len(self.vocabulary), _ROWS_AT_ONCE):
            yield self._hash(self.vocabulary.slice(start, _ROWS_AT_ONCE)).to_numpy()

    def _hash(self, texts: pl.Series) -> pl.Series:
        return texts.hash()


def _pieces(parts: Iterable[Keys]) -> Iterator[Keys]:
    for keys in parts:
        for start in range(0, len(keys), _ROWS_AT_ONCE):
            yield keys[start : start + _ROWS_AT_ONCE]


def _array_in_file(size: int, dtype: Any) -> NDArray[Any]:
    with tempfile.TemporaryFile(dir=scratch_folder()) as file:
        if size and hasattr(os, "posix_fallocate"):  # a full disk is an error here, and the end of the process later
            _take_room(file.fileno(), size * np.dtype(dtype).itemsize)
        return np.memmap(file, dtype, "w+", shape=(size,)) if size else np.zeros(0, dtype)


def _take_room(file: int, num_bytes: int) -> None:
    try:
        os.posix_fallocate(file, 0, num_bytes)
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise DiskFullError(
            f"{scratch_folder()}: the disk is full ({error}): {readable(num_bytes)} needed for a table of codes. Free "
            "some space, or name a folder on a larger disk in POLARS_OOC_SPILL_DIR."
        ) from error


def _expect_jumps(array: NDArray[Any]) -> None:
    """Tell the system not to read what lies around a place that is looked at."""
    if isinstance(array, np.memmap) and hasattr(mmap, "MADV_RANDOM"):
        memory: mmap.mmap = array._mmap  # type: ignore[attr-defined]
        memory.madvise(mmap.MADV_RANDOM)
