"""Rows in memory, laid out so that a batch of any rows is a handful of gathers, whatever the number of columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from tamis.data.batch import OFFSETS, VALUES, Batch
from tamis.errors import DataError
from tamis.schema import ColumnSchema, Tags

Array = npt.NDArray[Any]
_INT32_MAX = 2**31 - 1
_ALWAYS_INT32 = (pl.Int8, pl.Int16, pl.Int32, pl.UInt8, pl.UInt16)
_BLOCK_ROWS = 4096  # while columns are woven into rows, this many rows stay in the cache


@dataclass(frozen=True)
class PoolColumn:
    """How a column lies in memory: `width` numbers a row, or a list of any length where `width` is None."""

    name: str
    dtype: str
    width: int | None = 1
    is_scalar: bool = True
    is_target: bool = False


def pool_column(column: ColumnSchema, dtype: pl.DataType, *, is_target: bool) -> PoolColumn:
    """The layout of a column: whole numbers as int32 where dtype or domain fit, else int64; all others float32.

    Raises:
        DataError: a dtype that has no tensor: text, dates, nested lists.
    """
    if isinstance(dtype, pl.List):
        return PoolColumn(column.name, _number(column, dtype.inner), None, False, is_target)
    if isinstance(dtype, pl.Array):
        return PoolColumn(column.name, _number(column, dtype.inner), dtype.size, False, is_target)
    return PoolColumn(column.name, _number(column, dtype), 1, True, is_target)


def _number(column: ColumnSchema, dtype: Any) -> str:
    if dtype.is_float():
        return "float32"
    if dtype == pl.Boolean:
        return "int32" if column.has_tag(Tags.CATEGORICAL) else "float32"
    if not dtype.is_integer():
        way_out = "Categorify it first" if dtype in (pl.String, pl.Categorical, pl.Enum) else "Cast it to numbers first"
        raise DataError(
            f"Loader: the column {column.name!r} holds {str(dtype).lower()}, which no tensor can hold. {way_out}, "
            "or leave it out with `columns`."
        )
    domain = column.domain
    fits = dtype in _ALWAYS_INT32 or (domain is not None and domain.max <= _INT32_MAX and domain.min >= -_INT32_MAX)
    return "int32" if fits else "int64"


class RowPool:
    """Rows of several tables: one row-major matrix per number type, list columns as values and offsets.

    A row's numbers lie beside each other, so a random row costs one visit to memory, not one per column.
    """

    def __init__(self, columns: Sequence[PoolColumn], num_rows: int) -> None:
        self.num_rows = num_rows
        self._columns = columns
        self._filled = 0
        self._slots: dict[str, slice] = {}
        widths: dict[str, int] = {}
        for column in columns:
            if column.width is not None:
                start = widths.get(column.dtype, 0)
                widths[column.dtype] = start + column.width
                self._slots[column.name] = slice(start, start + column.width)
        self._matrices = {dtype: np.empty((num_rows, width), dtype=dtype) for dtype, width in widths.items()}
        self._lists: dict[str, _Lists] = {c.name: _Lists(c.dtype) for c in columns if c.width is None}

    def append(self, table: pa.Table, where: str) -> None:
        """Take in the rows of a table.

        Raises:
            DataError: a null, or a number beyond its column's domain.
        """
        start, end = self._filled, self._filled + table.num_rows
        assert end <= self.num_rows
        flat: dict[str, list[tuple[slice, Array]]] = {}
        for column in self._columns:
            array = _one_array(table.column(column.name))
            if column.width is None:
                self._lists[column.name].append(array, column, where)
            else:
                numbers = _dense(array, column, where)
                flat.setdefault(column.dtype, []).append((self._slots[column.name], numbers))
        for dtype, parts in flat.items():
            _weave(self._matrices[dtype][start:end], parts)
        self._filled = end

    def numbers(self, name: str) -> Array:
        """A scalar column as a view: [rows]."""
        dtype = next(column.dtype for column in self._columns if column.name == name)
        view: Array = self._matrices[dtype][:, self._slots[name].start]
        return view

    def take(self, rows: Array | slice) -> RowPool:
        """A pool of these rows: a copy for positions, a view for a slice."""
        taken = RowPool((), 0)
        taken._columns, taken._slots = self._columns, self._slots
        taken.num_rows = taken._filled = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
        taken._matrices = {dtype: _rows_of(matrix, rows) for dtype, matrix in self._matrices.items()}
        taken._lists = {name: lists.take(rows) for name, lists in self._lists.items()}
        return taken

    @staticmethod
    def joined(pools: Sequence[RowPool]) -> RowPool:
        """The rows of several pools, one after the other."""
        first = pools[0]
        if len(pools) == 1:
            return first
        joined = RowPool((), 0)
        joined._columns, joined._slots = first._columns, first._slots
        joined.num_rows = joined._filled = sum(pool.num_rows for pool in pools)
        joined._matrices = {dtype: np.concatenate([p._matrices[dtype] for p in pools]) for dtype in first._matrices}
        joined._lists = {name: _Lists.joined([p._lists[name] for p in pools]) for name in first._lists}
        return joined

    def to_batch(self) -> Batch:
        """The rows as tensors; they share the pool's memory."""
        matrices = {dtype: torch.from_numpy(matrix) for dtype, matrix in self._matrices.items()}
        features: dict[str, Tensor] = {}
        targets: dict[str, Tensor] = {}
        for column in self._columns:
            tensors = targets if column.is_target else features
            if column.width is None:
                values, offsets = self._lists[column.name].arrays()
                tensors[column.name + VALUES] = torch.from_numpy(values)
                tensors[column.name + OFFSETS] = torch.from_numpy(offsets)
            else:
                slot = self._slots[column.name]
                matrix = matrices[column.dtype]
                tensors[column.name] = matrix[:, slot.start] if column.is_scalar else matrix[:, slot]
        return Batch(features, targets)


class _Lists:
    """Lists of numbers: all values in a row, and where each list starts."""

    def __init__(self, dtype: str) -> None:
        self._values: list[Array] = [np.empty(0, dtype=dtype)]
        self._offsets: list[Array] = [np.zeros(1, dtype=np.int64)]
        self._num_values = 0

    def append(self, array: pa.Array, column: PoolColumn, where: str) -> None:
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        values = _numbers(array.flatten(), column, where)  # flatten skips what stands behind null lists
        self._values.append(values)
        self._offsets.append(self._num_values + np.cumsum(lengths, dtype=np.int64))
        self._num_values += len(values)

    def arrays(self) -> tuple[Array, Array]:
        if len(self._values) > 1:
            self._values, self._offsets = [np.concatenate(self._values)], [np.concatenate(self._offsets)]
        return self._values[0], self._offsets[0]

    def take(self, rows: Array | slice) -> _Lists:
        values, offsets = self.arrays()
        if isinstance(rows, slice):
            start, end = offsets[rows.start], offsets[rows.stop]
            return _Lists._of(values[start:end], offsets[rows.start : rows.stop + 1] - start)
        starts = offsets[rows]
        new_offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        lengths = offsets[rows + 1] - starts
        np.cumsum(lengths, out=new_offsets[1:])
        # Value number v of the new row r comes from starts[r] + (v - new_offsets[r]).
        positions = np.repeat(starts - new_offsets[:-1], lengths)
        positions += np.arange(new_offsets[-1])
        return _Lists._of(values.take(positions), new_offsets)

    @classmethod
    def _of(cls, values: Array, offsets: Array) -> _Lists:
        lists = cls(str(values.dtype))
        lists._values, lists._offsets, lists._num_values = [values], [offsets], len(values)
        return lists

    @staticmethod
    def joined(parts: Iterable[_Lists]) -> _Lists:
        arrays = [part.arrays() for part in parts]
        before = np.cumsum([0, *(len(values) for values, _ in arrays)])
        offsets = [offsets[1:] + shift for (_, offsets), shift in zip(arrays, before[:-1], strict=True)]
        zero = np.zeros(1, dtype=np.int64)
        return _Lists._of(np.concatenate([values for values, _ in arrays]), np.concatenate([zero, *offsets]))


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _dense(array: pa.Array, column: PoolColumn, where: str) -> Array:
    if column.is_scalar:
        return _numbers(array, column, where)
    if array.null_count:
        raise DataError(f"{where}: the column {column.name!r} has nulls among its vectors. Drop or fill these rows.")
    assert column.width is not None
    return _numbers(array.flatten(), column, where).reshape(len(array), column.width)


def _numbers(array: pa.Array, column: PoolColumn, where: str) -> Array:
    if array.null_count:
        raise DataError(
            f"{where}: the column {column.name!r} has {array.null_count:,} nulls. Fill them with `FillMissing`, "
            "encode it with `Categorify` (null has a code of its own), or drop the rows."
        )
    wanted = pa.from_numpy_dtype(np.dtype(column.dtype))
    if array.type != wanted:
        try:
            array = array.cast(wanted, safe=column.dtype != "float32")
        except pa.ArrowInvalid as error:
            raise DataError(
                f"{where}: the column {column.name!r} holds a number that {column.dtype} cannot ({error}). "
                "Correct its domain in the schema, or Categorify it again."
            ) from error
    numbers: Array = array.to_numpy(zero_copy_only=False)
    return numbers


def _rows_of(matrix: Array, rows: Array | slice) -> Array:
    # `take` of numpy beats both fancy indexing and torch, whose threads get in the way of each other at this size.
    return matrix[rows] if isinstance(rows, slice) else matrix.take(rows, axis=0)


def _weave(matrix: Array, parts: Sequence[tuple[slice, Array]]) -> None:
    """Write columns into a row-major matrix, block by block."""
    for start in range(0, len(matrix), _BLOCK_ROWS):
        block = matrix[start : start + _BLOCK_ROWS]
        for slot, numbers in parts:
            piece = numbers[start : start + _BLOCK_ROWS]
            if piece.ndim == 1:
                block[:, slot.start] = piece
            else:
                block[:, slot] = piece
