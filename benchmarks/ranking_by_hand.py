"""The same rankers written by hand in plain torch: a table per column, dense gradients, Adam."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class Embedded(nn.Module):
    """Embeddings of the codes [batch, columns], one table a column: [batch, columns, dim]."""

    def __init__(self, sizes: list[int], dim: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, dim) for size in sizes)
        for table in self.tables:
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, codes: Tensor) -> Tensor:
        return torch.stack([table(codes[:, i]) for i, table in enumerate(self.tables)], dim=1)


def layers(*widths: int, last: bool = True) -> nn.Sequential:
    """Dense layers with ReLU."""
    found: list[nn.Module] = []
    for before, after in pairwise(widths):
        found += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*(found if last else found[:-1]))


class DLRM(nn.Module):
    """Numbers through layers, products of all pairs, layers on top."""

    def __init__(self, sizes: list[int], numbers: int, dim: int) -> None:
        super().__init__()
        self.embedded, self.bottom = Embedded(sizes, dim), layers(numbers, 256, 128, dim)
        fields = len(sizes) + 1
        self.register_buffer("pairs", torch.tril_indices(fields, fields, offset=-1))
        self.top = layers(dim + fields * (fields - 1) // 2, 256, 128, 64, 1, last=False)

    def forward(self, codes: Tensor, numbers: Tensor) -> Tensor:
        dense = self.bottom(numbers)
        fields = torch.cat([dense[:, None], self.embedded(codes)], dim=1)
        products = torch.bmm(fields, fields.transpose(1, 2))[:, self.pairs[0], self.pairs[1]]
        logit: Tensor = self.top(torch.cat([dense, products], dim=1))
        return logit[:, 0]


class DCN(nn.Module):
    """Three crosses of full rank, layers on top."""

    def __init__(self, sizes: list[int], numbers: int, dim: int) -> None:
        super().__init__()
        width = len(sizes) * dim + numbers
        self.embedded = Embedded(sizes, dim)
        self.crosses = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.deep = layers(width, 256, 128, 64, 1, last=False)

    def forward(self, codes: Tensor, numbers: Tensor) -> Tensor:
        first = x = torch.cat([self.embedded(codes).flatten(1), numbers], dim=1)
        for cross in self.crosses:
            x = first * cross(x) + x
        logit: Tensor = self.deep(x)
        return logit[:, 0]


NETWORKS: dict[str, type[DLRM] | type[DCN]] = {"dlrm": DLRM, "dcn": DCN}
