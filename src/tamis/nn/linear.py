"""The linear part of wide models."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tamis.nn.embeddings import EmbeddingOptions, EmbeddingTables
from tamis.nn.inputs import Inputs, split_inputs
from tamis.schema import Schema

WEIGHTS = EmbeddingOptions(embedding_dim_default=1, combiner="sum", init_std=0.0)  # one weight a category, from 0


class FirstOrder(nn.Module):
    """One weight per category and per number, added up: what logistic regression is made of.

    Args:
        inputs: over tables of width 1; the values of a list are added up.

    Shapes: dict of a batch's columns, see `Inputs` -> [batch]
    """

    def __init__(self, inputs: Inputs) -> None:
        super().__init__()
        self.inputs = inputs
        num_numbers = inputs.num_numbers
        self.numbers = nn.Parameter(torch.zeros(num_numbers)) if num_numbers else None

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """The sum for each row."""
        parts: list[Tensor] = []
        if self.inputs.fields:
            parts.append(self.inputs.embeddings(features).sum(dim=(1, 2)))
        numbers = self.inputs.continuous(features)
        if numbers is not None and self.numbers is not None:
            parts.append(numbers @ self.numbers)
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]


class OwnFirstOrder(FirstOrder):
    """The same with weights in tables of its own, beside a model's embeddings."""

    def __init__(self, schema: Schema) -> None:
        tables = EmbeddingTables(split_inputs(schema)[0], WEIGHTS)
        super().__init__(Inputs(schema, tables, combiner=WEIGHTS.combiner))
        self.tables = tables
