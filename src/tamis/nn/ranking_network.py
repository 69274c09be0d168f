"""The network of a ranking model: a body that reads the features, heads that say what each target is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tamis.nn.embeddings import EmbeddingTables


class Reading(NamedTuple):
    """What a body makes of a batch: a hidden layer for the heads, and what is already a logit.

    Shapes: hidden [batch, width] or None; logit [batch] or None. At least one of the two is there. Several targets
    share the logit, so what it says should matter to all of them alike.
    """

    hidden: Tensor | None = None
    logit: Tensor | None = None


class Body(nn.Module):
    """From a batch's features to a Reading; `width` is that of its hidden layer, 0 where it has none."""

    width: int = 0

    def forward(self, features: Mapping[str, Tensor]) -> Reading:
        """What the body makes of a batch."""
        raise NotImplementedError


class Heads(nn.Module):
    """One linear layer per target over the body's hidden layer, added to the body's own logit.

    Shapes: a Reading -> logits [batch, targets]
    """

    def __init__(self, width: int, targets: Sequence[str]) -> None:
        super().__init__()
        self.linear = nn.Linear(width, len(targets)) if width else None
        self.bias = None if width else nn.Parameter(torch.zeros(len(targets)))

    def forward(self, reading: Reading) -> Tensor:
        """Logits of all targets."""
        logits: Tensor | None = self.bias if self.linear is None else self.linear(reading.hidden)
        assert logits is not None
        return logits if reading.logit is None else logits + reading.logit[:, None]


class RankingNetwork(nn.Module):
    """A body and heads over shared embedding tables.

    Shapes: dict of a batch's columns, see `Inputs` -> logits [batch, targets]
    """

    def __init__(self, tables: EmbeddingTables, body: Body, heads: nn.Module, targets: Sequence[str]) -> None:
        super().__init__()
        self.tables, self.body, self.heads = tables, body, heads
        self.targets = tuple(targets)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Logits of all targets, in their order."""
        logits: Tensor = self.heads(self.body(features))
        return logits
