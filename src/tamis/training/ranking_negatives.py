"""Negatives for logs that hold only what was chosen: each positive's query beside items that it was not seen with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tamis.data.batch import Batch, join_rows, take_rows
from tamis.errors import SettingError, UnknownNameError

UNIFORM, POPULARITY, IN_BATCH = "uniform", "popularity", "in_batch"
_WAYS = (UNIFORM, POPULARITY, IN_BATCH)


@dataclass(frozen=True)
class RandomNegatives:
    """Rows of label 0 that training makes of each positive row and other items, anew in each epoch.

    A drawn row has the positive's columns but for those tagged ITEM, which are the drawn item's. A draw that hits the
    row's own item, or another positive of the same user in the batch, is left out; what the user chose elsewhere in
    the log may be drawn. A step costs as if its batch had `num_per_positive` more rows for each positive.

    Args:
        num_per_positive: draws for each positive row, with replacement.
        by: `"uniform"` draws evenly from the training data's items, `"popularity"` by their rows to the power `power`,
            `"in_batch"` takes the items of random rows of the batch, and needs no table of the items.
        power: of `"popularity"`.
        logq_correction: take out of the scores how often each item is drawn, so that they order items by how likely
            they are chosen, however negatives are drawn. Without it, items that are drawn more often score lower. It
            is exact where all rows of the log are positives.

    Raises:
        SettingError: fewer than one draw, or a power below 0.
        UnknownNameError: no such way to draw.
    """

    num_per_positive: int = 4
    by: str = UNIFORM
    power: float = 1.0
    logq_correction: bool = True

    def __post_init__(self) -> None:
        if self.num_per_positive < 1:
            raise SettingError(f"RandomNegatives: num_per_positive is {self.num_per_positive}. Choose 1 or more.")
        if self.by not in _WAYS:
            raise UnknownNameError(self.by, _WAYS, where="RandomNegatives", what="way to draw")
        if not 0 <= self.power < float("inf"):
            raise SettingError(f"RandomNegatives: power is {self.power}. Choose 0 or more.")

    def probabilities(self, counts: Tensor) -> Tensor:
        """The probability that a draw is each item: [items] float64, of the items' rows [items]."""
        power = {UNIFORM: 0.0, POPULARITY: self.power, IN_BATCH: 1.0}[self.by]
        weights = counts.double() ** power
        probabilities: Tensor = weights / weights.sum()
        return probabilities


class Extended(NamedTuple):
    """A batch with drawn rows behind its own, the row that each was made of, and what to take off the logits."""

    batch: Batch
    made_of: Tensor
    log_q: Tensor | None


class NegativeRows:
    """Adds the rows of `RandomNegatives` to batches.

    Args:
        settings: how many, and how.
        item_columns: names of the batch's tensors that say what the item is.
        item_id: the one that names the item: whole numbers from 0.
        user_id: names the user whose positives are not drawn for her; without one, each row is its own.
        ids: [items], ascending ids of the training data.
        counts: [items], rows of each.
        features: `item_columns` of these items; not needed for draws from the batch.
    """

    def __init__(
        self,
        settings: RandomNegatives,
        *,
        item_columns: Sequence[str],
        item_id: str,
        user_id: str | None,
        ids: Tensor,
        counts: Tensor,
        features: Mapping[str, Tensor],
    ) -> None:
        self.settings, self.item_columns = settings, frozenset(item_columns)
        self.item_id, self.user_id = item_id, user_id
        self._ids, self._features = ids, features
        probabilities = settings.probabilities(counts)
        self._cumulative = probabilities.cumsum(0)
        self._log_q: Tensor | None = None
        if settings.logq_correction and settings.by != UNIFORM:
            # Relative to an even draw, so that the scores' level is the same however negatives are drawn.
            self._log_q = (probabilities * len(ids)).log().float()
            self._position_of = torch.zeros(int(ids.max()) + 1, dtype=torch.int64, device=ids.device)
            self._position_of[ids.long()] = torch.arange(len(ids), device=ids.device)

    def __call__(self, batch: Batch, generator: torch.Generator) -> Extended:
        """The batch with its drawn rows."""
        is_positive = torch.stack([target > 0 for target in batch.targets.values()]).any(dim=0)
        positives = torch.nonzero(is_positive).flatten()
        owner = positives.repeat_interleave(self.settings.num_per_positive)
        drawn = self._draw(len(batch), len(owner), generator).to(owner.device)
        is_kept = ~self._is_hit(batch, positives, owner, self._drawn_ids(batch, drawn))
        owner, drawn = owner[is_kept], drawn[is_kept]
        made_of = torch.cat([torch.arange(len(batch), device=owner.device), owner])
        features = {**self._of_queries(batch, made_of), **self._of_items(batch, drawn)}
        targets = {name: torch.cat([t, t.new_zeros(len(owner))]) for name, t in batch.targets.items()}
        return Extended(Batch(features, targets), made_of, self._log_q_of(features[self.item_id]))

    def _draw(self, num_rows: int, num_draws: int, generator: torch.Generator) -> Tensor:
        """Rows of the batch, or positions of items: [draws]."""
        if self.settings.by == IN_BATCH:
            return torch.randint(num_rows, (num_draws,), generator=generator)
        luck = torch.rand(num_draws, generator=generator, dtype=torch.float64).to(self._cumulative.device)
        found = torch.searchsorted(self._cumulative, luck * self._cumulative[-1], right=True)
        return found.clamp_(max=len(self._ids) - 1)

    def _drawn_ids(self, batch: Batch, drawn: Tensor) -> Tensor:
        return (batch.features[self.item_id] if self.settings.by == IN_BATCH else self._ids)[drawn]

    def _is_hit(self, batch: Batch, positives: Tensor, owner: Tensor, drawn_id: Tensor) -> Tensor:
        """Whether each drawn item is a positive of its user in the batch: [draws]."""
        item = batch.features[self.item_id].long()
        users = torch.arange(len(item), device=item.device)
        if self.user_id is not None:
            users = torch.unique(batch.features[self.user_id], return_inverse=True)[1]
        num_ids = 1 + max(int(item.max()), int(self._ids.max()))
        taken = users[positives] * num_ids + item[positives]
        return torch.isin(users[owner] * num_ids + drawn_id.long(), taken)

    def _of_queries(self, batch: Batch, made_of: Tensor) -> dict[str, Tensor]:
        queries = {name: tensor for name, tensor in batch.features.items() if name not in self.item_columns}
        return take_rows(queries, made_of)

    def _of_items(self, batch: Batch, drawn: Tensor) -> dict[str, Tensor]:
        own = {name: batch.features[name] for name in self.item_columns}
        table = own if self.settings.by == IN_BATCH else self._features
        return join_rows(own, take_rows(table, drawn))

    def _log_q_of(self, item: Tensor) -> Tensor | None:
        return None if self._log_q is None else self._log_q[self._position_of[item.long()]]
