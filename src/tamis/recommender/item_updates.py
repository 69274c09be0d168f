"""New and changed items, encoded as the training data was, into the catalogue and every source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from tamis.errors import DataError, UnknownColumnError
from tamis.features.workflow import Workflow
from tamis.recommender.catalogue import Catalogue
from tamis.recommender.id_rows import Rows
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
        made_of = self._made_of = sources_of(workflow)
        self.raw: list[str] = sorted(set().union(*(made_of[name] for name in catalogue.features.columns)))
        self._encoding = RawEncoding(workflow, self.raw, catalogue.features.columns)

    def check(self, items: pl.DataFrame, sources: Sequence[Source]) -> None:
        """See `Recommender.check_items`."""
        self._read(items, sources)

    def upsert(self, items: pl.DataFrame, sources: Sequence[Source]) -> int:
        """See `Recommender.upsert_items`."""
        ids, features, num_new = self._read(items, sources)
        before, was_offered = self.catalogue.state(), self.catalogue.offers(self.catalogue.rows_of(ids))
        rows = self.catalogue.upsert(ids, features, items.select(self._shown(items)))
        changed = rows if features.width else rows[~was_offered]  # what is back has to be found again
        told: list[Source] = []
        try:
            for source in sources if len(changed) else ():
                told.append(source)
                source.upsert(self.catalogue, changed)
        except BaseException:
            self._undo(before, changed, told)
            raise
        return num_new

    def _undo(self, before: Any, changed: Rows, told: Sequence[Source]) -> None:
        """As it was before the items came, also for those sources that have taken them in."""
        self.catalogue.restore(before)
        old = changed[changed < len(self.catalogue)]
        old = old[self.catalogue.is_offered[old]]
        for source in told:
            source.remove(changed)
            source.upsert(self.catalogue, old)

    def _read(self, items: pl.DataFrame, sources: Sequence[Source]) -> tuple[pl.Series, pl.DataFrame, int]:
        """The ids, the encoded features, if there are any, and how many are new; nothing is changed."""
        self._check_columns(items)
        self._check_shown(items)
        ids = self._ids(items)
        num_new = int((self.catalogue.rows_of(ids) < 0).sum())
        if not self._has_features(items, num_new=num_new):
            return ids, pl.DataFrame(), num_new
        features = self._encoding.encode(items, self.catalogue.features.schema)
        self._check_features(ids, features)
        for source in sources:
            source.check_upsert(num_new, features)
        return ids, features, num_new

    def _check_features(self, ids: pl.Series, features: pl.DataFrame) -> None:
        """Refuse nulls and infinite numbers in columns that have none so far: no model could take them."""
        for name in features.columns:
            wrong = _unusable(features[name])
            if wrong.any() and not _unusable(self.catalogue.features[name]).any():
                raise DataError(
                    f"{_WHERE}: the item {ids.filter(wrong)[0]!r} has no usable number in {name!r}, which is null or "
                    f"infinite once it is encoded. Give all of {self._raw_of(name)} a value."
                )

    def _raw_of(self, name: str) -> list[str]:
        return sorted(self._made_of.get(name, set()) - {self.item_id})

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


def _unusable(column: pl.Series) -> pl.Series:
    """Which rows are null or infinite, or hold something that is."""
    if column.dtype == pl.List or column.dtype == pl.Array:
        inner = column.explode() if column.dtype == pl.List else column.arr.explode()
        if not _unusable(inner.drop_nulls()).any() and not column.null_count():
            return pl.repeat(False, len(column), eager=True)
        return pl.Series([one is None or bool(_unusable(one).any()) for one in column], dtype=pl.Boolean)
    if column.dtype.is_float():
        return column.is_null() | ~column.is_finite().fill_null(False)
    return column.is_null()
