"""What every index does, and the checks that all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamis.errors import DataError, NotFittedError, SettingError

Vectors: TypeAlias = NDArray[np.float32]
Ids: TypeAlias = NDArray[np.int64]

NO_ID = -1
FEW_QUERIES = 8  # are searched for one by one: each gets to the last digit what it gets alone
NO_SCORE = float("-inf")


@dataclass(frozen=True)
class SearchResult:
    """The best candidates of each query, best first.

    Args:
        scores: [queries, k] float32, inner products; -inf where a query has fewer than `k` candidates.
        ids: [queries, k] int64; -1 where a query has fewer than `k` candidates.
    """

    scores: Vectors
    ids: Ids

    def __len__(self) -> int:
        return len(self.ids)


class Index(Protocol):
    """Vectors with ids, searched by inner product. Ids are whole numbers from 0 on."""

    @property
    def recall(self) -> float:
        """Measured share of the true best k that searches find; 1.0 for an exact index."""

    @property
    def dim(self) -> int:
        """Width of the vectors."""

    @property
    def ids(self) -> Ids:
        """The ids that can be found, ascending."""

    def __len__(self) -> int: ...

    def build(self, vectors: ArrayLike, ids: ArrayLike) -> Self:
        """Hold these vectors [candidates, dim] under these ids [candidates], and nothing else."""

    def search(
        self, queries: ArrayLike, k: int, *, exclude: Sequence[ArrayLike] | None = None, allow: ArrayLike | None = None
    ) -> SearchResult:
        """The `k` best candidates of each query [queries, dim].

        Args:
            queries: [queries, dim]
            k: length of the lists; where it is larger than what can be found, lists end with -1 and -inf.
            exclude: for each query the ids that must not come back; unknown ids are ignored.
            allow: the only ids that may come back, the same for all queries; unknown ids are ignored.
        """

    def upsert(self, vectors: ArrayLike, ids: ArrayLike) -> None:
        """Add vectors, or replace those of ids that are there already."""

    def remove(self, ids: ArrayLike) -> None:
        """Take ids out; unknown ids are ignored."""

    def save(self, path: str | Path) -> None:
        """Write the index as a folder."""

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The index of a folder that `save` wrote."""


def as_vectors(vectors: ArrayLike, *, where: str, what: str, dim: int | None = None) -> Vectors:
    """A float32 matrix, row by row in memory.

    Raises:
        DataError: not a matrix of finite numbers, or not `dim` wide.
    """
    array = np.ascontiguousarray(vectors, np.float32)
    if array.ndim != 2:
        raise DataError(f"{where}: the {what} vectors have shape {array.shape}. Give a matrix, one vector per row.")
    if dim is not None and array.shape[1] != dim:
        raise DataError(
            f"{where}: the {what} vectors are {array.shape[1]} wide, but the index holds vectors of width {dim}. "
            "Use the two encoders of one model."
        )
    is_finite = np.isfinite(array)
    if not is_finite.all():
        wrong = np.flatnonzero(~is_finite.all(1))
        raise DataError(
            f"{where}: {len(wrong):,} {what} vectors are not finite, the first at row {wrong[0]}. Check the model's "
            "training for NaN loss and the features for infinite values."
        )
    return array


def as_ids(ids: ArrayLike, *, where: str) -> Ids:
    """Ids as int64, in the order given.

    Raises:
        DataError: not a list of whole numbers from 0 on.
    """
    array = np.asarray(ids)
    if array.size == 0:
        return np.zeros(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError(f"{where}: ids are {array.dtype} of shape {array.shape}. Give one whole number per vector.")
    array = array.astype(np.int64)
    if array.min() < 0:
        raise DataError(f"{where}: an id is {array.min()}, but -1 marks an empty place in results. Give ids from 0 on.")
    return array


def as_catalogue(vectors: ArrayLike, ids: ArrayLike, *, where: str, dim: int | None = None) -> tuple[Vectors, Ids]:
    """Vectors and their ids, sorted by id.

    Raises:
        DataError: lengths differ, an id is given twice, or what `as_vectors` and `as_ids` refuse.
    """
    matrix, names = as_vectors(vectors, where=where, what="candidate", dim=dim), as_ids(ids, where=where)
    if len(matrix) != len(names):
        raise DataError(f"{where}: {len(matrix):,} vectors but {len(names):,} ids. Give one id per vector.")
    order = np.argsort(names, kind="stable")
    names = names[order]
    twice = np.flatnonzero(names[1:] == names[:-1])
    if len(twice):
        raise DataError(
            f"{where}: the id {names[twice[0]]} is given more than once ({len(twice):,} such rows). Keep one vector "
            "per id, for example with unique_rows_by_features."
        )
    return np.ascontiguousarray(matrix[order]), names


def as_exclusions(exclude: Sequence[ArrayLike] | None, num_queries: int, *, where: str) -> list[Ids] | None:
    """One array of ids per query, or None where nothing is excluded.

    Raises:
        SettingError: not one array per query.
    """
    if exclude is None:
        return None
    if len(exclude) != num_queries:
        raise SettingError(
            f"{where}: exclude holds {len(exclude):,} lists for {num_queries:,} queries. Give one per query, empty "
            "where nothing is excluded."
        )
    found = [np.asarray(ids, dtype=np.int64).reshape(-1) for ids in exclude]
    return found if any(len(ids) for ids in found) else None


def check_search(k: int, dim: int | None, *, where: str) -> int:
    """The index's width, after `k` was found possible and the index built.

    Raises:
        SettingError: `k` is below 1.
        NotFittedError: nothing was built.
    """
    if k < 1:
        raise SettingError(f"{where}: k is {k}. Give a length of 1 or more.")
    if dim is None:
        raise NotFittedError(f"{where}: the index holds nothing yet. Call build(vectors, ids) or load(path) first.")
    return dim


def rows_of(ids: Ids, wanted: NDArray[Any]) -> Ids:
    """Places in the ascending `ids` of those wanted ids that are among them, in the order wanted."""
    if len(ids) == 0:
        return np.zeros(0, np.int64)
    places = np.searchsorted(ids, wanted).clip(max=len(ids) - 1)
    found: Ids = places[ids[places] == wanted].astype(np.int64)
    return found


def pad_lists(scores: Vectors, ids: Ids, k: int) -> SearchResult:
    """The lists, filled up to length `k` with -inf and -1."""
    if ids.shape[1] == k:
        return SearchResult(scores, ids)
    missing = ((0, 0), (0, k - ids.shape[1]))
    return SearchResult(np.pad(scores, missing, constant_values=NO_SCORE), np.pad(ids, missing, constant_values=NO_ID))
