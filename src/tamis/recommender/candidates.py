"""The items that compete for each request's list, and how the lists of several sources become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.index import SearchResult
from tamis.recommender.id_rows import Rows

Scores = NDArray[np.float32]
BLENDS = ("reciprocal_rank", "score")
_RANK_OFFSET = 60.0  # Cormack et al.: how much less the places at the top differ than 1, 1/2, 1/3


@dataclass(frozen=True)
class Candidates:
    """Items per request, best first. Rows end with -1 where fewer are left.

    Args:
        items: [queries, width] rows of the catalogue.
        scores: [queries, width] what they are ordered by now; -inf where there is none.
        found_by: [queries, width] one bit per source that found the item.
        retrieval: [queries, width] the score that the sources gave.
        ranking: [queries, width, targets] what the ranker predicts; NaN where it was not asked; None without a ranker.
    """

    items: Rows
    scores: Scores
    found_by: NDArray[np.int64]
    retrieval: Scores
    ranking: Scores | None = None

    def __len__(self) -> int:
        return len(self.items)

    @property
    def width(self) -> int:
        """Places per request."""
        return int(self.items.shape[1])

    def take(self, places: NDArray[Any]) -> Candidates:
        """The candidates in these places [queries, k], in this order; place -1 is an empty one."""
        empty = (places < 0) | (self.width == 0)
        at = np.where(empty, 0, places)

        one = at[0] if len(self) == 1 and len(places) == 1 and not empty.any() else None

        def pick(values: NDArray[Any], nothing: Any) -> NDArray[Any]:
            if one is not None:  # a single request is most of what servers get
                return values[:, one]
            if not self.width:  # there is no place to look at
                return np.full((*places.shape, *values.shape[2:]), nothing, values.dtype)
            deep = (..., None) if values.ndim == 3 else ...
            return np.where(empty[deep], nothing, np.take_along_axis(values, at[deep], 1))

        ranking = None if self.ranking is None else pick(self.ranking, np.float32(np.nan))
        return replace(
            self,
            items=pick(self.items, -1),
            scores=pick(self.scores, np.float32(-np.inf)),
            found_by=pick(self.found_by, 0),
            retrieval=pick(self.retrieval, np.float32(-np.inf)),
            ranking=ranking,
        )

    def filled(self, rows: Rows, lists: Sequence[Rows], scores: Scores, *, bit: int) -> Candidates:
        """The same with these lists of items, best first, for the requests `rows`; found by the source of this bit.

        Args:
            rows: [n] numbers of requests.
            lists: for each of them, its items.
            scores: [items] of the whole catalogue.
            bit: number of the source.
        """
        wide = self.take(_first_places(len(self), max([self.width, *map(len, lists)]), self.width))
        for row, items in zip(rows.tolist(), lists, strict=True):
            place = slice(0, len(items))
            wide.items[row], wide.scores[row], wide.found_by[row], wide.retrieval[row] = -1, -np.inf, 0, -np.inf
            wide.items[row, place], wide.found_by[row, place] = items, 1 << bit
            wide.scores[row, place] = wide.retrieval[row, place] = scores[items]
        return wide

    def first(self, k: int) -> Candidates:
        """The first `k` places."""
        if k >= self.width:
            return self
        return Candidates(
            self.items[:, :k],
            self.scores[:, :k],
            self.found_by[:, :k],
            self.retrieval[:, :k],
            None if self.ranking is None else self.ranking[:, :k],
        )


def blended(found: Sequence[SearchResult], num_items: int, *, blend: str) -> Candidates:
    """The union of the sources' lists, each item once, best first.

    `"reciprocal_rank"`: the sum over the sources of 1 / (60 + rank). `"score"`: the sum of each source's scores,
    stretched within the request to 0 for its last and 1 for its first candidate, plus 1 a source. A single source
    keeps its own scores.

    Args:
        found: the lists of each source, all of the same requests.
        num_items: of the catalogue.
        blend: `"reciprocal_rank"` or `"score"`.

    Source: Cormack et al., Reciprocal Rank Fusion, SIGIR 2009.
    """
    if len(found) == 1:
        ids, scores = found[0].ids, found[0].scores.astype(np.float32, copy=False)
        return Candidates(ids, scores, (ids >= 0).astype(np.int64), scores)
    shares = [_by_rank(one) if blend == "reciprocal_rank" else _by_score(one) for one in found]
    ids, share = np.concatenate([one.ids for one in found], axis=1), np.concatenate(shares, axis=1)
    bits = np.concatenate([np.full(one.ids.shape, 1 << i, np.int64) for i, one in enumerate(found)], axis=1)
    is_there = ids >= 0
    query = np.broadcast_to(np.arange(len(ids))[:, None], ids.shape)[is_there]
    keys, inverse = np.unique(query * num_items + ids[is_there], return_inverse=True)
    total = np.bincount(inverse, share[is_there], len(keys))
    found_by = np.zeros(len(keys), np.int64)
    np.bitwise_or.at(found_by, inverse, bits[is_there])
    return _in_lists(keys // num_items, keys % num_items, total.astype(np.float32), found_by, len(ids))


def _by_rank(found: SearchResult) -> NDArray[np.float64]:
    rank = np.arange(1, found.ids.shape[1] + 1)
    return np.broadcast_to(1 / (_RANK_OFFSET + rank), found.ids.shape)


def _by_score(found: SearchResult) -> NDArray[np.float64]:
    if not found.ids.shape[1]:
        return np.zeros(found.ids.shape)
    is_there = found.ids >= 0
    low = np.where(is_there, found.scores, np.inf).min(axis=1, keepdims=True)
    high = np.where(is_there, found.scores, -np.inf).max(axis=1, keepdims=True)
    spread = np.where(high > low, high - low, 1.0)
    return np.where(is_there, 1 + (found.scores - low) / spread, 0.0)


def _in_lists(query: Rows, items: Rows, scores: Scores, found_by: NDArray[np.int64], num_queries: int) -> Candidates:
    """Candidates out of one long list, in which each request's are together."""
    order = np.lexsort((items, -scores, query))
    query = query[order]
    counts = np.bincount(query, minlength=num_queries)
    width = int(counts.max()) if num_queries else 0
    place = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
    lists = Candidates(
        np.full((num_queries, width), -1, np.int64),
        np.full((num_queries, width), -np.inf, np.float32),
        np.zeros((num_queries, width), np.int64),
        np.full((num_queries, width), -np.inf, np.float32),
    )
    lists.items[query, place] = items[order]
    lists.scores[query, place] = scores[order]
    lists.found_by[query, place] = found_by[order]
    lists.retrieval[query, place] = scores[order]
    return lists


def _first_places(num_queries: int, width: int, num_places: int) -> NDArray[np.int64]:
    places = np.arange(width)
    return np.broadcast_to(np.where(places < num_places, places, -1), (num_queries, width))
