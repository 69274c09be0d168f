"""Search with FAISS, tuned on the model's own vectors until its measured recall reaches a target."""

from __future__ import annotations

import math
import warnings
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamis.errors import DataError, SettingError, UnknownNameError
from tamis.folders import saving
from tamis.index.exact import VERSION, aligned, check_index_kind, search_exactly
from tamis.index.faiss_lists import empty_lists, first_kept, in_order, is_among, is_unwanted
from tamis.index.faiss_structure import KINDS, Structure
from tamis.index.protocol import (
    FEW_QUERIES,
    NO_ID,
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
from tamis.index.tuning import tune

_SCAN_BELOW = 0.02  # share of allowed rows under which reading them beats searching the structure
_FEW_REMOVED = 1000  # rows that are sorted out after the search, which is faster without a mask
_FETCHED_FOR_REMOVED = 50
_MASKS = 8
_LONGEST_TABLE = 4
_NO_ROWS: Ids = np.zeros(0, np.int64)


class FaissIndex:
    """FAISS behind the interface of `Index`. Best first, equal scores by the smaller id.

    A removed or replaced row stays in the structure, marked, and no search returns it (FAISS cannot take rows out of
    HNSW); `rebuild` makes room. Excluded and not allowed ids never come back: every list is checked after the search,
    and a list that becomes too short is searched again over all rows.

    Args:
        kind: `"flat"` (exact), `"hnsw"`, `"ivf"`, or `"ivf_sq8"`, which keeps 8 bits a number: its scores are rounded,
            and what is added later is clipped to the range of the vectors it was built from.
        k: length of the lists that the recall is measured on.
        target_recall: share of the true best `k` that searches must find.
        seed: of the clustering and the choice of queries to tune on.

    Raises:
        UnknownNameError: no such kind.
        SettingError: `k` below 1, or a target outside (0, 1].
    """

    def __init__(self, kind: str = "ivf", *, k: int = 100, target_recall: float = 0.99, seed: int = 0) -> None:
        if kind not in KINDS:
            raise UnknownNameError(kind, KINDS, where="FaissIndex", what="kind")
        if k < 1:
            raise SettingError(f"FaissIndex: k is {k}. Give a length of 1 or more.")
        if not 0 < target_recall <= 1:
            raise SettingError(f"FaissIndex: target_recall is {target_recall}. Give a share above 0 and up to 1.")
        self.kind, self.k, self.target_recall, self.seed = kind, k, target_recall, seed
        self.effort = 1
        self._recall = 0.0
        self._structure: Structure | None = None
        self._id_of_row: Ids = np.zeros(0, np.int64)  # NO_ID: removed
        self._remember_ids()

    @property
    def recall(self) -> float:
        """Share of the true best `k` that searches found when the index was tuned."""
        return self._recall

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self._built("FaissIndex.dim").dim

    @property
    def ids(self) -> Ids:
        """The ids that can be found, ascending."""
        return self._ids

    @property
    def num_removed(self) -> int:
        """Rows that still take room but are no longer found."""
        return len(self._id_of_row) - len(self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    def __repr__(self) -> str:
        return (
            f"FaissIndex({self.kind!r}, {len(self):,} vectors, effort {self.effort}, recall@{self.k} {self.recall:.3f})"
        )

    def build(self, vectors: ArrayLike, ids: ArrayLike, *, queries: ArrayLike | None = None) -> Self:
        """Hold these vectors under these ids and nothing else, and tune the search.

        Warns when no setting reaches the target recall; `recall` tells what was reached.

        Args:
            vectors: [candidates, dim]
            ids: [candidates], whole numbers from 0 on, each once.
            queries: vectors of real queries to tune on; without them candidates stand in, which is easier to search
                and so tells too high a recall where queries lie elsewhere.

        Raises:
            DataError: no vectors, an id given twice or below 0, vectors that are not finite, lengths that differ.
        """
        matrix, names = as_catalogue(vectors, ids, where="FaissIndex.build")
        if len(matrix) == 0 and self.kind.startswith("ivf"):
            raise DataError(
                f"FaissIndex.build: there are no vectors, so {self.kind!r} cannot divide them into cells. Choose "
                "kind='flat', or build it when there are some."
            )
        asked = None
        if queries is not None:
            asked = as_vectors(queries, where="FaissIndex.build", what="query", dim=matrix.shape[1])
        self._structure, self._id_of_row = Structure.of(self.kind, matrix, seed=self.seed), names
        self._remember_ids()
        tuned = tune(self._structure, matrix, asked, k=self.k, target_recall=self.target_recall, seed=self.seed)
        self.effort, self._recall = tuned
        if self._recall < self.target_recall:
            warnings.warn(
                f"FaissIndex.build: {self.kind!r} reaches a recall@{self.k} of {self._recall:.3f} at most, below the "
                f"target of {self.target_recall}. Choose kind='ivf' or 'flat', or a lower target_recall.",
                stacklevel=2,
            )
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
        structure = self._built("FaissIndex.search")
        dim = check_search(k, structure.dim, where="FaissIndex.search")
        matrix = as_vectors(queries, where="FaissIndex.search", what="query", dim=dim)
        excluded = as_exclusions(exclude, len(matrix), where="FaissIndex.search")
        allowed = self._allowed_rows(allow)
        num_allowed = len(self) if allowed is None else int(np.count_nonzero(allowed))
        if allowed is not None and num_allowed < max(k, _SCAN_BELOW * len(self._id_of_row)):
            return self._scan(structure, matrix, k, excluded, np.flatnonzero(allowed))
        if num_allowed == 0 or len(matrix) == 0:
            return empty_lists(len(matrix), k)
        if len(matrix) <= FEW_QUERIES:
            own = [_NO_ROWS] * len(matrix) if excluded is None else [self._rows_there(ids) for ids in excluded]
            found = [
                self._search_one(structure, matrix[[query]], k, rows, allowed, num_allowed)
                for query, rows in enumerate(own)
            ]
            return found[0] if len(found) == 1 else _together(found)
        unwanted = None if excluded is None else [self._rows_of(ids) for ids in excluded]
        return self._search(structure, matrix, k, unwanted, allowed, num_allowed)

    def _search(
        self,
        structure: Structure,
        queries: Vectors,
        k: int,
        unwanted: list[Ids] | None,
        allowed: NDArray[np.bool_] | None,
        num_allowed: int,
    ) -> SearchResult:
        unwanted = unwanted or [np.zeros(0, np.int64)] * len(queries)
        lengths = np.array([len(own) for own in unwanted])
        more = min(int(lengths.max()), 4 * k + 100)  # what exclusions take away; longer ones are searched one by one
        gone = 0 if allowed is not None else min(self.num_removed, _FETCHED_FOR_REMOVED)
        fetched = min(num_allowed + gone, k + more + gone)
        effort = self._effort_for(fetched, num_allowed, structure.efforts[1])
        scores, rows = structure.search(queries, fetched, effort=effort, allowed=allowed)
        keep = (rows >= 0) & self._is_allowed(rows, allowed)
        if more:
            keep &= ~is_unwanted(rows, unwanted, len(self._id_of_row))
        lists, row_lists = first_kept(scores, rows, keep, k)
        for row in np.flatnonzero((keep.sum(1) < min(k, num_allowed)) | (lengths > more)):
            lists[row], row_lists[row] = self._search_all(structure, queries[[row]], k, unwanted[row], allowed)
        return self._result(lists, row_lists)

    def _search_one(
        self,
        structure: Structure,
        query: Vectors,
        k: int,
        unwanted: Ids,
        allowed: NDArray[np.bool_] | None,
        num_allowed: int,
    ) -> SearchResult:
        """As `_search`, for a single query: what a server is asked, in half the time."""
        more = min(len(unwanted), 4 * k + 100)
        gone = 0 if allowed is not None else min(self.num_removed, _FETCHED_FOR_REMOVED)
        fetched = min(num_allowed + gone, k + more + gone)
        scores, rows = structure.search(
            query, fetched, effort=self._effort_for(fetched, num_allowed, structure.efforts[1]), allowed=allowed
        )
        own = rows[0]
        keep = own >= 0
        if allowed is not None or self.num_removed:
            keep &= self._is_allowed(own, allowed)
        if more:
            keep &= ~is_among(own, unwanted)
        first = np.flatnonzero(keep)[:k]
        if len(first) < min(k, num_allowed) or len(unwanted) > more:
            score_list, row_list = self._search_all(structure, query, k, unwanted, allowed)
            return self._result(score_list[None], row_list[None])
        return pad_lists(*self._in_ids(scores[:, first], rows[:, first]), k)

    def _effort_for(self, fetched: int, num_allowed: int, largest: int) -> int:
        """More than the tuned effort where lists are longer than tuned for, or filled from a part of the rows."""
        deeper = max(1.0, fetched / self.k) * len(self._id_of_row) / num_allowed
        return min(largest, round(self.effort * math.sqrt(deeper)))

    def _search_all(
        self, structure: Structure, query: Vectors, k: int, unwanted: Ids, allowed: NDArray[np.bool_] | None
    ) -> tuple[Vectors, Ids]:
        free = (self._id_of_row != NO_ID) if allowed is None else allowed.copy()
        free[unwanted] = False
        scores, rows = structure.search_all(query, k, allowed=free)
        lists, row_lists = first_kept(scores, rows, (rows >= 0) & free[rows], k)
        return lists[0], row_lists[0]

    def _scan(
        self, structure: Structure, queries: Vectors, k: int, excluded: list[Ids] | None, rows: Ids
    ) -> SearchResult:
        """Few rows are allowed: read them and compare with each."""
        ids = self._id_of_row[rows]
        order = np.argsort(ids)
        return search_exactly(queries, aligned(structure.read(rows[order])), ids[order], k, excluded)

    def upsert(self, vectors: ArrayLike, ids: ArrayLike) -> None:
        """Add vectors, or replace those of ids that are there already. The search is not tuned again.

        Raises:
            NotFittedError: nothing was built.
            DataError: as `build`, and vectors of another width.
        """
        structure = self._built("FaissIndex.upsert")
        matrix, names = as_catalogue(vectors, ids, where="FaissIndex.upsert", dim=self.dim)
        self._structure = structure = structure.in_memory()
        self._forget(self._rows_of(names))
        structure.add(matrix)
        self._id_of_row = np.concatenate([self._id_of_row, names])
        self._remember_ids()

    def remove(self, ids: ArrayLike) -> None:
        """Take ids out; unknown ids are ignored. Their rows take room until `rebuild`.

        Raises:
            NotFittedError: nothing was built.
        """
        self._built("FaissIndex.remove")
        self._forget(self._rows_of(as_ids(ids, where="FaissIndex.remove")))
        self._remember_ids()

    def rebuild(self, *, queries: ArrayLike | None = None) -> Self:
        """Build anew from the vectors that can be found, without the removed rows, and tune again."""
        structure = self._built("FaissIndex.rebuild")
        return self.build(structure.read(self._rows), self._ids, queries=queries)

    def save(self, path: str | Path) -> None:
        """Write the index as a folder, which replaces an old one as a whole.

        Raises:
            NotFittedError: nothing was built.
        """
        structure = self._built("FaissIndex.save")
        settings = {"k": self.k, "target_recall": self.target_recall, "seed": self.seed}
        facts = {"faiss_kind": self.kind, "effort": self.effort, "recall": self.recall, "dim": self.dim}
        with saving(path, kind="index", version=VERSION, index="faiss", settings=settings, **facts) as folder:
            structure.write(folder / "index.faiss")
            np.save(folder / "ids.npy", self._id_of_row, allow_pickle=False)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The index of a folder that `save` wrote.

        Raises:
            FormatError: not a saved FAISS index, or one of a newer version.
        """
        manifest = check_index_kind(path, "faiss")
        index = cls(manifest["faiss_kind"], **manifest["settings"])
        index.effort, index._recall = manifest["effort"], manifest["recall"]
        index._structure = Structure.of_file(index.kind, Path(path) / "index.faiss")
        index._id_of_row = np.load(Path(path) / "ids.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray)
        index._remember_ids()
        return index

    def _built(self, where: str) -> Structure:
        check_search(1, None if self._structure is None else 1, where=where)
        assert self._structure is not None
        return self._structure

    def _forget(self, rows: Ids) -> None:
        """Mark rows as removed, in an array of our own: what was loaded lies in a file."""
        if not self._id_of_row.flags.writeable:
            self._id_of_row = self._id_of_row.copy()
        self._id_of_row[rows] = NO_ID

    def _remember_ids(self) -> None:
        """The ids that can be found, ascending, and their rows."""
        # of the latest lists of allowed ids, which are not kept alive
        self._masks: list[tuple[weakref.ref[Ids], NDArray[np.bool_] | None]] = []
        self._row_of_id: Ids | None = None  # a table, where it is not much longer than the ids are many
        if not self._id_of_row.flags.writeable and _counts_from_0(self._id_of_row):
            self._rows = self._ids = self._row_of_id = self._id_of_row  # ids are rows, so one array says all
            return
        rows = np.flatnonzero(self._id_of_row != NO_ID)
        order = np.argsort(self._id_of_row[rows], kind="stable")  # quick, as they are nearly in order
        self._rows = rows[order]
        self._ids = self._id_of_row[self._rows]
        if len(rows) and self._ids[-1] < _LONGEST_TABLE * len(rows):
            self._row_of_id = np.full(int(self._ids[-1]) + 1, -1, np.int64)
            self._row_of_id[self._ids] = self._rows

    def _rows_of(self, ids: Ids) -> Ids:
        """Rows of those ids that are there, each once."""
        if self._row_of_id is None:
            return self._rows[rows_of(self._ids, np.unique(ids))]
        return np.unique(self._rows_there(ids))

    def _rows_there(self, ids: Ids) -> Ids:
        """Rows of those ids that are there."""
        if self._row_of_id is None:
            return self._rows_of(ids)
        known = ids[(ids >= 0) & (ids < len(self._row_of_id))]
        rows: Ids = self._row_of_id[known]
        return rows[rows >= 0]

    def _allowed_rows(self, allow: ArrayLike | None) -> NDArray[np.bool_] | None:
        if allow is None:
            return None if self.num_removed <= _FEW_REMOVED else self._id_of_row != NO_ID
        for known, allowed in self._masks:
            if known() is allow:
                return allowed
        mask = np.zeros(len(self._id_of_row), np.bool_)
        mask[self._rows_there(as_ids(allow, where="FaissIndex.search"))] = True
        is_all = np.count_nonzero(mask) == len(self)
        found = self._allowed_rows(None) if is_all else mask
        if isinstance(allow, np.ndarray) and not allow.flags.writeable:
            # nobody changes it, and the next request has it too
            self._masks = [(weakref.ref(allow), found), *(one for one in self._masks if one[0]() is not None)][:_MASKS]
        return found

    def _is_allowed(self, rows: Ids, allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        if allowed is not None:
            return allowed[rows]
        is_there: NDArray[np.bool_] = self._id_of_row[rows] != NO_ID
        return is_there

    def _result(self, scores: Vectors, rows: Ids) -> SearchResult:
        """Lists of ids, equal scores by the smaller id."""
        return SearchResult(scores, in_order(scores, np.where(rows >= 0, self._id_of_row[rows], NO_ID)))

    def _in_ids(self, scores: Vectors, rows: Ids) -> tuple[Vectors, Ids]:
        """The same for lists without empty places."""
        return scores, in_order(scores, self._id_of_row[rows])


def _together(found: Sequence[SearchResult]) -> SearchResult:
    return SearchResult(np.concatenate([one.scores for one in found]), np.concatenate([one.ids for one in found]))


def _counts_from_0(ids: Ids) -> bool:
    return len(ids) > 0 and ids[0] == 0 and ids[-1] == len(ids) - 1 and bool((ids[1:] > ids[:-1]).all())
