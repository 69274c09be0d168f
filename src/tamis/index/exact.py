"""Exact search in NumPy: block by block over all vectors. The measure for every other index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamis.errors import FormatError
from tamis.folders import read_manifest, saving
from tamis.index.protocol import (
    FEW_QUERIES,
    NO_ID,
    NO_SCORE,
    Ids,
    SearchResult,
    Vectors,
    as_catalogue,
    as_exclusions,
    as_ids,
    as_vectors,
    check_search,
    pad_lists,
    rows_of,
)

VERSION = 1
_ENTRIES = 2**24  # scores of a block: 64 MB
_ALIGN = 64  # columns are whole multiples: matrix kernels then treat all alike, so equal vectors score equal


class ExactIndex:
    """Compares every query with every vector. Equal scores: the smaller id comes first.

    Right for up to some hundred thousand vectors, and to measure what another index misses.
    """

    def __init__(self) -> None:
        self._vectors: Vectors | None = None  # [candidates, dim] by ascending id, aligned
        self._ids: Ids = np.zeros(0, np.int64)

    @property
    def recall(self) -> float:
        """1.0: nothing is missed."""
        return 1.0

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self._built("ExactIndex.dim").shape[1])

    @property
    def ids(self) -> Ids:
        """The ids that can be found, ascending."""
        return self._ids

    @property
    def vectors(self) -> Vectors:
        """The vectors in the order of `ids`."""
        return self._built("ExactIndex.vectors")[: len(self)]

    def __len__(self) -> int:
        return len(self._ids)

    def __repr__(self) -> str:
        return f"ExactIndex({len(self):,} vectors of width {0 if self._vectors is None else self.dim})"

    def build(self, vectors: ArrayLike, ids: ArrayLike) -> Self:
        """Hold these vectors [candidates, dim] under these ids [candidates], and nothing else.

        Raises:
            DataError: an id given twice or below 0, vectors that are not finite, lengths that differ.
        """
        self._hold(*as_catalogue(vectors, ids, where="ExactIndex.build"))
        return self

    def search(
        self, queries: ArrayLike, k: int, *, exclude: Sequence[ArrayLike] | None = None, allow: ArrayLike | None = None
    ) -> SearchResult:
        """The `k` best candidates of each query [queries, dim]; see `Index.search`.

        Raises:
            NotFittedError: nothing was built.
            SettingError: `k` is below 1, or not one list of exclusions per query.
            DataError: queries of another width, or not finite.
        """
        dim = check_search(k, self._dim(), where="ExactIndex.search")
        matrix = as_vectors(queries, where="ExactIndex.search", what="query", dim=dim)
        excluded = as_exclusions(exclude, len(matrix), where="ExactIndex.search")
        vectors, ids = self._built("ExactIndex.search"), self._ids
        if allow is not None:
            rows = rows_of(ids, np.unique(as_ids(allow, where="ExactIndex.search")))
            vectors, ids = aligned(vectors[rows]), ids[rows]
        return search_exactly(matrix, vectors, ids, k, excluded)

    def upsert(self, vectors: ArrayLike, ids: ArrayLike) -> None:
        """Add vectors, or replace those of ids that are there already.

        Raises:
            NotFittedError: nothing was built.
            DataError: as `build`, and vectors of another width.
        """
        dim = check_search(1, self._dim(), where="ExactIndex.upsert")
        new, names = as_catalogue(vectors, ids, where="ExactIndex.upsert", dim=dim)
        kept = ~np.isin(self._ids, names)
        all_ids = np.concatenate([self._ids[kept], names])
        order = np.argsort(all_ids, kind="stable")
        self._hold(np.concatenate([self.vectors[kept], new])[order], all_ids[order])

    def remove(self, ids: ArrayLike) -> None:
        """Take ids out; unknown ids are ignored.

        Raises:
            NotFittedError: nothing was built.
        """
        self._built("ExactIndex.remove")
        kept = ~np.isin(self._ids, as_ids(ids, where="ExactIndex.remove"))
        self._hold(self.vectors[kept], self._ids[kept])

    def save(self, path: str | Path) -> None:
        """Write the index as a folder, which replaces an old one as a whole.

        Raises:
            NotFittedError: nothing was built.
        """
        self._built("ExactIndex.save")
        with saving(path, kind="index", version=VERSION, index="exact", dim=self.dim, num_vectors=len(self)) as folder:
            np.save(folder / "vectors.npy", self.vectors, allow_pickle=False)
            np.save(folder / "ids.npy", self._ids, allow_pickle=False)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The index of a folder that `save` wrote.

        Raises:
            FormatError: not a saved exact index, or one of a newer version.
        """
        check_index_kind(path, "exact")
        index = cls()
        vectors, ids = (np.load(Path(path) / f"{name}.npy", allow_pickle=False) for name in ("vectors", "ids"))
        index._hold(vectors, ids)
        return index

    def _hold(self, vectors: Vectors, ids: Ids) -> None:
        self._vectors, self._ids = aligned(vectors), ids

    def _dim(self) -> int | None:
        return None if self._vectors is None else self._vectors.shape[1]

    def _built(self, where: str) -> Vectors:
        check_search(1, self._dim(), where=where)
        assert self._vectors is not None
        return self._vectors


def check_index_kind(path: str | Path, index: str) -> dict[str, Any]:
    """The manifest of a saved index of this kind.

    Raises:
        FormatError: another kind of index, or what `read_manifest` refuses.
    """
    manifest = read_manifest(path, kind="index", version=VERSION)
    if manifest["index"] != index:
        raise FormatError(
            f"{path}: it holds an index of kind {manifest['index']!r}, not {index!r}. Load it with load_index(path)."
        )
    return manifest


def search_exactly(queries: Vectors, vectors: Vectors, ids: Ids, k: int, excluded: list[Ids] | None) -> SearchResult:
    """The `k` best of these `aligned` vectors, whose `ids` ascend; lists that run out end with -inf and -1."""
    length = min(k, len(ids))
    scores, found = np.empty((len(queries), length), np.float32), np.empty((len(queries), length), np.int64)
    if length == 0:
        return pad_lists(scores, found, k)
    # a matrix of few queries is multiplied, and so rounded, otherwise than one of a single query
    step = 1 if len(queries) <= FEW_QUERIES else max(1, _ENTRIES // len(ids))
    for start in range(0, len(queries), step):
        block = slice(start, start + step)
        all_scores = (queries[block] @ vectors.T)[:, : len(ids)]
        if excluded is not None:
            for row, unwanted in enumerate(excluded[block]):
                all_scores[row, rows_of(ids, unwanted)] = NO_SCORE
        rows = _best_rows(all_scores, length)
        scores[block] = np.take_along_axis(all_scores, rows, 1)
        found[block] = ids[rows]
    found[scores == NO_SCORE] = NO_ID
    return pad_lists(scores, found, k)


def aligned(vectors: Vectors) -> Vectors:
    """The vectors, filled up with zeros to a number of rows whose inner products are all rounded alike."""
    missing = -len(vectors) % _ALIGN
    return np.pad(vectors, ((0, missing), (0, 0))) if missing else vectors


def _best_rows(scores: Vectors, k: int) -> NDArray[np.int64]:
    """Columns of the `k` largest scores per row, largest first, equal ones by ascending column."""
    if k >= scores.shape[1]:
        return np.argsort(-scores, axis=1, kind="stable")
    # One more is looked at: partition chooses among equal ones as it likes, which matters at the border alone.
    best = np.argpartition(scores, -(k + 1), axis=1)[:, -(k + 1) :]
    values = np.take_along_axis(scores, best, 1)
    border = np.partition(values, 1, axis=1)[:, :2]
    for row in np.flatnonzero(border[:, 0] == border[:, 1]):
        best[row] = _first_columns(scores[row], border[row, 1], k + 1)
    best.sort(axis=1)
    order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")[:, :k]
    return np.take_along_axis(best, order, 1)


def _first_columns(scores: NDArray[np.float32], border: np.float32, num_columns: int) -> NDArray[np.int64]:
    above, equal = np.flatnonzero(scores > border), np.flatnonzero(scores == border)
    return np.concatenate([above, equal[: num_columns - len(above)]])
