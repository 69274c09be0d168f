"""Factorization machines, and DeepFM, which adds a deep part to one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Self

from torch import Tensor

from tamis.models.ranking import RankingModel
from tamis.nn.embeddings import EmbeddingOptions
from tamis.nn.fields import Fields
from tamis.nn.inputs import Inputs
from tamis.nn.interaction import pairwise_sum
from tamis.nn.linear import OwnFirstOrder
from tamis.nn.mlp import MLPBlock
from tamis.nn.ranking_network import Body, Reading
from tamis.schema import Schema

_FIELDS = EmbeddingOptions(embedding_dim_default=16)


class FMModel(RankingModel):
    """A linear part and the inner products of all pairs of fields.

    Args:
        schema: inputs and targets.
        embedding_options: of one width.
        seed: of the first weights.

    Source: Rendle, Factorization Machines, ICDM 2010, eq. 1.
    """

    deep_block: MLPBlock | None = None

    def __init__(self, schema: Schema, *, embedding_options: EmbeddingOptions | None = None, seed: int = 0) -> None:
        super().__init__(schema, options=embedding_options or _FIELDS, seed=seed)

    def body(self, inputs: Inputs) -> Body:
        """Linear part, products and, where there is one, the deep part."""
        fields = Fields(inputs, dim=self.options.embedding_dim_default, init_std=self.options.init_std)
        return _DeepFM(OwnFirstOrder(self.input_schema), fields, self.deep_block)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments besides the schema, as JSON can hold them."""
        return {"embedding_options": asdict(self.options)}

    @classmethod
    def from_settings(cls, schema: Schema, settings: dict[str, Any]) -> Self:
        """The model that `settings` described, untrained."""
        return cls(schema, embedding_options=EmbeddingOptions(**settings["embedding_options"]))


class DeepFMModel(FMModel):
    """A factorization machine and dense layers over the same embeddings.

    Args:
        schema: inputs and targets.
        deep_block: the dense layers.
        embedding_options: of one width.
        seed: of the first weights.

    Source: Guo et al., DeepFM, IJCAI 2017, eq. 1 to 4.
    """

    def __init__(
        self,
        schema: Schema,
        deep_block: MLPBlock | None = None,
        *,
        embedding_options: EmbeddingOptions | None = None,
        seed: int = 0,
    ) -> None:
        self.deep_block = deep_block or MLPBlock([256, 128])
        super().__init__(schema, embedding_options=embedding_options, seed=seed)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments besides the schema, as JSON can hold them."""
        assert self.deep_block is not None
        return {**super().settings(), "deep_block": asdict(self.deep_block)}

    @classmethod
    def from_settings(cls, schema: Schema, settings: dict[str, Any]) -> Self:
        """The model that `settings` described, untrained."""
        options = EmbeddingOptions(**settings["embedding_options"])
        return cls(schema, MLPBlock(**settings["deep_block"]), embedding_options=options)


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
