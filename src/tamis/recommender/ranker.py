"""The second stage: a ranking model's predictions for each request's candidates."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tamis.errors import SchemaError
from tamis.recommender.candidates import Candidates
from tamis.recommender.catalogue import Catalogue
from tamis.recommender.queries import Queries
from tamis.schema import Tags

if TYPE_CHECKING:
    from tamis.models.candidate_scorer import CandidateScorer
    from tamis.models.scoring import ScoringModel
    from tamis.recommender.onnx_runtime import ExportedRanker, OnnxScorer


class Ranker:
    """A ranking model over a catalogue's items. What belongs to the request is computed once a request.

    Args:
        model: fitted, or exported to run without torch.
    """

    def __init__(self, model: ScoringModel | ExportedRanker) -> None:
        self.model = model
        columns = model.input_schema
        self.item_columns = [c.name for c in columns if c.has_tag(Tags.ITEM) or c.has_tag(Tags.ITEM_ID)]
        self.query_columns = [name for name in columns.column_names if name not in self.item_columns]
        self._scorer: tuple[int, CandidateScorer | OnnxScorer] | None = None

    @property
    def model_name(self) -> str:
        """The class of the model."""
        return getattr(self.model, "model_name", type(self.model).__name__)

    @property
    def targets(self) -> list[str]:
        """Names of what is predicted."""
        return self.model.targets

    def check_items(self, catalogue: Catalogue) -> None:
        """Refuse a model that needs item columns which the catalogue does not have.

        Raises:
            SchemaError: naming them.
        """
        missing = [name for name in self.item_columns if name not in catalogue.features.columns]
        if missing:
            raise SchemaError(
                f"Recommender: the ranker {self.model_name} needs the item columns {missing}, which the "
                "interactions do not have. Give interactions that the same workflow encoded."
            )

    def rank(self, queries: Queries, candidates: Candidates, catalogue: Catalogue) -> Candidates:
        """The candidates with the model's predictions; NaN for requests without features, and in empty places."""
        found = np.full((*candidates.items.shape, len(self.targets)), np.nan, np.float32)
        asked = np.flatnonzero(queries.has_features)
        if queries.each is not None:
            scorer = self._scorer_of(catalogue)
            for row in asked.tolist():
                items = candidates.items[row]
                items = items[items >= 0]
                found[row, : len(items)] = scorer.score(queries.each[row], items)
        elif len(asked) and candidates.width:
            features = queries.features if len(asked) == len(queries) else queries.features[asked]
            found[asked] = self._scorer_of(catalogue).score_many(features, candidates.items[asked])
            found[candidates.items < 0] = np.nan
        return replace(candidates, ranking=found)

    def _scorer_of(self, catalogue: Catalogue) -> CandidateScorer | OnnxScorer:
        if self._scorer is None or self._scorer[0] != catalogue.version:
            self._scorer = (catalogue.version, self._new_scorer(catalogue.features.select(self.item_columns)))
        return self._scorer[1]

    def _new_scorer(self, items: pl.DataFrame) -> CandidateScorer | OnnxScorer:
        from tamis.recommender.onnx_runtime import ExportedRanker

        if isinstance(self.model, ExportedRanker):
            return self.model.scorer(items)
        from tamis.models.candidate_scorer import CandidateScorer  # loads torch

        return CandidateScorer(self.model, items, self.query_columns)
