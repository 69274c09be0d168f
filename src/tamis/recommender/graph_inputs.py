"""The inputs of an exported model as numpy arrays, checked, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.errors import DataError, SettingError, UnknownColumnError
from tamis.recommender.id_rows import Rows

VALUES, OFFSETS = "__values", "__offsets"  # what a list's numbers, and where each list starts, are called

Array = NDArray[Any]
Arrays = dict[str, Array]


@dataclass(frozen=True)
class GraphInput:
    """A column as an exported model takes it.

    Args:
        name: of the column.
        num_codes: of a column of codes; None is a column of numbers.
        width: of vectors and lists of one length.
        is_list: whether rows are lists of any length.
    """

    name: str
    num_codes: int | None = None
    width: int | None = None
    is_list: bool = False

    def of_value(self, value: Any, where: str) -> Arrays:
        """One row: a number, a list or an array.

        Raises:
            DataError: no number, null, or another number of them than a row has.
            SettingError: a code outside the categories.
        """
        numbers = np.asarray([] if value is None and self.is_list else value)
        if numbers.dtype.kind not in "iufb":
            raise DataError(
                f"{where}: the query's {self.name!r} is {value!r}, which is no number. Encode it with the workflow "
                "that the model was trained with, and fill nulls."
            )
        return self._checked(numbers.reshape(-1), [numbers.size], where, one_row=True)

    def of_series(self, series: pl.Series, where: str) -> Arrays:
        """All rows of a column.

        Raises:
            DataError: what is no number, nulls, or vectors of another length.
            SettingError: a code outside the categories.
        """
        kind = series.dtype.inner if isinstance(series.dtype, pl.List | pl.Array) else series.dtype
        if not (kind.is_numeric() or kind == pl.Boolean) or (self.is_list and not isinstance(series.dtype, pl.List)):
            raise DataError(
                f"{where}: the column {self.name!r} holds {series.dtype}, which the model does not take. Encode it "
                "with the workflow that the model was trained with."
            )
        if not self.is_nested:
            return self._checked(_dense(series, where), None, where)
        arrow = series.to_arrow()
        numbers = pl.Series(series.name, pl.from_arrow(arrow.flatten()), dtype=kind)  # what stands behind nulls is left
        if not self.is_list and series.null_count():
            _refuse_nulls(series, where)
        return self._checked(_dense(numbers, where), series.list.len().fill_null(0) if self.is_list else None, where)

    @property
    def is_nested(self) -> bool:
        """Whether a row holds several numbers."""
        return self.is_list or self.width is not None

    def _checked(self, numbers: Array, lengths: Any, where: str, *, one_row: bool = False) -> Arrays:
        numbers = self._codes(numbers) if self.num_codes is not None else numbers.astype(np.float32, copy=False)
        if self.is_list:
            return {self.name + VALUES: numbers, self.name + OFFSETS: np.append(0, np.cumsum(lengths, dtype=np.int64))}
        width = self.width or 1
        if (one_row and numbers.size != width) or numbers.size % width:
            raise DataError(
                f"{where}: the column {self.name!r} has {numbers.size} numbers, not {width} a row. Give "
                "the features of one query."
            )
        return {self.name: numbers if self.width is None else numbers.reshape(-1, self.width)}

    def _codes(self, codes: Array) -> Array:
        assert self.num_codes is not None
        if codes.size and codes.dtype.kind == "f":
            raise SettingError(
                f"column {self.name!r}: its codes are {codes.dtype}, but must be whole numbers. Cast it, or encode it "
                "with Categorify."
            )
        if codes.size and not 0 <= (low := int(codes.min())) <= (high := int(codes.max())) < self.num_codes:
            raise SettingError(
                f"column {self.name!r}: the code {low if low < 0 else high} is outside its {self.num_codes} "
                "categories. Encode the data with the workflow that the model was trained with."
            )
        return codes if codes.dtype in (np.int32, np.int64) else codes.astype(np.int64)


@dataclass(frozen=True)
class GraphInputs:
    """The columns of one side: a query's, or the candidates'."""

    columns: tuple[GraphInput, ...]
    where: str

    @classmethod
    def described(cls, columns: Sequence[Mapping[str, Any]], where: str) -> Self:
        """What `describe` described."""
        return cls(tuple(GraphInput(**column) for column in columns), where)

    def describe(self) -> list[dict[str, Any]]:
        """The columns, as JSON can hold them."""
        return [asdict(column) for column in self.columns]

    def row(self, values: Mapping[str, Any]) -> Arrays:
        """One row, as the graph takes it.

        Raises:
            UnknownColumnError: a column is missing.
        """
        found: Arrays = {}
        for column in self.columns:
            name, most = column.name, column.num_codes
            if name not in values:
                raise UnknownColumnError(name, values, where=self.where)
            value = values[name]
            if type(value) is int and most is not None and 0 <= value < most and not column.is_nested:
                found[name] = np.array([value], np.int64)  # most columns of most requests
            elif type(value) is float and most is None and not column.is_nested:
                found[name] = np.array([value], np.float32)
            else:
                found |= wide(column.of_value(value, self.where))
        return found

    def rows(self, frame: pl.DataFrame) -> Arrays:
        """All rows of a frame; codes of 32 bits stay so, see `wide`.

        Raises:
            UnknownColumnError: a column is missing.
        """
        found: Arrays = {}
        for column in self.columns:
            if column.name not in frame.columns:
                raise UnknownColumnError(column.name, frame.columns, where=self.where)
            found |= column.of_series(frame.get_column(column.name), self.where)
        return found


def wide(arrays: Arrays) -> Arrays:
    """With whole numbers of 64 bits, as graphs take them."""
    return {name: one if one.dtype == np.float32 else one.astype(np.int64, copy=False) for name, one in arrays.items()}


def take(arrays: Arrays, rows: Rows) -> Arrays:
    """These rows of all columns, lists included."""
    found: Arrays = {}
    for name, one in arrays.items():
        if name.endswith(OFFSETS):
            values = name.removesuffix(OFFSETS) + VALUES
            lengths = one[rows + 1] - one[rows]
            offsets = np.append(0, np.cumsum(lengths))
            at = np.repeat(one[rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
            found |= {values: arrays[values].take(at), name: offsets}
        elif not name.endswith(VALUES):
            found[name] = one.take(rows, axis=0)
    return found


def _dense(series: pl.Series, where: str) -> Array:
    if series.null_count():
        _refuse_nulls(series, where)
    return (series.cast(pl.Int32) if series.dtype == pl.Boolean else series).to_numpy()


def _refuse_nulls(series: pl.Series, where: str) -> None:
    raise DataError(
        f"{where}: the column {series.name!r} has {series.null_count():,} nulls. Fill them with `FillMissing`, encode "
        "it with `Categorify` (null has a code of its own), or drop the rows."
    )
