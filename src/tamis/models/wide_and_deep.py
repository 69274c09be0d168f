"""Wide & Deep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from tamis.errors import SettingError
from tamis.models.ranking import RankingModel
from tamis.nn.embeddings import EmbeddingOptions
from tamis.nn.experts import HeadSettings
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
        heads: how several targets share what the body makes; by default one linear layer each.
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
        heads: HeadSettings | None = None,
        seed: int = 0,
    ) -> None:
        if wide is not None and not wide:
            raise SettingError(
                "WideAndDeepModel: wide is empty, so there is no linear part. Name columns, or take MLPModel."
            )
        self.deep_block, self.wide = deep_block or MLPBlock([256, 128]), None if wide is None else tuple(wide)
        super().__init__(schema, embedding_options=embedding_options, heads=heads, seed=seed)

    def body(self, inputs: Inputs) -> Body:
        """Both parts."""
        wide = self.input_schema if self.wide is None else self.input_schema.select_by_name(self.wide)
        return _WideAndDeep(wide, inputs, self.deep_block, input_width(self.input_schema, self.embedding_options))


class _WideAndDeep(Body):
    def __init__(self, wide: Schema, inputs: Inputs, deep: MLPBlock, width: int) -> None:
        super().__init__()
        self.wide = OwnFirstOrder(wide)
        self.inputs, self.deep, self.width = inputs, deep.build(width), deep.dimensions[-1]

    def forward(self, features: Mapping[str, Tensor]) -> Reading:
        return Reading(self.deep(self.inputs(features)), self.wide(features))
