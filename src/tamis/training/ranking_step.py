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
from tamis.training.ranking_losses import SLATE_LOSSES
from tamis.training.ranking_negatives import NegativeRows

BINARY, REGRESSION = "binary", "regression"
OBJECTIVES = (BINARY, REGRESSION, *SLATE_LOSSES)


@dataclass(frozen=True)
class RankingLoss:
    """How a ranking model is trained.

    Args:
        objectives: of each target, `"binary"`, `"regression"`, `"bpr"` or `"softmax"`, in the order of the network's
            logits.
        target_weights: how much each target counts in the sum; 1 where none is given.
        positive_weight: how much a positive row counts beside a negative one, for all binary targets.
        sample_weight: a column of row weights of 0 or more; None counts all rows alike.
        slate: for `"bpr"` and `"softmax"`, the column whose equal values make a slate; None where negatives are drawn
            takes each row with those made of it.
        precision: of the matrix products.
    """

    objectives: Mapping[str, str]
    target_weights: Mapping[str, float] = field(default_factory=dict)
    positive_weight: float = 1.0
    sample_weight: str | None = None
    slate: str | None = None
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
        orders = SLATE_LOSSES.keys() & self.objectives.values()
        if self.positive_weight != 1 and orders:
            raise SettingError(
                f"compile: positive_weight is {self.positive_weight}, but with loss={min(orders)!r} each positive is "
                "compared with negatives, so no class is heavier. Leave it out, or weigh rows with sample_weight."
            )


class RankingStep:
    """The loss of a batch, for a Trainer: the weighted sum over the targets of their mean over rows or slates.

    Args:
        network: gives the logits.
        settings: of the loss.
        device: of the network.
        negatives: adds rows to each batch; they count in the means like the others.
    """

    def __init__(
        self,
        network: RankingNetwork,
        settings: RankingLoss,
        device: torch.device,
        negatives: NegativeRows | None = None,
    ) -> None:
        self.network, self.settings, self.device, self.negatives = network, settings, device, negatives

    def __call__(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """The loss of the batch's rows."""
        moved = batch.to(self.device)
        if self.negatives is None:
            return self.loss(self._logits(moved), moved)
        extended, made_of, log_q = self.negatives(moved, generator)
        logits = self._logits(extended)
        return self.loss(logits if log_q is None else logits - log_q[:, None], extended, made_of)

    def _logits(self, batch: Batch) -> Tensor:
        precision = self.settings.precision
        with torch.autocast(self.device.type, precision, enabled=precision != torch.float32):
            logits: Tensor = self.network(batch.features)
        return logits.float()

    def loss(self, logits: Tensor, batch: Batch, made_of: Tensor | None = None) -> Tensor:
        """The loss of logits [batch, targets]; `made_of` [batch] is the slate where no column says it."""
        weights = None if self.settings.sample_weight is None else batch.features[self.settings.sample_weight].float()
        total = logits.new_zeros(())
        for column, (name, objective) in enumerate(self.settings.objectives.items()):
            logit, label = logits[:, column], batch.targets[name].float()
            if objective in SLATE_LOSSES:
                slate = made_of if self.settings.slate is None else batch.features[self.settings.slate]
                assert slate is not None
                mean = SLATE_LOSSES[objective](logit, label, slate, weights)
            else:
                rows = self._of_rows(logit, label, objective)
                mean = rows.mean() if weights is None else (rows * weights).sum() / weights.sum().clamp(min=1e-12)
            total = total + self.settings.target_weights.get(name, 1.0) * mean
        return total

    def _of_rows(self, logit: Tensor, label: Tensor, objective: str) -> Tensor:
        if objective == REGRESSION:
            return (logit - label).square()
        positive = logit.new_tensor(self.settings.positive_weight)
        return F.binary_cross_entropy_with_logits(logit, label, reduction="none", pos_weight=positive)
