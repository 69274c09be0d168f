"""DCN-v2."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tamis.models.ranking import RankingModel
from tamis.nn.cross import CrossNetwork
from tamis.nn.embeddings import EmbeddingOptions
from tamis.nn.experts import HeadSettings
from tamis.nn.inputs import Inputs, input_width
from tamis.nn.mlp import MLPBlock
from tamis.nn.ranking_network import Body, Reading
from tamis.schema import Schema


class DCNModel(RankingModel):
    """Explicit feature crosses and dense layers.

    Args:
        schema: inputs and targets.
        depth: layers of crosses; their degree is at most `depth + 1`.
        deep_block: the dense layers.
        stacked: the dense layers over the crosses; otherwise both over the inputs, side by side.
        low_rank: of the crosses' matrices; None is full.
        num_experts: low-rank matrices mixed in each layer.
        embedding_options: widths and start of the embeddings.
        heads: how several targets share what the body makes; by default one linear layer each.
        seed: of the first weights.

    Source: Wang et al., DCN V2: Improved Deep & Cross Network, WWW 2021, figure 1.
    """

    def __init__(
        self,
        schema: Schema,
        depth: int = 2,
        deep_block: MLPBlock | None = None,
        *,
        stacked: bool = True,
        low_rank: int | None = None,
        num_experts: int = 1,
        embedding_options: EmbeddingOptions | None = None,
        heads: HeadSettings | None = None,
        seed: int = 0,
    ) -> None:
        self.depth, self.deep_block = depth, deep_block or MLPBlock([256, 128])
        self.stacked, self.low_rank, self.num_experts = stacked, low_rank, num_experts
        super().__init__(schema, embedding_options=embedding_options, heads=heads, seed=seed)

    def body(self, inputs: Inputs) -> Body:
        """Crosses and dense layers."""
        width = input_width(self.input_schema, self.embedding_options)
        cross = CrossNetwork(width, depth=self.depth, low_rank=self.low_rank, num_experts=self.num_experts)
        return _CrossAndDeep(inputs, cross, self.deep_block, width, stacked=self.stacked)


class _CrossAndDeep(Body):
    def __init__(self, inputs: Inputs, cross: CrossNetwork, deep: MLPBlock, width: int, *, stacked: bool) -> None:
        super().__init__()
        self.inputs, self.cross, self.deep, self.stacked = inputs, cross, deep.build(width), stacked
        self.width = deep.dimensions[-1] + (0 if stacked else width)

    def forward(self, features: Mapping[str, Tensor]) -> Reading:
        x = self.inputs(features)
        crossed = self.cross(x)
        if self.stacked:
            return Reading(self.deep(crossed))
        return Reading(torch.cat([crossed, self.deep(x)], dim=1))
