"""AutoInt."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tamis.models.ranking import RankingModel
from tamis.nn.attention import FieldAttention
from tamis.nn.embeddings import EmbeddingOptions
from tamis.nn.experts import HeadSettings
from tamis.nn.fields import Fields
from tamis.nn.inputs import Inputs
from tamis.nn.linear import OwnFirstOrder
from tamis.nn.mlp import MLPBlock
from tamis.nn.positive import need_positive
from tamis.nn.ranking_network import Body, Reading
from tamis.schema import Schema


class AutoIntModel(RankingModel):
    """Layers of attention between the fields, with a linear part and, if asked for, dense layers beside it.

    The linear part is not the paper's.

    Args:
        schema: inputs and targets.
        depth: layers of attention.
        num_heads: of each layer.
        head_dim: width of a head.
        deep_block: dense layers over the same embeddings (AutoInt+); None leaves them out.
        embedding_options: of one width.
        heads: how several targets share what the body makes; by default one linear layer each.
        seed: of the first weights.

    Source: Song et al., AutoInt, CIKM 2019, figure 1 and section 4.
    """

    def __init__(
        self,
        schema: Schema,
        depth: int = 2,
        *,
        num_heads: int = 2,
        head_dim: int = 16,
        deep_block: MLPBlock | None = None,
        embedding_options: EmbeddingOptions | None = None,
        heads: HeadSettings | None = None,
        seed: int = 0,
    ) -> None:
        need_positive("AutoIntModel", depth=depth)
        self.depth, self.num_heads, self.head_dim, self.deep_block = depth, num_heads, head_dim, deep_block
        super().__init__(schema, embedding_options=embedding_options, heads=heads, seed=seed)

    def body(self, inputs: Inputs) -> Body:
        """Attention, linear part and dense layers."""
        fields = Fields(inputs, self.embedding_options)
        widths = [fields.dim, *[self.num_heads * self.head_dim] * self.depth]
        layers = [FieldAttention(w, head_dim=self.head_dim, num_heads=self.num_heads) for w in widths[:-1]]
        return _AutoInt(OwnFirstOrder(self.input_schema), fields, layers, self.deep_block)


class _AutoInt(Body):
    def __init__(
        self, first_order: OwnFirstOrder, fields: Fields, layers: list[FieldAttention], deep: MLPBlock | None
    ) -> None:
        super().__init__()
        self.first_order, self.fields, self.attention = first_order, fields, nn.Sequential(*layers)
        self.deep = None if deep is None else deep.build(fields.num_fields * fields.dim)
        width = layers[-1].width if layers else fields.dim
        self.width = fields.num_fields * width + (0 if deep is None else deep.dimensions[-1])

    def forward(self, features: Mapping[str, Tensor]) -> Reading:
        fields = self.fields(features)
        hidden = self.attention(fields).flatten(1)
        if self.deep is not None:
            hidden = torch.cat([hidden, self.deep(fields.flatten(1))], dim=1)
        return Reading(hidden, self.first_order(features))
