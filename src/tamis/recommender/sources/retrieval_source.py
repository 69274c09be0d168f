"""Candidates of a retrieval model: the items whose vectors are nearest to the query's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.errors import DataError, NotFittedError
from tamis.index import Index, SearchResult, build_index, load_index
from tamis.recommender.audience import Audience
from tamis.recommender.catalogue import Catalogue
from tamis.recommender.id_rows import Rows
from tamis.recommender.interactions import Interactions
from tamis.recommender.queries import Queries
from tamis.recommender.runtimes import TORCH, load_encoder
from tamis.recommender.source import Source
from tamis.schema import Tags

if TYPE_CHECKING:
    from tamis.models.encoder import Encoder
    from tamis.models.retrieval import RetrievalModel
    from tamis.recommender.onnx_runtime import OnnxEncoder

_TUNING_QUERIES = 2000
_QUERY, _CANDIDATE = "query_encoder", "candidate_encoder"


class Retrieval(Source):
    """The nearest items of a retrieval model, through an index.

    Args:
        model: fitted; its towers are copied.
        quota: candidates a request; by default 100, or all items of a smaller catalogue.
        index: kind of index, see `build_index`.
        target_recall: what an approximate index is tuned to.
        seed: of the index.
        name: what its candidates are marked with.
    """

    has_towers = True

    def __init__(
        self,
        model: RetrievalModel | None,
        *,
        quota: int | None = None,
        index: str = "auto",
        target_recall: float = 0.99,
        seed: int = 0,
        name: str | None = None,
    ) -> None:
        super().__init__(quota=quota, name=name)
        self.kind, self.target_recall, self.seed = index, target_recall, seed
        self._index: Index | None = None
        if model is not None:
            self._trained_codes: Rows = model.fitted_items().ids.astype(np.int64)
            self.query_encoder: Encoder | OnnxEncoder = model.query_encoder
            self.candidate_encoder: Encoder | OnnxEncoder = model.candidate_encoder

    @property
    def index(self) -> Index:
        """The index over the items' vectors, by row of the catalogue.

        Raises:
            NotFittedError: the recommender was not fitted.
        """
        if self._index is None:
            raise NotFittedError(f"{self.name}: there is no index yet. Call Recommender.fit first.")
        return self._index

    @index.setter
    def index(self, index: Index) -> None:
        self._index = index

    @property
    def query_columns(self) -> Sequence[str]:
        """What the query tower reads."""
        return self.query_encoder.schema.column_names

    @property
    def encoders(self) -> dict[str, Encoder | OnnxEncoder]:
        """Both towers."""
        return {_QUERY: self.query_encoder, _CANDIDATE: self.candidate_encoder}

    @property
    def _item_id(self) -> str:
        return self.candidate_encoder.schema.select_by_tag(Tags.ITEM_ID).first.name

    def fit(self, catalogue: Catalogue, interactions: Interactions, audience: Audience) -> None:
        """Encode the items that the model was trained on and build the index, tuned on known users' queries."""
        codes = catalogue.features[self._item_id].to_numpy()
        rows = np.flatnonzero(np.isin(codes, self._trained_codes))
        if not len(rows):
            raise DataError(f"{self.name}: the model knows none of the {len(codes):,} items. Fit it on the same data.")
        users = audience.features.sample(min(_TUNING_QUERIES, len(audience)), seed=self.seed)
        is_askable = all(name in users.columns for name in self.query_encoder.schema.column_names)
        self._index = build_index(
            self._vectors(catalogue, rows),
            rows,
            kind=self.kind,
            k=min(100, len(rows)),
            target_recall=self.target_recall,
            queries=np.asarray(self.query_encoder.encode(users)) if is_askable and len(users) else None,
            seed=self.seed,
        )

    def can_answer(self, queries: Queries) -> NDArray[np.bool_]:
        """Requests with features."""
        return queries.has_features

    def search(
        self, queries: Queries, k: int, *, exclude: Sequence[Rows] | None = None, allow: Rows | None = None
    ) -> SearchResult:
        """The nearest items of each request's vector."""
        return self.index.search(self._query_vectors(queries), k, exclude=exclude, allow=allow)

    def _query_vectors(self, queries: Queries) -> NDArray[np.float32]:
        encoder = self.query_encoder
        if queries.each is None or not len(queries):
            return np.asarray(encoder.encode(queries.features))
        encode_row = getattr(encoder, "encode_row", None)  # only what runs without torch has it
        if encode_row is not None:
            return np.concatenate([encode_row(one) for one in queries.each])
        return np.concatenate([np.asarray(encoder.encode(one)) for one in queries.features.iter_slices(1)])

    def vectors_of(self, catalogue: Catalogue, rows: Rows) -> NDArray[np.float32]:
        """Item vectors: [rows, dim]."""
        return self._vectors(catalogue, rows)

    def check_upsert(self, num_new: int, features: pl.DataFrame) -> None:
        """Refuse new items where the item tower reads nothing but the id, and those that get no finite vector.

        Raises:
            DataError: see above.
        """
        reads = self.candidate_encoder.schema.column_names
        if num_new and reads == [self._item_id]:
            raise DataError(
                f"upsert_items: the item tower of the source {self.name!r} reads nothing but {reads[0]!r}, so it can "
                f"say nothing of {num_new:,} new items. Train a TwoTowerModel with item features."
            )
        vectors = np.asarray(self.candidate_encoder.encode(features.select(reads)))
        wrong = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(wrong):
            raise DataError(
                f"upsert_items: the item in row {wrong[0]} gets no finite vector of the source {self.name!r}. Look for "
                "numbers that are far too large among its features."
            )

    def upsert(self, catalogue: Catalogue, rows: Rows) -> None:
        """Encode the items and put them into the index."""
        self.index.upsert(self._vectors(catalogue, rows), rows)

    def remove(self, rows: Rows) -> None:
        """Take items out of the index."""
        self.index.remove(rows)

    def _vectors(self, catalogue: Catalogue, rows: Rows) -> NDArray[np.float32]:
        frame = catalogue.features.select(self.candidate_encoder.schema.column_names)[rows]
        return np.asarray(self.candidate_encoder.encode(frame), np.float32)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON can hold them."""
        return {
            "quota": self.quota,
            "index": self.kind,
            "target_recall": self.target_recall,
            "seed": self.seed,
            "name": self.name,
        }

    def save(self, folder: Path) -> None:
        """Write both towers and the index."""
        for name, encoder in self.encoders.items():
            encoder.save(folder / name)
        self.index.save(folder / "index")

    @classmethod
    def load(cls, folder: Path, settings: dict[str, Any], *, runtime: str = TORCH) -> Self:
        """Read what `save` wrote, to run the towers in this runtime."""
        source = cls(None, **settings)
        source.query_encoder = load_encoder(folder / _QUERY, runtime)
        source.candidate_encoder = load_encoder(folder / _CANDIDATE, runtime)
        source._index = load_index(folder / "index")
        return source
