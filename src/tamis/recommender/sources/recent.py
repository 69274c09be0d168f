"""Candidates that came into the catalogue most recently, the same for everybody."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.errors import DataError, NotFittedError
from tamis.index import SearchResult
from tamis.recommender.audience import Audience
from tamis.recommender.catalogue import Catalogue
from tamis.recommender.id_rows import Rows
from tamis.recommender.interactions import Interactions
from tamis.recommender.queries import Queries
from tamis.recommender.source import Source
from tamis.recommender.sources.picking import Passing, ResultLists

_NEVER = -1
_FILE = "entries.npy"


class Recent(Source):
    """The items that entered most recently: those whose first interaction is the latest.

    With a time column, items that entered at one moment are equal, and the smaller row comes first; without one, the
    place in the order decides. Items that `upsert_items` adds enter at that moment, before all others. Items without
    any interaction of a known user are no candidates: nobody knows when they came. The score is 1 for the newest and
    goes down in equal steps with each earlier moment, to above 0 for the oldest.

    Args:
        quota: candidates a request; by default 100, or all items of a smaller catalogue.
        name: what its candidates are marked with.
    """

    def __init__(self, *, quota: int | None = None, name: str | None = None) -> None:
        super().__init__(quota=quota, name=name)
        self._entries: Rows | None = None  # [items] number of the moment at which each entered, from 0 on

    def fit(self, catalogue: Catalogue, interactions: Interactions, audience: Audience) -> None:
        """Learn when each item was first met.

        Raises:
            DataError: there are no interactions.
        """
        if not len(interactions):
            raise DataError(
                f"{self.name}: there are no interactions to learn from. Fit on rows of known users and items."
            )
        moments = pl.Series(np.arange(len(interactions))) if interactions.times is None else interactions.times
        first = (
            pl.DataFrame({"item": interactions.items, "moment": moments}).group_by("item").agg(pl.col("moment").min())
        )
        entries = np.full(len(catalogue), _NEVER, np.int64)
        entries[first["item"].to_numpy()] = first["moment"].rank("dense").to_numpy().astype(np.int64) - 1
        self._hold(entries)

    def _hold(self, entries: Rows) -> None:
        self._entries = entries
        known = np.flatnonzero(entries > _NEVER)
        self._ranking = known[np.argsort(-entries[known], kind="stable")]
        self._scores: NDArray[np.float32] = ((entries + 1) / (entries.max() + 1)).astype(np.float32)

    def search(
        self, queries: Queries, k: int, *, exclude: Sequence[Rows] | None = None, allow: Rows | None = None
    ) -> SearchResult:
        """The newest items; equal ones by the smaller row."""
        where = f"{self.name}.search"
        passing = Passing(len(self._fitted()), len(queries), exclude, allow, where=where)
        lists = ResultLists(len(queries), k, where=where)
        ranking = self._ranking[passing.allowed[self._ranking]]
        for query in range(len(queries)):
            lists.put_ranking(query, ranking, self._scores, passing)
        return lists.result()

    def upsert(self, catalogue: Catalogue, rows: Rows) -> None:
        """Let items that were not known before enter now, all at one moment."""
        known = self._fitted()
        entries = np.append(known, np.full(len(catalogue) - len(known), _NEVER))
        new = rows[rows >= len(known)]
        entries[new] = entries.max() + 1
        self._hold(entries)

    def _fitted(self) -> Rows:
        if self._entries is None:
            raise NotFittedError(f"{self.name}: it knows no items yet. Call Recommender.fit first.")
        return self._entries

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON can hold them."""
        return {"quota": self.quota, "name": self.name}

    def save(self, folder: Path) -> None:
        """Write the order in which items entered."""
        np.save(folder / _FILE, self._fitted(), allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, settings: dict[str, Any]) -> Self:
        """Read what `save` wrote."""
        source = cls(**settings)
        source._hold(np.load(folder / _FILE, allow_pickle=False))
        return source
