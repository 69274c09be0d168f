"""Factorization machines, and DeepFM, which adds a deep part to one."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from tamis.models.ranking import RankingModel
from tamis.nn.embeddings import EmbeddingOptions
from tamis.nn.experts import HeadSettings
from tamis.nn.fields import Fields
from tamis.nn.inputs import Inputs
from tamis.nn.interaction import pairwise_sum
from tamis.nn.linear import OwnFirstOrder
from tamis.nn.mlp import MLPBlock
from tamis.nn.ranking_network import Body, Reading
from tamis.schema import Schema


class FMModel(RankingModel):
    """A linear part and the inner products of all pairs of fields.

    Args:
        schema: inputs and one target.
        embedding_options: of one width.
        seed: of the first weights.

    Source: Rendle, Factorization Machines, ICDM 2010, eq. 1.
    """

    def __init__(self, schema: Schema, *, embedding_options: EmbeddingOptions | None = None, seed: int = 0) -> None:
        super().__init__(schema, embedding_options=embedding_options, heads=None, seed=seed)

    def body(self, inputs: Inputs) -> Body:
        """Linear part and products."""
        return _DeepFM(OwnFirstOrder(self.input_schema), Fields(inputs, self.embedding_options), None)


class DeepFMModel(RankingModel):
    """A factorization machine and dense layers over the same embeddings.

    Args:
        schema: inputs and targets.
        deep_block: the dense layers.
        embedding_options: of one width.
        heads: how several targets share what the body makes; by default one linear layer each.
        seed: of the first weights.

    Source: Guo et al., DeepFM, IJCAI 2017, eq. 1 to 4.
    """

    def __init__(
        self,
        schema: Schema,
        deep_block: MLPBlock | None = None,
        *,
        embedding_options: EmbeddingOptions | None = None,
        heads: HeadSettings | None = None,
        seed: int = 0,
    ) -> None:
        self.deep_block = deep_block or MLPBlock([256, 128])
        super().__init__(schema, embedding_options=embedding_options, heads=heads, seed=seed)

    def body(self, inputs: Inputs) -> Body:
        """Linear part, products and dense layers."""
        return _DeepFM(OwnFirstOrder(self.input_schema), Fields(inputs, self.embedding_options), self.deep_block)


class _DeepFM(Body):
    def __init__(self, first_order: OwnFirstOrder, fields: Fields, deep: MLPBlock | None) -> None:
        super().__init__()
        self.first_order, self.fields = first_order, fields
        self.deep = None if deep is None else deep.build(fields.num_fields * fields.dim)
        self.width = 0 if deep is None else deep.dimensions[-1]

    def forward(self, features: Mapping[str, Tensor]) -> Reading:
        fields = self.fields(features)
        logit = self.first_order(features) + pairwise_sum(fields)
        return Reading(None if self.deep is None else self.deep(fields.flatten(1)), logit)
