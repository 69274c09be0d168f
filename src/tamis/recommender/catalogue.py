"""The items that can be recommended: one row each, by which all else in a recommender speaks of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.data.dataset import Dataset
from tamis.errors import DataError, UnknownColumnError
from tamis.features.lookup import kind_of
from tamis.recommender.id_rows import IdRows, Rows
from tamis.store.mapped_table import read_mapped, write_mapped

COUNT, IS_OFFERED, _POPULAR, _SHARE = "__count", "__is_offered", "__popular", "__share"
_ITEMS, _FEATURES = "items.arrow", "item_features.arrow"
_OLD_ITEMS, _OLD_FEATURES = "items.parquet", "item_features.parquet"
_FEW = 100  # rows that are changed one by one


class Catalogue:
    """Items by row number. New items get rows at the end; rows of removed ones stay, but are not offered.

    Args:
        ids: raw ids, distinct.
        features: encoded item features, the item's code among them.
        columns: raw columns to show and to filter by; may have none.
        counts: [items] training rows of each.
        is_offered: [items] false for those that were removed; by default all are there.
    """

    def __init__(
        self,
        ids: pl.Series | IdRows,
        features: pl.DataFrame,
        columns: pl.DataFrame,
        counts: Rows,
        is_offered: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None,
    ) -> None:
        self.features, self.columns, self.counts = features, columns, counts
        self.is_offered = np.ones(len(ids), np.bool_) if is_offered is None else is_offered
        self._rows = ids if isinstance(ids, IdRows) else IdRows(ids)
        self.vectors_of: Callable[[Rows], NDArray[np.float32]] | None = None  # [rows, dim], where a source has some
        self._popular: tuple[int, Rows] | None = None  # by version
        self._order: Rows | None = None  # all rows by their counts
        self._shares: NDArray[np.float32] | None = None
        self.version = 0  # grows with every change, so that what was derived from the items can be kept until then

    @property
    def ids(self) -> pl.Series:
        """Raw ids by row."""
        return self._rows.ids

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def num_offered(self) -> int:
        """How many items can be recommended."""
        return int(self.is_offered.sum())

    def rows_of(self, raw_ids: pl.Series) -> Rows:
        """Rows of raw ids; -1 for unknown ones."""
        return self._rows.rows_of(raw_ids.cast(self.ids.dtype, strict=False))

    def by_popularity(self) -> Rows:
        """Rows on offer, those with most training rows first; equal ones in the order of their rows."""
        if self._popular is None or self._popular[0] != self.version:
            order = self._by_count()
            self._popular = (self.version, order if self.is_offered.all() else order[self.is_offered[order]])
        return self._popular[1]

    def _by_count(self) -> Rows:
        if self._order is None or len(self._order) != len(self):
            self._order = np.argsort(-self.counts, kind="stable")
        return self._order

    def most_popular(self, allowed: NDArray[np.bool_], count: int) -> Rows:
        """At least so many rows of those that a mask [items] allows, most popular first, or all that there are."""
        popular = self.by_popularity()
        first = popular[: 4 * count + 1000]  # enough, unless a filter leaves few; the whole takes milliseconds
        first = first[allowed[first]]
        return first if len(first) >= count else popular[allowed[popular]]

    def shares(self) -> NDArray[np.float32]:
        """Each item's share of the training rows: [items]."""
        if self._shares is None or len(self._shares) != len(self):
            self._shares = (self.counts / max(self.counts.sum(), 1)).astype(np.float32)
        return self._shares

    def upsert(self, ids: pl.Series, features: pl.DataFrame, columns: pl.DataFrame) -> Rows:
        """Put items in, or change what is known of them: their rows.

        `columns` may lack some of the catalogue's: they become null for new items, and stay for others.
        """
        rows = self.rows_of(ids)
        is_new = rows < 0
        rows[is_new] = fresh = np.arange(len(self), len(self) + is_new.sum())
        self.counts = np.append(self.counts, np.zeros(is_new.sum(), np.int64))
        self.is_offered = np.append(self.is_offered, np.ones(is_new.sum(), np.bool_))
        self.is_offered[rows] = True
        self.features = _changed(self.features, rows, features)
        self.columns = _changed(self.columns, rows, columns)
        if len(fresh):
            self._rows = self._rows.with_more(ids.filter(pl.Series(is_new)).cast(self.ids.dtype))
            self._order = None if self._order is None else np.append(self._order, fresh)  # they have no training rows
        self.version += 1
        return rows

    def offers(self, rows: Rows) -> NDArray[np.bool_]:
        """Which of these rows are on offer; row -1 is not."""
        found: NDArray[np.bool_] = (rows >= 0) & self.is_offered[rows] if len(self) else np.zeros(len(rows), np.bool_)
        return found

    def state(self) -> tuple[Any, ...]:
        """All that `upsert` changes, for `restore`."""
        return self.counts, self.is_offered, self.features, self.columns, self._rows

    def restore(self, state: tuple[Any, ...]) -> None:
        """Be again as `state` was."""
        self.counts, self.is_offered, self.features, self.columns, self._rows = state
        self._order = None
        self.version += 1

    def call_ids(self, name: str) -> None:
        """Let the raw ids go by this name, in conditions say."""
        self._rows.ids = self._rows.ids.alias(name)

    def remove(self, rows: Rows) -> None:
        """Offer these items no more."""
        if not self.is_offered.flags.writeable:  # it lies in a file
            self.is_offered = self.is_offered.copy()
        self.is_offered[rows] = False
        self.version += 1

    def save(self, folder: Path) -> None:
        """Write it as two files that processes can share in memory."""
        # truth values take a byte each, as numpy has them: nothing has to be unpacked
        state: dict[str, NDArray[Any]] = {COUNT: self.counts, IS_OFFERED: self.is_offered.view(np.uint8)}
        state |= {_POPULAR: self._by_count(), _SHARE: self.shares()}
        features = self.features.with_columns(pl.Series(name, values) for name, values in state.items())
        write_mapped(features, folder / _FEATURES)
        write_mapped(pl.DataFrame(self._rows.columns()).hstack(self.columns), folder / _ITEMS)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote: values come into memory when they are asked for."""
        features, items = _table(folder, _FEATURES, _OLD_FEATURES), _table(folder, _ITEMS, _OLD_ITEMS)
        ids, columns = IdRows.of_columns(items)
        names = (COUNT, IS_OFFERED, _POPULAR, _SHARE)  # bundles of before lack the latter two
        state: dict[str, Any] = {name: features[name].to_numpy() for name in names if name in features.columns}
        catalogue = cls(ids, features.drop(state), columns, state[COUNT], state[IS_OFFERED].view(np.bool_))
        catalogue._order, catalogue._shares = state.get(_POPULAR), state.get(_SHARE)
        return catalogue


def item_columns(items: Dataset, item_id: str, ids: pl.Series) -> pl.DataFrame:
    """The raw columns of these items: their first row in `items`, nulls where there is none; without the id.

    Raises:
        UnknownColumnError: there is no id column.
        DataError: the ids are of another kind, text for numbers say.
    """
    if item_id not in items.schema:
        raise UnknownColumnError(item_id, items.column_names, where="Recommender: items")
    found = items.schema[item_id].dtype
    if kind_of(found) != kind_of(str(ids.dtype).lower()):
        raise DataError(
            f"Recommender: items: {item_id!r} holds {found}, but {str(ids.dtype).lower()} in the interactions. Cast "
            "one to the other."
        )
    frame = items.compute().with_columns(pl.col(item_id).cast(ids.dtype, strict=False))
    first = frame.unique(item_id, keep="first", maintain_order=True)
    asked = pl.DataFrame({item_id: ids})
    return asked.join(first, on=item_id, how="left", maintain_order="left").drop(item_id)


def _table(folder: Path, name: str, old_name: str) -> pl.DataFrame:
    """The table of a bundle; those of before hold parquet, which has to be unpacked."""
    return read_mapped(folder / name) if (folder / name).is_file() else pl.read_parquet(folder / old_name)


def _changed(frame: pl.DataFrame, rows: Rows, new: pl.DataFrame) -> pl.DataFrame:
    """The frame with `new` in these rows, longer where rows lie behind its end."""
    if not frame.width:
        return frame
    missing = max(int(rows.max()) + 1 - len(frame), 0) if len(rows) else 0
    longer = pl.concat([frame, frame.clear(missing)]) if missing else frame
    given = {name: new[name].cast(frame.schema[name]) for name in frame.columns if name in new.columns}
    changed = [_scattered(longer[name], rows, values) for name, values in given.items()]
    return longer.with_columns(changed)


def _scattered(column: pl.Series, rows: Rows, values: pl.Series) -> pl.Series:
    """The column with these values in these rows, without setting anything in place: lists cannot be."""
    values = values.alias(column.name)
    if len(rows) <= _FEW:  # what lies between is copied as a whole
        parts, start = [], 0
        for number in np.argsort(rows).tolist():
            row = int(rows[number])
            parts += [column.slice(start, row - start), values.slice(number, 1)]
            start = row + 1
        return pl.concat([*parts, column.slice(start)], rechunk=True)
    places = np.arange(len(column))
    places[rows] = len(column) + np.arange(len(rows))
    return pl.concat([column, values]).gather(places)
