"""Dense layers over embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Self

from torch import Tensor

from tamis.models.ranking import RankingModel
from tamis.nn.embeddings import EmbeddingOptions
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
        seed: of the first weights.

    Source: the deep part of Cheng et al., Wide & Deep Learning for Recommender Systems, DLRS 2016.
    """

    def __init__(
        self,
        schema: Schema,
        mlp: MLPBlock | None = None,
        *,
        embedding_options: EmbeddingOptions | None = None,
        seed: int = 0,
    ) -> None:
        self.mlp = mlp or MLPBlock([256, 128])
        options = embedding_options or EmbeddingOptions(embedding_dim_default=16)
        super().__init__(schema, options=options, seed=seed)

    def body(self, inputs: Inputs) -> Body:
        """The layers."""
        return _Deep(inputs, self.mlp, input_width(self.input_schema, self.options))

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments besides the schema, as JSON can hold them."""
        return {"mlp": asdict(self.mlp), "embedding_options": asdict(self.options)}

    @classmethod
    def from_settings(cls, schema: Schema, settings: dict[str, Any]) -> Self:
        """The model that `settings` described, untrained."""
        options = EmbeddingOptions(**settings["embedding_options"])
        return cls(schema, MLPBlock(**settings["mlp"]), embedding_options=options)


class _Deep(Body):
    def __init__(self, inputs: Inputs, mlp: MLPBlock, width: int) -> None:
        super().__init__()
        self.inputs, self.layers, self.width = inputs, mlp.build(width), mlp.dimensions[-1]

    def forward(self, features: Mapping[str, Tensor]) -> Reading:
        return Reading(self.layers(self.inputs(features)))
