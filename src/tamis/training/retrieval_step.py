"""The loss of one batch of a retrieval model: which candidates stand in it, and how they were sampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tamis.data.batch import Batch, take_rows
from tamis.errors import SettingError, UnknownNameError
from tamis.nn.two_towers import TwoTowers
from tamis.schema import Schema
from tamis.training.losses import bpr, candidate_softmax, sampled_softmax
from tamis.training.negatives import NegativeSource, Sampler
from tamis.training.tensor_names import tensor_names

LOSSES = ("softmax", "bpr")


@dataclass(frozen=True)
class RetrievalLoss:
    """How a retrieval model is trained.

    Args:
        samplers: where negatives come from; several add up.
        loss: `"softmax"` or `"bpr"`.
        logq_correction: take the sampling's advantage out of the scores (softmax only).
        temperature: divides the scores of the softmax.
        precision: of the matrix products.
    """

    samplers: Sequence[Sampler]
    loss: str = "softmax"
    logq_correction: bool = True
    temperature: float = 1.0
    precision: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise UnknownNameError(self.loss, LOSSES, where="compile", what="loss")
        if not self.samplers:
            raise SettingError("samplers: none is given, so there are no negatives. Give [InBatchSampler()].")
        if not self.temperature > 0:
            raise SettingError(f"logits_temperature: it is {self.temperature}. Choose a number above 0.")


class RetrievalStep:
    """The loss of a batch, for a Trainer.

    An item stands once among a step's candidates, however many rows hold it: the tower and the scores run over the
    distinct items only, which halves the cost of a step on popular items. Within a batch an item's features are
    those of its first row.

    Args:
        towers: the network.
        settings: loss and samplers.
        item_schema: the item columns; the id must be whole numbers below its cardinality.
        item_ids: [items], ascending ids of the training data.
        item_counts: [items], rows of the training data that hold each item.
        item_features: features of these items, for samplers that draw beyond the batch; may be empty for the others.
    """

    def __init__(
        self,
        towers: TwoTowers,
        settings: RetrievalLoss,
        *,
        item_schema: Schema,
        item_id: str,
        item_ids: Tensor,
        item_counts: Tensor,
        item_features: Mapping[str, Tensor],
    ) -> None:
        self.towers, self.settings, self.item_id = towers, settings, item_id
        self.columns = tensor_names(item_schema)
        self.source = NegativeSource(settings.samplers, item_counts)
        self.position_of = torch.full((int(item_ids.max()) + 1,), -1, dtype=torch.int64, device=item_ids.device)
        self.position_of[item_ids] = torch.arange(len(item_ids), device=item_ids.device)
        self.item_features = item_features
        self.device = item_ids.device

    def __call__(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """The mean loss of the batch's rows."""
        features = batch.to(self.device).features
        with torch.autocast(
            self.device.type, self.settings.precision, enabled=self.settings.precision != torch.float32
        ):
            query = self.towers.query(features).float()
            if not self.source.draws:
                return self._against_batch(query, features)
            drawn = self.source.draw(generator)
            if self.source.in_batch:
                return self._against_batch_and_drawn(query, features, drawn)
            return self._against_drawn(query, features, drawn)

    def _against_batch(self, query: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        distinct, positive = torch.unique(features[self.item_id], return_inverse=True)
        items = {name: features[name] for name in self.columns}
        candidate = self.towers.candidate(take_rows(items, _first_of_each(positive, len(distinct)))).float()
        return self._loss(query, candidate, positive, self.position_of[distinct.long()])

    def _against_batch_and_drawn(self, query: Tensor, features: Mapping[str, Tensor], drawn: Tensor) -> Tensor:
        own = self.position_of[features[self.item_id].long()]
        positions = torch.unique(torch.cat([own, drawn]))
        candidate = self.towers.candidate(take_rows(self.item_features, positions)).float()
        return self._loss(query, candidate, torch.searchsorted(positions, own), positions)

    def _loss(self, query: Tensor, candidate: Tensor, positive: Tensor, positions: Tensor) -> Tensor:
        if self.settings.loss == "bpr":
            accidental_hit = positive[:, None] == torch.arange(len(candidate), device=self.device)
            return bpr(query, candidate[positive], candidate, accidental_hit)
        log_q = self.source.log_q(positions, len(query)) if self.settings.logq_correction else None
        temperature, precision = self.settings.temperature, self.settings.precision
        return candidate_softmax(query, candidate, positive, log_q=log_q, temperature=temperature, precision=precision)

    def _against_drawn(self, query: Tensor, features: Mapping[str, Tensor], drawn: Tensor) -> Tensor:
        own, row = torch.unique(self.position_of[features[self.item_id].long()], return_inverse=True)
        vectors = self.towers.candidate(take_rows(self.item_features, torch.cat([own, drawn]))).float()
        positive, negative = vectors[: len(own)][row], vectors[len(own) :]
        accidental_hit = own[row][:, None] == drawn[None, :]
        if self.settings.loss == "bpr":
            return bpr(query, positive, negative, accidental_hit)
        log_q: dict[str, Any] = {}
        if self.settings.logq_correction:
            log_q["positive_log_q"] = self.source.log_q(own, len(query))[row]
            log_q["negative_log_q"] = self.source.log_q(drawn, len(query))
        return sampled_softmax(
            query, positive, negative, accidental_hit, temperature=self.settings.temperature, **log_q
        )


def _first_of_each(group: Tensor, num_groups: int) -> Tensor:
    """The first row of each group: [num_groups]."""
    rows = torch.arange(len(group), device=group.device)
    first = torch.full((num_groups,), len(group), dtype=rows.dtype, device=group.device)
    return first.scatter_reduce_(0, group, rows, "amin")
