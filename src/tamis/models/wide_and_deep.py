"""Wide & Deep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self

from torch import Tensor

from tamis.models.ranking import RankingModel
from tamis.nn.embeddings import EmbeddingOptions
from tamis.nn.inputs import Inputs, input_width
from tamis.nn.linear import OwnFirstOrder
from tamis.nn.mlp import MLPBlock
from tamis.nn.ranking_network import Body, Reading
from tamis.schema import Schema


class WideAndDeepModel(RankingModel):
    """A linear part that remembers, beside dense layers that generalise.

    Crosses for the wide part are columns like any other: make them with `HashedCross` in the workflow.

    Args:
        schema: inputs and targets.
        deep_block: the dense layers.
        wide: names of the columns of the linear part; by default all.
        embedding_options: widths and start of the embeddings.
        seed: of the first weights.

    Raises:
        UnknownColumnError: `wide` names a column that is no input.

    Source: Cheng et al., Wide & Deep Learning for Recommender Systems, DLRS 2016, eq. 3.
    """

    def __init__(
        self,
        schema: Schema,
        deep_block: MLPBlock | None = None,
        *,
        wide: Sequence[str] | None = None,
        embedding_options: EmbeddingOptions | None = None,
        seed: int = 0,
    ) -> None:
        self.deep_block, self.wide = deep_block or MLPBlock([256, 128]), None if wide is None else tuple(wide)
        options = embedding_options or EmbeddingOptions(embedding_dim_default=16)
        super().__init__(schema, options=options, seed=seed)

    def body(self, inputs: Inputs) -> Body:
        """Both parts."""
        wide = self.input_schema if self.wide is None else self.input_schema.select_by_name(self.wide)
        return _WideAndDeep(wide, inputs, self.deep_block, input_width(self.input_schema, self.options))

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments besides the schema, as JSON can hold them."""
        options = asdict(self.options)
        return {"deep_block": asdict(self.deep_block), "wide": self.wide, "embedding_options": options}

    @classmethod
    def from_settings(cls, schema: Schema, settings: dict[str, Any]) -> Self:
        """The model that `settings` described, untrained."""
        options = EmbeddingOptions(**settings["embedding_options"])
        return cls(schema, MLPBlock(**settings["deep_block"]), wide=settings["wide"], embedding_options=options)


class _WideAndDeep(Body):
    def __init__(self, wide: Schema, inputs: Inputs, deep: MLPBlock, width: int) -> None:
        super().__init__()
        self.wide = OwnFirstOrder(wide)
        self.inputs, self.deep, self.width = inputs, deep.build(width), deep.dimensions[-1]

    def forward(self, features: Mapping[str, Tensor]) -> Reading:
        return Reading(self.deep(self.inputs(features)), self.wide(features))
