"""Lists whose items differ from each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.errors import SettingError
from tamis.recommender.candidates import Candidates
from tamis.recommender.catalogue import Catalogue
from tamis.recommender.id_rows import Rows
from tamis.recommender.item_codes import NO_CODE, column_codes, distinct_rows, indicators, unit_vectors
from tamis.recommender.ordering_step import Ordering, Situation, need_columns

EMBEDDING = "embedding"
_MOST_INDICATORS = 256  # values of a list column up to which a row of zeros and ones is the quicker way
_ENTRIES = 2**19  # numbers of a block of requests: what stays in the cache while the list is chosen

# for some requests: from the places [queries] picked last to each candidate's similarity with them [queries, width]
Likeness: TypeAlias = Callable[[Rows], NDArray[np.float32]]


@dataclass(frozen=True)
class MMR(Ordering):
    """Maximal marginal relevance: each place gets the item that is good and unlike those above it.

    The next item is that with the largest (1 - diversity) * relevance - diversity * max similarity, the maximum over
    the items picked already. Relevance is the score, stretched within the request to 0 for its worst and 1 for its best
    candidate, so that `diversity` means the same for every ranker. Similarity goes from 0 to 1. The sum becomes the
    candidate's score. The first k are chosen; the rest follow by the same sum.

    Args:
        diversity: 0 keeps the order by score, 1 looks at similarity alone.
        by: `"embedding"`: the cosine of the items' vectors, 0 where it is negative; or item columns: the share of them
            in which two items are equal, where null equals nothing and lists share common / all values. A column of
            lists of floats is a vector.

    Raises:
        SettingError: diversity is not from 0 to 1, or `by` names nothing.

    Source: Carbonell & Goldstein, The Use of MMR, SIGIR 1998, section 2, with lambda = 1 - diversity.
    """

    diversity: float = 0.3
    by: str | Sequence[str] = EMBEDDING

    def __post_init__(self) -> None:
        if not 0 <= self.diversity <= 1:
            raise SettingError(f"MMR: diversity is {self.diversity}. Give a number from 0 to 1.")
        names = (self.by,) if isinstance(self.by, str) else tuple(self.by)
        if not names or not all(isinstance(name, str) for name in names):
            raise SettingError(f"MMR: by is {self.by!r}. Give 'embedding' or names of item columns.")
        object.__setattr__(self, "by", names)

    def check(self, catalogue: Catalogue, targets: Sequence[str]) -> None:
        """Refuse vectors or columns that the catalogue does not have.

        Raises:
            SettingError: there are no vectors.
            UnknownColumnError: names the nearest column.
        """
        names = [name for name in self.by if name != EMBEDDING]
        need_columns(self, names, catalogue)
        if len(names) < len(self.by) and catalogue.vectors_of is None:
            raise SettingError(
                "MMR: the items have no vectors to compare by. Give a source that has some, or item columns, "
                "by=['category'] say."
            )

    def order(self, candidates: Candidates, situation: Situation) -> Candidates:
        """The candidates, the first k of them chosen one by one."""
        self.check(situation.catalogue, situation.targets)
        rows, places = distinct_rows(candidates.items, len(situation.catalogue))
        views = [_view(situation.catalogue, name, rows) for name in self.by]
        picked_at, scores = np.empty(places.shape, np.int64), np.empty(places.shape, np.float32)
        size = max(_ENTRIES // max(candidates.width * sum(view.width for view in views), 1), 1)
        for start in range(0, len(candidates), size):
            block = slice(start, start + size)
            likeness = _mean([view.likeness(places[block]) for view in views])
            is_there = places[block] >= 0
            relevance = _stretched(candidates.scores[block], is_there)
            picked_at[block], scores[block] = self._chosen(relevance, is_there, likeness, situation.k)
        return replace(candidates, scores=scores).take(np.lexsort((-scores, picked_at), axis=1))

    def _chosen(
        self, relevance: NDArray[np.float32], is_there: NDArray[np.bool_], likeness: Likeness, k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """At which place of the list each candidate was picked, and its score: both [queries, width]."""
        weight, last = np.float32(self.diversity), relevance.shape[1]
        picked_at = np.full(relevance.shape, last)
        good = np.where(is_there, (1 - weight) * relevance, -np.inf).astype(np.float32)
        nearest, scores, left = np.zeros_like(good), good.copy(), good.copy()
        query = np.arange(len(good))
        for step in range(min(k, last)):
            pick = left.argmax(axis=1)
            is_new = left[query, pick] > -np.inf  # else this request has no candidate left
            chosen, at = query[is_new], pick[is_new]
            scores[chosen, at], picked_at[chosen, at] = left[chosen, at], step
            np.maximum(nearest, likeness(pick), out=nearest)
            good[chosen, at] = -np.inf
            left = good - weight * nearest
        return picked_at, np.where(picked_at < last, scores, left)


@dataclass(frozen=True)
class _View:
    """What items are compared by: a row of numbers each, and how alike those of many items [queries, width, numbers]
    and of one item per request [queries, numbers] are."""

    table: NDArray[Any]
    compare: Callable[[NDArray[Any], NDArray[Any]], NDArray[np.float32]]

    @property
    def width(self) -> int:
        return int(self.table.shape[1])

    def likeness(self, places: Rows) -> Likeness:
        found = self.table[places] if len(self.table) else np.zeros((*places.shape, self.width), self.table.dtype)
        query = np.arange(len(places))
        return lambda pick: self.compare(found, found[query, pick])


def _view(catalogue: Catalogue, name: str, rows: Rows) -> _View:
    if name == EMBEDDING:
        assert catalogue.vectors_of is not None
        return _View(unit_vectors(catalogue.vectors_of(rows)) if len(rows) else np.zeros((0, 1), np.float32), _cosine)
    values = catalogue.columns[name].gather(rows)
    if not isinstance(values.dtype, pl.List | pl.Array):
        return _View(column_codes(values), _is_equal)
    if values.dtype.inner in (pl.Float32, pl.Float64):
        return _View(unit_vectors(_matrix(values, name)), _cosine)
    codes = column_codes(values)
    if codes.max(initial=0) < _MOST_INDICATORS:
        return _View(indicators(codes), _share_of_indicators)
    return _View(codes, _share_of_codes)


def _matrix(values: pl.Series, name: str) -> NDArray[Any]:
    """Vectors of one width; items without one get zeros, which are like nothing."""
    lists = values.cast(pl.List(pl.Float32)) if isinstance(values.dtype, pl.Array) else values
    width = int(lists.list.len().max() or 0)  # type: ignore[arg-type]
    short = int((lists.list.len() != width).sum())
    if short:
        raise SettingError(f"MMR: {short:,} vectors of {name!r} are not {width} wide. Give vectors of one width.")
    matrix: NDArray[Any] = np.zeros((len(values), max(width, 1)), np.float32)
    is_there = lists.is_not_null().to_numpy()
    if is_there.any():
        matrix[is_there] = np.nan_to_num(lists.drop_nulls().explode().to_numpy().reshape(-1, width))
    return matrix


def _cosine(vectors: NDArray[np.float32], picked: NDArray[np.float32]) -> NDArray[np.float32]:
    cosine: NDArray[np.float32] = np.maximum(_products(vectors, picked), 0)
    return cosine


def _products(vectors: NDArray[np.float32], picked: NDArray[np.float32]) -> NDArray[np.float32]:
    products: NDArray[np.float32] = np.matmul(vectors, picked[:, :, None])[:, :, 0]
    return products


def _is_equal(codes: NDArray[np.int32], picked: NDArray[np.int32]) -> NDArray[np.float32]:
    single = codes[:, :, 0]
    equal: NDArray[np.float32] = ((single == picked) & (single != NO_CODE)).astype(np.float32)
    return equal


def _share_of_indicators(sets: NDArray[np.float32], picked: NDArray[np.float32]) -> NDArray[np.float32]:
    """Common values / all values, of sets as zeros and ones."""
    common = _products(sets, picked)
    return _share(common, sets @ np.ones(sets.shape[2], np.float32), picked.sum(axis=1))


def _share_of_codes(sets: NDArray[np.int32], picked: NDArray[np.int32]) -> NDArray[np.float32]:
    """Common values / all values, of sets as numbers."""
    is_value = sets != NO_CODE
    common = np.zeros(sets.shape[:2], np.float32)
    for value in picked.T:
        common += ((sets == value[:, None, None]) & is_value).any(axis=2)
    return _share(common, is_value.sum(axis=2), (picked != NO_CODE).sum(axis=1))


def _share(common: NDArray[np.float32], sizes: NDArray[Any], picked_size: NDArray[Any]) -> NDArray[np.float32]:
    either = sizes + picked_size[:, None] - common
    share: NDArray[np.float32] = (common / np.maximum(either, 1)).astype(np.float32)
    return share


def _mean(parts: Sequence[Likeness]) -> Likeness:
    if len(parts) == 1:
        return parts[0]
    return lambda pick: np.mean([part(pick) for part in parts], axis=0, dtype=np.float32)


def _stretched(scores: NDArray[np.float32], is_there: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Scores from 0 for a request's worst to 1 for its best; all 1 where they are equal."""
    is_usable = is_there & np.isfinite(scores)
    low = np.where(is_usable, scores, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    high = np.where(is_usable, scores, -np.inf).max(axis=1, keepdims=True, initial=-np.inf)
    spread = np.where(high > low, high - low, 1)
    with np.errstate(invalid="ignore"):
        relevance = np.where(high > low, (scores - low) / spread, 1)
    return np.where(is_usable, relevance, 0).astype(np.float32)
