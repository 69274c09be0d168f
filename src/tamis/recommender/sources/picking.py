"""From scores to lists of `k` items, with the items left out that must not come back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tamis.errors import SettingError
from tamis.index import SearchResult
from tamis.index.protocol import NO_ID, NO_SCORE, as_exclusions
from tamis.recommender.id_rows import Rows
from tamis.recommender.sources.ragged import Numbers


class Passing:
    """Which items may come back, for one request after another, in the memory of one catalogue.

    Args:
        num_items: the items that the source knows; rows from there on are ignored.
        num_queries: requests.
        exclude: for each request the items that must not come back.
        allow: the only items that may come back.
        where: for messages.

    Raises:
        SettingError: not one list of exclusions per request.
    """

    def __init__(
        self, num_items: int, num_queries: int, exclude: Sequence[Rows] | None, allow: Rows | None, *, where: str
    ) -> None:
        self._exclude = as_exclusions(exclude, num_queries, where=where)
        self.allowed: NDArray[np.bool_] = np.full(num_items, allow is None)
        if allow is not None:
            self.allowed[_below(allow, num_items)] = True
        self._mask = self.allowed.copy()
        self._hidden = np.zeros(0, np.int64)

    def num_hidden(self, query: int) -> int:
        """At most so many items are left out of this request's list besides those that nobody may see."""
        return 0 if self._exclude is None else len(self._exclude[query])

    def of(self, query: int) -> NDArray[np.bool_]:
        """[items], for this request; changes with the next call."""
        if self._exclude is not None:
            self._mask[self._hidden] = self.allowed[self._hidden]
            self._hidden = _below(self._exclude[query], len(self._mask))
            self._mask[self._hidden] = False
        return self._mask


class ResultLists:
    """Lists to fill, one per request: -1 and -inf where nothing was put.

    Args:
        num_queries: requests.
        k: their length.
        where: for messages.

    Raises:
        SettingError: `k` is below 1.
    """

    def __init__(self, num_queries: int, k: int, *, where: str) -> None:
        if k < 1:
            raise SettingError(f"{where}: k is {k}. Give a length of 1 or more.")
        self.k = k
        self._ids = np.full((num_queries, k), NO_ID, np.int64)
        self._scores = np.full((num_queries, k), NO_SCORE, np.float32)

    def put(self, query: int, items: Rows, scores: Numbers) -> None:
        """Make these items, best first, the list of this request; those behind place `k` fall out."""
        count = min(len(items), self.k)
        self._ids[query, :count], self._scores[query, :count] = items[:count], scores[:count]

    def put_ranking(self, query: int, ranking: Rows, scores: Numbers, passing: Passing) -> None:
        """Make the first items that may come back of a ranking that is allowed as a whole the list of this request.

        Args:
            query: number of the request.
            ranking: items, best first; `allowed` of `passing` holds for all of them.
            scores: [items] of the catalogue.
            passing: what the request may see.
        """
        first = ranking[: self.k + passing.num_hidden(query)]  # more than that cannot be needed
        items = first[passing.of(query)[first]]
        self.put(query, items, scores[items])

    def result(self) -> SearchResult:
        """What was put."""
        return SearchResult(self._scores, self._ids)


def _below(rows: Rows, num_items: int) -> Rows:
    rows = np.asarray(rows, np.int64)
    return rows[(rows >= 0) & (rows < num_items)]
