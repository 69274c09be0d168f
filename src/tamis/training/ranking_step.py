"""The loss of one batch of a ranking model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from tamis.data.batch import Batch
from tamis.errors import SettingError, UnknownNameError
from tamis.nn.ranking_network import RankingNetwork

BINARY, REGRESSION = "binary", "regression"
OBJECTIVES = (BINARY, REGRESSION)


@dataclass(frozen=True)
class RankingLoss:
    """How a ranking model is trained.

    Args:
        objectives: of each target, `"binary"` or `"regression"`, in the order of the network's logits.
        target_weights: how much each target counts in the sum; 1 where none is given.
        positive_weight: how much a positive row counts beside a negative one, for all binary targets.
        sample_weight: a column of row weights of 0 or more; None counts all rows alike.
        precision: of the matrix products.
    """

    objectives: Mapping[str, str]
    target_weights: Mapping[str, float] = field(default_factory=dict)
    positive_weight: float = 1.0
    sample_weight: str | None = None
    precision: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        for objective in self.objectives.values():
            if objective not in OBJECTIVES:
                raise UnknownNameError(objective, OBJECTIVES, where="compile", what="objective")
        for name, weight in self.target_weights.items():
            if name not in self.objectives:
                raise UnknownNameError(name, self.objectives, where="compile", what="target")
            if not weight >= 0:
                raise SettingError(f"compile: the weight of the target {name!r} is {weight}. Choose 0 or more.")
        if not self.positive_weight > 0:
            raise SettingError(f"compile: positive_weight is {self.positive_weight}. Choose a number above 0.")


class RankingStep:
    """The loss of a batch, for a Trainer: the weighted sum over the targets of their mean over the rows."""

    def __init__(self, network: RankingNetwork, settings: RankingLoss, device: torch.device) -> None:
        self.network, self.settings, self.device = network, settings, device

    def __call__(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """The loss of the batch's rows."""
        moved = batch.to(self.device)
        precision = self.settings.precision
        with torch.autocast(self.device.type, precision, enabled=precision != torch.float32):
            logits = self.network(moved.features)
        return self.loss(logits.float(), moved)

    def loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """The loss of logits [batch, targets]."""
        weights = None if self.settings.sample_weight is None else batch.features[self.settings.sample_weight].float()
        total = logits.new_zeros(())
        for column, (name, objective) in enumerate(self.settings.objectives.items()):
            rows = self._of_rows(logits[:, column], batch.targets[name].float(), objective)
            mean = rows.mean() if weights is None else (rows * weights).sum() / weights.sum().clamp(min=1e-12)
            total = total + self.settings.target_weights.get(name, 1.0) * mean
        return total

    def _of_rows(self, logit: Tensor, label: Tensor, objective: str) -> Tensor:
        if objective == REGRESSION:
            return (logit - label).square()
        positive = logit.new_tensor(self.settings.positive_weight)
        return F.binary_cross_entropy_with_logits(logit, label, reduction="none", pos_weight=positive)
