"""Dense layers over embeddings."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tamis.models.ranking import RankingModel
from tamis.nn.embeddings import EmbeddingOptions
from tamis.nn.experts import HeadSettings
from tamis.nn.inputs import Inputs, input_width
from tamis.nn.mlp import MLPBlock
from tamis.nn.ranking_network import Body, Reading
from tamis.schema import Schema


class MLPModel(RankingModel):
    """Dense layers over the embeddings and numbers side by side.

    Args:
        schema: inputs and targets.
        mlp: the layers.
        embedding_options: widths and start of the embeddings.
        heads: how several targets share what the body makes; by default one linear layer each.
        seed: of the first weights.

    Source: the deep part of Cheng et al., Wide & Deep Learning for Recommender Systems, DLRS 2016.
    """

    def __init__(
        self,
        schema: Schema,
        mlp: MLPBlock | None = None,
        *,
        embedding_options: EmbeddingOptions | None = None,
        heads: HeadSettings | None = None,
        seed: int = 0,
    ) -> None:
        self.mlp = mlp or MLPBlock([256, 128])
        super().__init__(schema, embedding_options=embedding_options, heads=heads, seed=seed)

    def body(self, inputs: Inputs) -> Body:
        """The layers."""
        return _Deep(inputs, self.mlp, input_width(self.input_schema, self.embedding_options))


class _Deep(Body):
    def __init__(self, inputs: Inputs, mlp: MLPBlock, width: int) -> None:
        super().__init__()
        self.inputs, self.layers, self.width = inputs, mlp.build(width), mlp.dimensions[-1]

    def forward(self, features: Mapping[str, Tensor]) -> Reading:
        return Reading(self.layers(self.inputs(features)))
