"""New and changed items, encoded as the training data was, into the catalogue and every source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from tamis.errors import DataError, UnknownColumnError
from tamis.features.workflow import Workflow
from tamis.recommender.catalogue import Catalogue
from tamis.recommender.query_columns import sources_of
from tamis.recommender.raw_encoding import RawEncoding
from tamis.recommender.source import Source

_WHERE = "upsert_items"


class ItemUpdates:
    """Puts items into a catalogue.

    Args:
        workflow: the whole workflow.
        catalogue: is changed.
        item_id: the raw item id column.
    """

    def __init__(self, workflow: Workflow, catalogue: Catalogue, item_id: str) -> None:
        self.catalogue, self.item_id = catalogue, item_id
        made_of = sources_of(workflow)
        self.raw: list[str] = sorted(set().union(*(made_of[name] for name in catalogue.features.columns)))
        self._encoding = RawEncoding(workflow, self.raw, catalogue.features.columns)

    def check(self, items: pl.DataFrame, sources: Sequence[Source]) -> None:
        """See `Recommender.check_items`."""
        self._read(items, sources)

    def upsert(self, items: pl.DataFrame, sources: Sequence[Source]) -> int:
        """See `Recommender.upsert_items`."""
        ids, features, num_new = self._read(items, sources)
        rows = self.catalogue.upsert(ids, features, items.select(self._shown(items)))
        for source in sources if features.width else ():
            source.upsert(self.catalogue, rows)
        return num_new

    def _read(self, items: pl.DataFrame, sources: Sequence[Source]) -> tuple[pl.Series, pl.DataFrame, int]:
        """The ids, the encoded features, if there are any, and how many are new; nothing is changed."""
        self._check_columns(items)
        self._check_shown(items)
        ids = self._ids(items)
        num_new = int((self.catalogue.rows_of(ids) < 0).sum())
        if not self._has_features(items, num_new=num_new):
            return ids, pl.DataFrame(), num_new
        features = self._encoding.encode(items, self.catalogue.features.schema)
        for source in sources:
            source.check_upsert(num_new)
        return ids, features, num_new

    def remove(self, item_ids: Iterable[Any], sources: Sequence[Source]) -> int:
        """See `Recommender.remove_items`."""
        ids = pl.Series(list(item_ids), strict=False).cast(self.catalogue.ids.dtype, strict=False)
        rows = self.catalogue.rows_of(ids)
        rows = rows[rows >= 0]
        count = int(self.catalogue.is_offered[rows].sum())
        self.catalogue.remove(rows)
        for source in sources:
            source.remove(rows)
        return count

    def _shown(self, items: pl.DataFrame) -> list[str]:
        return [name for name in items.columns if name in self.catalogue.columns.columns]

    def _check_columns(self, items: pl.DataFrame) -> None:
        known = [*self.raw, *(name for name in self.catalogue.columns.columns if name not in self.raw)]
        for name in items.columns:
            if name not in known:
                raise UnknownColumnError(name, known, where=_WHERE)
        if self.item_id not in items.columns:
            raise UnknownColumnError(self.item_id, items.columns, where=_WHERE)

    def _check_shown(self, items: pl.DataFrame) -> None:
        for name in self._shown(items):
            dtype = self.catalogue.columns.schema[name]
            try:
                items[name].cast(dtype)
            except pl.exceptions.PolarsError as error:
                raise DataError(
                    f"{_WHERE}: {name!r} holds {items[name].dtype}, such as {items[name].drop_nulls()[0]!r}, which is "
                    f"no {dtype}, what the catalogue has there. Give {dtype}."
                ) from error

    def _ids(self, items: pl.DataFrame) -> pl.Series:
        ids = items[self.item_id].cast(self.catalogue.ids.dtype, strict=False)
        if ids.null_count():
            raise DataError(
                f"{_WHERE}: {ids.null_count():,} items have no {self.item_id!r}, or none of the kind "
                f"{self.catalogue.ids.dtype}. Give each one."
            )
        if ids.n_unique() < len(ids):
            twice = ids.filter(ids.is_duplicated())[0]
            raise DataError(f"{_WHERE}: the item {twice!r} is given more than once. Give each item one row.")
        return ids

    def _has_features(self, items: pl.DataFrame, *, num_new: int) -> bool:
        missing = [name for name in self.raw if name not in items.columns]
        given = [name for name in self.raw if name in items.columns and name != self.item_id]
        if missing and (given or num_new):
            reason = f"{given} alone would leave the others unknown" if given else f"{num_new:,} items are new"
            raise DataError(f"{_WHERE}: the columns {missing} are missing, but {reason}. Give all feature columns.")
        return not missing
