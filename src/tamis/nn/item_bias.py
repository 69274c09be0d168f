"""A number per item that every query adds to its score, carried in the vectors so that scores stay inner products."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tamis.schema import ColumnSchema


class ItemBias(nn.Module):
    """The last coordinate of an item's vector: `weight` * ln(count / largest count), so 0 for the most frequent item.

    It is not trained. Items that the training data does not hold count as seen once.
    """

    def __init__(self, item: ColumnSchema) -> None:
        super().__init__()
        self.item = item.name
        self.values: Tensor
        self.register_buffer("values", torch.zeros(item.cardinality or 0))

    def learn(self, ids: Tensor, counts: Tensor, weight: float) -> None:
        """Take the items' frequencies: ids [items], counts [items] of training rows."""
        all_counts = torch.ones(len(self.values), dtype=torch.float64)
        all_counts[ids] = counts.double().clamp(min=1)
        self.values.copy_(weight * (all_counts / all_counts.max()).log())

    def forward(self, vectors: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """The vectors with the bias at their end: [batch, dim] -> [batch, dim + 1]."""
        bias = self.values.index_select(0, features[self.item].long())
        return torch.cat([vectors, bias[:, None].to(vectors.dtype)], dim=1)


class BiasTaker(nn.Module):
    """The last coordinate of a query's vector: a 1, which takes each item's bias as it is."""

    def forward(self, vectors: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """The vectors with a 1 at their end: [batch, dim] -> [batch, dim + 1]."""
        return torch.cat([vectors, torch.ones_like(vectors[:, :1])], dim=1)
