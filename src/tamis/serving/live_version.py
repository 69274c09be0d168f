"""A version that answers: a recommender with all updates of items applied, and what speeds requests up."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from tamis.errors import TamisError, UnknownColumnError
from tamis.recommender.recommender import Recommender
from tamis.recommender.recommender_folder import identity_of
from tamis.serving.asked_users import UserQueries
from tamis.serving.estimates import StageEstimates
from tamis.serving.filter_cache import FilterCache
from tamis.serving.item_rows import item_frames
from tamis.serving.read_write_lock import ReadWriteLock
from tamis.serving.update_log import ItemUpdate, UpdateLog

_LOG = logging.getLogger("tamis.serving")


class LiveVersion:
    """A loaded recommender that follows the log of updates.

    Whoever answers with it holds `lock.reading()`; updates are applied between requests.

    Args:
        name: of the version.
        recommender: loaded; from now on it belongs to this object.
    """

    def __init__(self, name: str, recommender: Recommender) -> None:
        self.name, self.recommender = name, recommender
        self.lock = ReadWriteLock()
        self.users = UserQueries(recommender)
        self.filters = FilterCache(recommender)
        self.estimates = StageEstimates()
        self.identity = recommender.identity  # of the bundle, whatever updates change
        self.stored: Callable[[pl.Series], pl.DataFrame | None] | None = None  # features out of a store, by raw id
        self.loaded_at = time.time()
        self.num_refused = 0  # updates that this version could not take
        self._applied, self._following = 0, threading.Lock()

    @classmethod
    def load(cls, path: str | Path, name: str | None = None, *, runtime: str = "auto") -> LiveVersion:
        """Load a bundle; it has answered its own requests as it did when it was saved.

        `runtime` is what runs the models, see `Recommender.load`; of a bundle with ONNX files, `"auto"` loads no torch.

        Raises:
            FormatError: a damaged bundle, one that answers otherwise, or one without ONNX files for `"onnx"`.
        """
        folder = Path(path)
        return cls(name or identity_of(folder)[:12], Recommender.load(folder, runtime=runtime))

    @property
    def applied(self) -> int:
        """The number of the latest update that was applied."""
        return self._applied

    def follow(self, log: UpdateLog) -> int:
        """Apply what is new in the log: how many updates of items."""
        count = 0
        with self._following:
            last = log.last_number
            while self._applied < last:
                updates = log.items_after(self._applied)
                if updates:
                    self._apply(updates)
                    count += len(updates)
                self._applied = updates[-1].number if updates else last
        return count

    def _apply(self, updates: Sequence[ItemUpdate]) -> None:
        put = [one for one in updates if one.is_offered]
        removed = [one.item for one in updates if not one.is_offered]
        with self.lock.writing():
            if removed:
                self.recommender.remove_items([str(item) for item in removed])
            if put and not self._put(put):
                for one in put:  # one that does not fit shall not keep the others out
                    self._put([one], tell=True)

    def _put(self, updates: Sequence[ItemUpdate], *, tell: bool = False) -> bool:
        rows = [{self.recommender.item_id: one.item, **one.columns} for one in updates]
        try:
            frames = list(item_frames(self.recommender, rows))
            for frame in frames:
                self.recommender.check_items(frame)
            for frame in frames:
                self.recommender.upsert_items(frame)
        except (TamisError, pl.exceptions.PolarsError) as error:
            if tell:
                self.num_refused += 1
                _LOG.warning("version %s cannot take an update of item %r: %s", self.name, updates[0].item, error)
            return False
        return True

    def check_items(self, rows: Sequence[Mapping[str, Any]], earlier: Sequence[Mapping[str, Any]]) -> None:
        """Refuse what could not be applied, before it is kept.

        Args:
            rows: raw columns, the id among them.
            earlier: for each row the columns that earlier updates gave of the item.

        Raises:
            DataError: a value that its column cannot hold, an item twice, or columns that are missing.
            UnknownColumnError: a column that items do not have.
        """
        with self.lock.reading():
            known = {*self.recommender.raw_item_columns, *self.recommender.catalogue.columns.columns}
            for name in dict.fromkeys(name for row in rows for name in row):
                if name not in known:
                    raise UnknownColumnError(name, known, where="items", what="item column")
            whole = [{**old, **row} for old, row in zip(earlier, rows, strict=True)]
            for frame in item_frames(self.recommender, whole):
                self.recommender.check_items(frame)
