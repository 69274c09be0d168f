"""All features of a row as vectors of one width: what interactions are computed of."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tamis.errors import SettingError
from tamis.nn.embeddings import EmbeddingOptions
from tamis.nn.inputs import Inputs


class Fields(nn.Module):
    """One vector per categorical column and per number; a number x has the vector x * v with a learned v.

    Shapes: dict of a batch's columns, see `Inputs` -> [batch, num_fields, dim]

    Raises:
        SettingError: embeddings of several widths.
    """

    def __init__(self, inputs: Inputs, options: EmbeddingOptions) -> None:
        super().__init__()
        widths = sorted({table.width for table in inputs.tables.tables.values()})
        if len(widths) > 1:
            raise SettingError(
                f"embedding_options: fields meet in products, so all embeddings need one width, but here are {widths}. "
                "Give embedding_dim_default alone, and leave infer_embedding_sizes off."
            )
        dim = widths[0] if widths else options.embedding_dim_default
        self.inputs = inputs
        num_numbers = inputs.num_numbers
        self.numbers = (
            nn.Parameter(torch.empty(num_numbers, dim).normal_(std=options.init_std)) if num_numbers else None
        )
        self.num_fields, self.dim = len(inputs.fields) + num_numbers, dim

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """The vectors of each row's fields."""
        parts: list[Tensor] = []
        if self.inputs.fields:
            parts.append(self.inputs.embeddings(features))
        numbers = self.inputs.continuous(features)
        if numbers is not None and self.numbers is not None:
            parts.append(numbers[:, :, None] * self.numbers)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
