"""Logistic regression."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tamis.models.ranking import RankingModel
from tamis.nn.inputs import Inputs
from tamis.nn.linear import WEIGHTS, FirstOrder
from tamis.nn.ranking_network import Body, Reading
from tamis.schema import Schema


class LogisticRegressionModel(RankingModel):
    """One weight per category and per number; the baseline of every ranking.

    Args:
        schema: inputs and targets.
        seed: of nothing random but the order of rows: all weights start at 0.

    Source: Richardson, Dominowska and Ragno, Predicting Clicks, WWW 2007.
    """

    def __init__(self, schema: Schema, *, seed: int = 0) -> None:
        super().__init__(schema, embedding_options=WEIGHTS, heads=None, seed=seed)

    def body(self, inputs: Inputs) -> Body:
        """The weighted sum."""
        return _Linear(FirstOrder(inputs))


class _Linear(Body):
    def __init__(self, first_order: FirstOrder) -> None:
        super().__init__()
        self.first_order = first_order

    def forward(self, features: Mapping[str, Tensor]) -> Reading:
        return Reading(logit=self.first_order(features))
