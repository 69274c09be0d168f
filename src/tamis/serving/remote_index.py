"""A source's index outside the process, and what changed since the bundle was made, which is kept in the process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike

from tamis.errors import FormatError, SettingError
from tamis.index import ExactIndex, SearchResult
from tamis.index.protocol import NO_ID, NO_SCORE, Ids, Vectors, as_ids, as_vectors, check_search, rows_of
from tamis.serving.outside import Outside

if TYPE_CHECKING:
    from tamis.index.qdrant import QdrantIndex


class RemoteIndex:
    """Searches both. The part outside is read only: all servers and workers share it, and each follows the log itself.

    While the part outside does not answer, what changed since is all that is found.

    Args:
        base: outside, with the bundle's vectors.
        outside: by which it is asked.
        recall: of the base.
    """

    def __init__(self, base: QdrantIndex, outside: Outside, *, recall: float) -> None:
        self._base, self._outside, self._recall = base, outside, recall
        self._base_ids, self._is_whole = base.ids, False
        self._changed: Ids = np.zeros(0, np.int64)  # of the base: replaced or removed, ascending
        self._fresh = ExactIndex().build(np.zeros((0, base.dim), np.float32), [])

    @property
    def recall(self) -> float:
        """As it was measured."""
        return self._recall

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self._base.dim

    @property
    def ids(self) -> Ids:
        """The ids that can be found, ascending."""
        return np.union1d(np.setdiff1d(self._base_ids, self._changed), self._fresh.ids)

    def __len__(self) -> int:
        return len(self._base_ids) - len(self._changed) + len(self._fresh)

    def search(
        self, queries: ArrayLike, k: int, *, exclude: Sequence[ArrayLike] | None = None, allow: ArrayLike | None = None
    ) -> SearchResult:
        """The `k` best candidates of each query; see `Index.search`."""
        check_search(k, self.dim, where="RemoteIndex.search")
        matrix = as_vectors(queries, where="RemoteIndex.search", what="query", dim=self.dim)
        fresh = self._fresh.search(matrix, k, exclude=exclude, allow=allow)
        gone = self._with_changed(exclude, len(matrix))
        found = self._outside.ask(lambda: self._search(matrix, k, gone, allow))
        return fresh if found is None else _merged(found, fresh, k)

    def _search(
        self, queries: Vectors, k: int, exclude: Sequence[ArrayLike] | None, allow: ArrayLike | None
    ) -> SearchResult:
        if not self._is_whole:  # it may be pushed just now
            self._base.check()
        try:
            found = self._base.search(queries, k, exclude=exclude, allow=allow)
        except FormatError:
            self._is_whole = False
            raise
        self._is_whole = True
        return found

    def _with_changed(self, exclude: Sequence[ArrayLike] | None, count: int) -> Sequence[ArrayLike] | None:
        if not len(self._changed):
            return exclude
        return [np.append(self._changed, one) for one in (exclude or [[]] * count)]

    def upsert(self, vectors: ArrayLike, ids: ArrayLike) -> None:
        """Add vectors, or replace those of ids that are there already."""
        self._fresh.upsert(vectors, ids)
        self._forget(as_ids(ids, where="RemoteIndex.upsert"))

    def remove(self, ids: ArrayLike) -> None:
        """Take ids out; unknown ids are ignored."""
        self._fresh.remove(ids)
        self._forget(as_ids(ids, where="RemoteIndex.remove"))

    def _forget(self, ids: Ids) -> None:
        of_base = self._base_ids[rows_of(self._base_ids, ids)]
        self._changed = np.union1d(self._changed, of_base)

    def build(self, vectors: ArrayLike, ids: ArrayLike) -> Self:
        """It is built by `tamis push`."""
        raise SettingError("RemoteIndex: it cannot be built while it is served. Run: tamis push BUNDLE --to URL.")

    def save(self, path: str | Path) -> None:
        """It stays where it is."""
        raise SettingError("RemoteIndex: it lies outside of the process. Load the bundle and save it from there.")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """It is in no folder."""
        raise SettingError(f"RemoteIndex: it is not in {path}. Load the bundle.")


def _merged(one: SearchResult, other: SearchResult, k: int) -> SearchResult:
    """The best of both, equal scores by the smaller id."""
    scores, ids = np.hstack([one.scores, other.scores]), np.hstack([one.ids, other.ids])
    last = np.where(ids == NO_ID, np.iinfo(np.int64).max, ids)
    order = np.lexsort((last, -scores), axis=1)[:, :k]
    found = np.take_along_axis(scores, order, 1)
    return SearchResult(found, np.where(found > NO_SCORE, np.take_along_axis(ids, order, 1), NO_ID))
