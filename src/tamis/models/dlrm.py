"""DLRM."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tamis.errors import SettingError
from tamis.models.ranking import RankingModel
from tamis.nn.embeddings import EmbeddingOptions
from tamis.nn.experts import HeadSettings
from tamis.nn.fields import Fields
from tamis.nn.inputs import Inputs
from tamis.nn.interaction import DotInteraction
from tamis.nn.mlp import MLPBlock
from tamis.nn.ranking_network import Body, Reading
from tamis.schema import Schema


class DLRMModel(RankingModel):
    """Numbers through dense layers to one vector, products of it and all embeddings, dense layers on top.

    Args:
        schema: inputs and targets.
        bottom_block: layers over the numbers, ending at the embeddings' width; by default one of 128 and that one.
        top_block: layers over the products.
        embedding_options: of one width.
        heads: how several targets share what the body makes; by default one linear layer each.
        seed: of the first weights.

    Raises:
        SettingError: the bottom layers end at another width.

    Source: Naumov et al., Deep Learning Recommendation Model for Personalization, 2019, section 2.
    """

    def __init__(
        self,
        schema: Schema,
        bottom_block: MLPBlock | None = None,
        top_block: MLPBlock | None = None,
        *,
        embedding_options: EmbeddingOptions | None = None,
        heads: HeadSettings | None = None,
        seed: int = 0,
    ) -> None:
        self.bottom_block, self.top_block = bottom_block, top_block or MLPBlock([256, 128])
        super().__init__(schema, embedding_options=embedding_options, heads=heads, seed=seed)

    def body(self, inputs: Inputs) -> Body:
        """The whole figure but its last layer."""
        fields = Fields(inputs, self.embedding_options)  # refuses embeddings of several widths
        bottom = self.bottom_block or MLPBlock([128, fields.dim])
        if bottom.dimensions[-1] != fields.dim:
            raise SettingError(
                f"DLRMModel: bottom_block ends at {bottom.dimensions[-1]}, but its vector meets embeddings of "
                f"{fields.dim}. End it at the embeddings' width."
            )
        return _DLRM(inputs, bottom, self.top_block, fields.dim)


class _DLRM(Body):
    def __init__(self, inputs: Inputs, bottom: MLPBlock, top: MLPBlock, dim: int) -> None:
        super().__init__()
        num_numbers = inputs.num_numbers
        self.inputs = inputs
        self.bottom = bottom.build(num_numbers) if num_numbers else None
        self.products = DotInteraction(len(inputs.fields) + (self.bottom is not None))
        self.top = top.build(self.products.width + (dim if num_numbers else 0))
        self.width = top.dimensions[-1]

    def forward(self, features: Mapping[str, Tensor]) -> Reading:
        parts = [self.inputs.embeddings(features)] if self.inputs.fields else []
        numbers = self.inputs.continuous(features)
        if numbers is None or self.bottom is None:
            return Reading(self.top(self.products(parts[0])))
        dense = self.bottom(numbers)
        if torch.is_autocast_enabled(self.inputs.tables.device.type):  # the products would take them as these do anyway
            parts = [part.to(dense.dtype) for part in parts]
        products = self.products(torch.cat([dense[:, None, :], *parts], dim=1))
        return Reading(self.top(torch.cat([dense, products], dim=1)))
