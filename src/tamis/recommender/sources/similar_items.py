"""Candidates that resemble what the user met last, by the vectors of the items."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.data.dataset import Dataset
from tamis.errors import DataError, NotFittedError, SettingError
from tamis.index import Index, SearchResult, build_index, load_index
from tamis.index.protocol import NO_ID, as_exclusions, as_vectors
from tamis.recommender.audience import Audience
from tamis.recommender.catalogue import Catalogue
from tamis.recommender.id_rows import Rows
from tamis.recommender.interactions import Interactions
from tamis.recommender.queries import Queries
from tamis.recommender.runtimes import TORCH, load_encoder
from tamis.recommender.source import Source
from tamis.recommender.sources.picking import ResultLists
from tamis.recommender.sources.ragged import best, offsets_of
from tamis.schema import Tags

if TYPE_CHECKING:
    from tamis.models.encoder import Encoder
    from tamis.models.retrieval import RetrievalModel
    from tamis.recommender.onnx_runtime import OnnxEncoder

_BLOCK = 8192  # searches at once
_VECTORS, _INDEX, _ENCODER = "vectors.npy", "index", "candidate_encoder"


class SimilarItems(Source):
    """The items nearest to each of the user's latest items; of an item near to several, the largest score counts.

    The score is the cosine of the two items' vectors, so frequent items have no advantage. An item is not a neighbour
    of itself, but may be one of another.

    Args:
        model: a fitted retrieval model, whose item tower gives the vectors of the items that it was trained on, and of
            new ones where it reads more than their ids.
        vectors: instead of a model, vectors from elsewhere, of texts or pictures say: a frame with raw item ids in the
            first column and then one column per dimension, or one column of lists. Items without a vector have no
            neighbours.
        quota: candidates a request; by default 100, or all items of a smaller catalogue.
        latest: how many of the latest items of the history to start from.
        index: kind of index, see `build_index`.
        target_recall: what an approximate index is tuned to.
        seed: of the index.
        name: what its candidates are marked with.

    Raises:
        SettingError: both a model and vectors, or `latest` below 1.
    """

    has_towers = True

    def __init__(
        self,
        model: RetrievalModel | None = None,
        *,
        vectors: pl.DataFrame | None = None,
        quota: int | None = None,
        latest: int = 5,
        index: str = "auto",
        target_recall: float = 0.99,
        seed: int = 0,
        name: str | None = None,
    ) -> None:
        super().__init__(quota=quota, name=name)
        if model is not None and vectors is not None:
            raise SettingError("SimilarItems: there are a model and vectors. Give one of them.")
        if latest < 1:
            raise SettingError(f"SimilarItems: latest is {latest}. Give 1 item or more.")
        self.latest, self.kind, self.target_recall, self.seed = latest, index, target_recall, seed
        self._given = vectors
        self._encoder: Encoder | OnnxEncoder | None = None
        if model is not None:
            self._encoder = model.candidate_encoder
            self._trained_codes: Rows = model.fitted_items().ids.astype(np.int64)
        self._index: Index | None = None
        self._vectors = np.zeros((0, 0), np.float32)  # by row of the catalogue; zeros where an item has none

    @property
    def index(self) -> Index:
        """The index over the items' vectors of length 1, by row of the catalogue.

        Raises:
            NotFittedError: the recommender was not fitted.
        """
        if self._index is None:
            raise NotFittedError(f"{self.name}: there is no index yet. Call Recommender.fit first.")
        return self._index

    def fit(self, catalogue: Catalogue, interactions: Interactions, audience: Audience) -> None:
        """Build the index over all items that have a vector.

        Raises:
            SettingError: neither a model nor vectors were given.
            DataError: no item has a vector, or what is no vector.
        """
        rows, vectors = self._known(catalogue)
        self._vectors = np.zeros((len(catalogue), vectors.shape[1]), np.float32)
        self._vectors[rows] = _unit(vectors)
        rows = np.flatnonzero(self._vectors.any(axis=1))
        if not len(rows):
            raise DataError(
                f"{self.name}: none of the {len(catalogue):,} items has a vector. Give vectors of the same ids."
            )
        self._index = build_index(
            self._vectors[rows],
            rows,
            kind=self.kind,
            k=min(100, len(rows)),
            target_recall=self.target_recall,
            seed=self.seed,
        )

    def _known(self, catalogue: Catalogue) -> tuple[Rows, NDArray[np.float32]]:
        if self._encoder is not None:
            rows = np.flatnonzero(np.isin(catalogue.features[self._item_id].to_numpy(), self._trained_codes))
            return rows, self._encoded(catalogue, rows)
        if self._given is None:
            raise SettingError(f"{self.name}: there are no vectors. Give SimilarItems a model or vectors.")
        ids = self._given.to_series(0)
        if ids.is_duplicated().any():
            twice = ids.filter(ids.is_duplicated())[0]
            raise DataError(f"{self.name}: the vectors hold the item {twice!r} more than once. Keep one row per item.")
        rows, vectors = catalogue.rows_of(ids), _matrix(self._given[:, 1:], self.name)
        return rows[rows >= 0], vectors[rows >= 0]

    @property
    def encoders(self) -> dict[str, Encoder | OnnxEncoder]:
        """The item tower, where there is one."""
        return {} if self._encoder is None else {_ENCODER: self._encoder}

    @property
    def _item_id(self) -> str:
        assert self._encoder is not None
        return self._encoder.schema.select_by_tag(Tags.ITEM_ID).first.name

    def _encoded(self, catalogue: Catalogue, rows: Rows) -> NDArray[np.float32]:
        """The tower's vectors [rows, dim], without the popularity that some end with."""
        assert self._encoder is not None
        schema = self._encoder.schema
        frame = catalogue.features.select(schema.column_names)[rows]
        vectors = np.asarray(self._encoder.encode(Dataset(frame, schema=schema)), np.float32)
        return vectors[:, :-1] if self._encoder.has_item_bias else vectors

    def can_answer(self, queries: Queries) -> NDArray[np.bool_]:
        """Requests of users whose latest items have a vector."""
        return np.array([len(self._anchors(seen)) > 0 for seen in queries.seen], np.bool_)

    def search(
        self, queries: Queries, k: int, *, exclude: Sequence[Rows] | None = None, allow: Rows | None = None
    ) -> SearchResult:
        """The nearest items; equal ones by the smaller row."""
        where = f"{self.name}.search"
        lists = ResultLists(len(queries), k, where=where)
        hidden = as_exclusions(exclude, len(queries), where=where) or [np.zeros(0, np.int64)] * len(queries)
        step = max(1, _BLOCK // self.latest)
        for start in range(0, len(queries), step):
            block = slice(start, start + step)
            anchors = [self._anchors(seen) for seen in queries.seen[block]]
            for query, (items, scores) in enumerate(self._nearest(anchors, k, hidden[block], allow), start):
                lists.put(query, items, scores)
        return lists.result()

    def _anchors(self, seen: Rows) -> Rows:
        """The latest items of a history, those with a vector."""
        latest = seen[-self.latest :]
        latest = latest[latest < len(self._vectors)]
        return latest[self._vectors[latest].any(axis=1)]

    def _nearest(
        self, anchors: list[Rows], k: int, hidden: list[Rows], allow: Rows | None
    ) -> Iterator[tuple[Rows, NDArray[np.float32]]]:
        """For each list of items, those nearest to any of them, best first, and their largest scores."""
        starts, flat = offsets_of(np.array([len(one) for one in anchors])), np.concatenate(anchors)
        excluded = [np.append(unwanted, one) for items, unwanted in zip(anchors, hidden, strict=True) for one in items]
        found = self.index.search(self._vectors[flat], k, exclude=excluded, allow=allow)
        for start, stop in itertools.pairwise(starts.tolist()):
            items, scores = _largest(found.ids[start:stop].ravel(), found.scores[start:stop].ravel())
            places = best(scores, k)
            yield items[places], scores[places]

    def upsert(self, catalogue: Catalogue, rows: Rows) -> None:
        """Take in what the item tower says of new and changed items; without a tower that can, only known ones."""
        more = len(catalogue) - len(self._vectors)
        self._vectors = np.pad(self._vectors, ((0, more), (0, 0)))
        if self._encoder is not None and self._encoder.schema.column_names != [self._item_id]:
            self._vectors[rows] = _unit(self._encoded(catalogue, rows))
        known = rows[self._vectors[rows].any(axis=1)]
        self.index.upsert(self._vectors[known], known)

    def remove(self, rows: Rows) -> None:
        """Find items no more; users who met them still get what is near them."""
        self.index.remove(rows)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON can hold them."""
        return {
            "quota": self.quota,
            "latest": self.latest,
            "index": self.kind,
            "target_recall": self.target_recall,
            "seed": self.seed,
            "name": self.name,
        }

    def save(self, folder: Path) -> None:
        """Write the vectors, the index, and the item tower where there is one."""
        self.index.save(folder / _INDEX)
        np.save(folder / _VECTORS, self._vectors, allow_pickle=False)
        if self._encoder is not None:
            self._encoder.save(folder / _ENCODER)

    @classmethod
    def load(cls, folder: Path, settings: dict[str, Any], *, runtime: str = TORCH) -> Self:
        """Read what `save` wrote, to run the tower in this runtime."""
        source = cls(**settings)
        source._index = load_index(folder / _INDEX)
        source._vectors = np.load(folder / _VECTORS, allow_pickle=False)
        if (folder / _ENCODER).is_dir():
            source._encoder = load_encoder(folder / _ENCODER, runtime)
        return source


def _matrix(columns: pl.DataFrame, where: str) -> NDArray[np.float32]:
    """The numbers of a frame, one column per dimension or a single column of lists: [rows, dim]."""
    unlisted = _unlisted(columns.to_series()) if columns.width == 1 else columns
    if unlisted.width and all(dtype.is_numeric() for dtype in unlisted.dtypes):
        return as_vectors(unlisted.cast(pl.Float32).fill_null(float("nan")).to_numpy(), where=where, what="item")
    shown = ", ".join(f"{name}: {dtype}" for name, dtype in columns.schema.items())
    raise DataError(
        f"{where}: the vectors are no numbers, or of different lengths ({shown}). Give a frame of raw item ids and "
        "then one column per dimension, or one of lists of equal length."
    )


def _unlisted(column: pl.Series) -> pl.DataFrame:
    """One column per place of the lists, none where they differ in length; other columns as they are."""
    if isinstance(column.dtype, pl.Array):
        column = column.arr.to_list()
    if not isinstance(column.dtype, pl.List):
        return column.to_frame()
    widths = column.list.len().unique()
    if len(widths) != 1 or widths[0] is None:
        return pl.DataFrame()
    return pl.DataFrame([column.list.get(place).alias(str(place)) for place in range(widths[0])])


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The vectors at length 1; zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return unit


def _largest(ids: Rows, scores: NDArray[np.float32]) -> tuple[Rows, NDArray[np.float32]]:
    """The distinct ids, ascending, each with the largest of its scores; without empty places."""
    order = np.lexsort((-scores, ids))
    order = order[ids[order] != NO_ID]
    ids = ids[order]
    is_first = np.append(True, ids[1:] != ids[:-1])[: len(ids)]
    return ids[is_first], scores[order][is_first]
