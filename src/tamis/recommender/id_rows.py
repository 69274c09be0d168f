"""From raw ids to row numbers, quickly for one id as for a million."""

from __future__ import annotations

import bisect
from typing import Any, Self, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.store.feature_store import ID

Rows: TypeAlias = NDArray[np.int64]


_FEW = 8  # ids that are found sooner one by one than by a query over all
_FEW_INSERTED = 100
_SORTED, _ORDER = "__sorted_id", "__sorted_row"


class IdRows:
    """The row number of each id.

    Args:
        ids: distinct, without nulls; the first has row 0.
        order: their rows as the ids ascend, where it is known already.
        ascending: the ids in that order.
    """

    def __init__(self, ids: pl.Series, order: Rows | None = None, ascending: pl.Series | None = None) -> None:
        self.ids = ids
        self._order: Rows = ids.arg_sort().to_numpy().astype(np.int64) if order is None else order
        self._sorted = ids.gather(self._order) if ascending is None else ascending
        self._numbers = self._sorted.to_numpy() if ids.dtype.is_integer() else None
        self._is_plain = ids.dtype.is_integer() or ids.dtype == pl.String  # Python orders these as Polars does

    def columns(self) -> list[pl.Series]:
        """The ids and their order, to be saved beside other columns."""
        return [self.ids.alias(ID), self._sorted.alias(_SORTED), pl.Series(_ORDER, self._order)]

    @classmethod
    def of_columns(cls, frame: pl.DataFrame) -> tuple[Self, pl.DataFrame]:
        """What `columns` gave columns of, and the frame's other columns."""
        ids, rest = frame[ID], frame.drop(ID, _SORTED, _ORDER, strict=False)
        if _ORDER not in frame.columns:  # a bundle of before
            return cls(ids), rest
        return cls(ids, frame[_ORDER].to_numpy(), frame[_SORTED].alias(ids.name)), rest

    def with_more(self, ids: pl.Series) -> IdRows:
        """These ids, and others behind them, which are none of these.

        A search for each place is cheaper than sorting a million ids again for one.
        """
        longer = object.__new__(IdRows)
        order = ids.arg_sort().to_numpy().astype(np.int64)
        fresh = ids.gather(order)
        places = self._places(fresh) if len(self) else np.zeros(len(fresh), np.int64)
        longer.ids = pl.concat([self.ids, ids], rechunk=True)
        longer._order = np.insert(self._order, places, order + len(self))
        longer._sorted = _inserted(self._sorted, places, fresh)
        longer._numbers = longer._sorted.to_numpy() if ids.dtype.is_integer() else None
        longer._is_plain = self._is_plain
        return longer

    def __len__(self) -> int:
        return len(self.ids)

    def rows_of(self, asked: pl.Series) -> Rows:
        """Rows of ids of the same dtype, in the order asked for; -1 for unknown ones and nulls."""
        if not len(self) or not len(asked) or asked.null_count() == len(asked):
            return np.full(len(asked), -1, np.int64)
        if len(asked) <= _FEW and self._is_plain:
            return np.array([-1 if one is None else self._row_of(one) for one in asked.to_list()], np.int64)
        wanted = asked.fill_null(asked.drop_nulls()[0])
        places = self._places(wanted).clip(max=len(self) - 1)
        found = (self._sorted.gather(places) == wanted).to_numpy() & asked.is_not_null().to_numpy()
        rows: Rows = np.where(found, self._order[places], -1)
        return rows

    def row_of(self, one: Any) -> int:
        """The row of one id, given in the kind that ids have; -1 for unknown ones and None."""
        if one is None or not len(self):
            return -1
        return self._row_of(one) if self._is_plain else int(self.rows_of(pl.Series([one], dtype=self.ids.dtype))[0])

    def _places(self, wanted: pl.Series) -> Rows:
        if self._numbers is not None:
            return np.searchsorted(self._numbers, wanted.to_numpy()).astype(np.int64)
        found: Any = self._sorted.search_sorted(wanted, side="left")
        return found.to_numpy().astype(np.int64)  # type: ignore[no-any-return]

    def _row_of(self, wanted: Any) -> int:
        ids: Any = self._sorted if self._numbers is None else self._numbers
        place = bisect.bisect_left(ids, wanted)
        return int(self._order[place]) if place < len(self) and ids[place] == wanted else -1


def _inserted(series: pl.Series, places: Rows, values: pl.Series) -> pl.Series:
    """The series with each value before what stands at its place."""
    if series.dtype.is_integer():
        return pl.Series(series.name, np.insert(series.to_numpy(), places, values.to_numpy()), dtype=series.dtype)
    if len(values) > _FEW_INSERTED:
        return pl.concat([series, values]).gather(
            np.insert(np.arange(len(series)), places, len(series) + np.arange(len(values)))
        )
    parts, start = [], 0
    for number, place in enumerate(places.tolist()):
        parts += [series.slice(start, place - start), values.slice(number, 1)]
        start = place
    return pl.concat([*parts, series.slice(start)], rechunk=True)


def row_of_code(codes: Rows) -> Rows:
    """A table that gives the row of each category code; -1 for codes that no row has."""
    table = np.full(int(codes.max()) + 2 if len(codes) else 1, -1, np.int64)
    table[codes] = np.arange(len(codes))
    return table


def rows_of_codes(table: Rows, codes: NDArray[Any]) -> Rows:
    """Rows of codes by what `row_of_code` made; the last place of the table is nobody's."""
    rows: Rows = table[np.minimum(codes.astype(np.int64), len(table) - 1)]
    return rows
