"""DLRM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Self

import torch
from torch import Tensor

from tamis.errors import SettingError
from tamis.models.ranking import RankingModel
from tamis.nn.embeddings import EmbeddingOptions
from tamis.nn.inputs import Inputs
from tamis.nn.interaction import DotInteraction
from tamis.nn.mlp import MLPBlock
from tamis.nn.ranking_network import Body, Reading
from tamis.schema import Schema


class DLRMModel(RankingModel):
    """Numbers through dense layers to one vector, products of it and all embeddings, dense layers on top.

    Args:
        schema: inputs and targets.
        embedding_dim: width of all embeddings.
        bottom_block: layers over the numbers; must end at `embedding_dim`. By default one hidden layer of 128.
        top_block: layers over the products.
        init_std: standard deviation of the first embeddings.
        seed: of the first weights.

    Raises:
        SettingError: the bottom layers end at another width.

    Source: Naumov et al., Deep Learning Recommendation Model for Personalization, 2019, section 2.
    """

    def __init__(
        self,
        schema: Schema,
        embedding_dim: int = 16,
        bottom_block: MLPBlock | None = None,
        top_block: MLPBlock | None = None,
        *,
        init_std: float = 0.1,
        seed: int = 0,
    ) -> None:
        self.embedding_dim = embedding_dim
        self.bottom_block, self.top_block = (
            bottom_block or MLPBlock([128, embedding_dim]),
            top_block or MLPBlock([256, 128]),
        )
        if self.bottom_block.dimensions[-1] != embedding_dim:
            raise SettingError(
                f"DLRMModel: bottom_block ends at {self.bottom_block.dimensions[-1]}, but its vector meets embeddings "
                f"of {embedding_dim}. End it at embedding_dim."
            )
        options = EmbeddingOptions(embedding_dim_default=embedding_dim, init_std=init_std)
        super().__init__(schema, options=options, seed=seed)

    def body(self, inputs: Inputs) -> Body:
        """The whole figure but its last layer."""
        return _DLRM(inputs, self.bottom_block, self.top_block, self.embedding_dim)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments besides the schema, as JSON can hold them."""
        blocks = {"bottom_block": asdict(self.bottom_block), "top_block": asdict(self.top_block)}
        return {"embedding_dim": self.embedding_dim, "init_std": self.options.init_std, **blocks}

    @classmethod
    def from_settings(cls, schema: Schema, settings: dict[str, Any]) -> Self:
        """The model that `settings` described, untrained."""
        blocks = {name: MLPBlock(**settings[name]) for name in ("bottom_block", "top_block")}
        return cls(schema, **{**settings, **blocks})


class _DLRM(Body):
    def __init__(self, inputs: Inputs, bottom: MLPBlock, top: MLPBlock, dim: int) -> None:
        super().__init__()
        num_numbers = sum(column.width or 1 for column in [*inputs.numbers, *inputs.vectors])
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
        products = self.products(torch.cat([dense[:, None, :], *parts], dim=1))
        return Reading(self.top(torch.cat([dense, products], dim=1)))
