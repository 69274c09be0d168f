"""Where the negatives of a retrieval loss come from, and how likely each item was to be among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from tamis.errors import SettingError, UnknownNameError


@dataclass(frozen=True)
class InBatchSampler:
    """The other rows' items. Frequent items come up often: logQ takes that out again."""


@dataclass(frozen=True)
class UniformSampler:
    """Items drawn evenly from all items of the training data, with replacement, `num_negatives` a step."""

    num_negatives: int = 1024

    def __post_init__(self) -> None:
        _check_number(self.num_negatives, "UniformSampler")

    def probabilities(self, counts: Tensor) -> Tensor:
        """Probability of each item in one draw: [items]."""
        return torch.full((len(counts),), 1.0 / len(counts), device=counts.device)


@dataclass(frozen=True)
class PopularityBasedSampler:
    """Items drawn by their true frequency in the training data to the power `power`, `num_negatives` a step."""

    num_negatives: int = 1024
    power: float = 1.0

    def __post_init__(self) -> None:
        _check_number(self.num_negatives, "PopularityBasedSampler")

    def probabilities(self, counts: Tensor) -> Tensor:
        """Probability of each item in one draw: [items]."""
        weights = counts.double() ** self.power
        probabilities: Tensor = weights / weights.sum()
        return probabilities.float()


Sampler = InBatchSampler | UniformSampler | PopularityBasedSampler

_BY_NAME: dict[str, type[Sampler]] = {
    kind.__name__: kind for kind in (InBatchSampler, UniformSampler, PopularityBasedSampler)
}


def describe_samplers(samplers: Sequence[Sampler]) -> list[dict[str, Any]]:
    """The samplers as JSON can hold them."""
    return [{"name": type(sampler).__name__, **asdict(sampler)} for sampler in samplers]


def described_samplers(described: Sequence[Mapping[str, Any]]) -> list[Sampler]:
    """The samplers that `describe_samplers` described.

    Raises:
        UnknownNameError: no sampler of this name.
    """
    samplers = []
    for settings in described:
        name = settings["name"]
        if name not in _BY_NAME:
            raise UnknownNameError(name, _BY_NAME, where="samplers", what="sampler")
        samplers.append(_BY_NAME[name](**{key: value for key, value in settings.items() if key != "name"}))
    return samplers


def _check_number(num_negatives: int, where: str) -> None:
    if num_negatives < 1:
        raise SettingError(f"{where}: num_negatives is {num_negatives}. Choose 1 or more.")


class NegativeSource:
    """Draws a step's negatives by item position and knows every item's probability to be among them.

    Args:
        samplers: each adds its draws; an item drawn twice stands there once.
        counts: [items], rows of the training data that hold each item.
    """

    def __init__(self, samplers: Sequence[Sampler], counts: Tensor) -> None:
        self.in_batch = any(isinstance(sampler, InBatchSampler) for sampler in samplers)
        self._frequency = counts.double() / counts.sum()
        self._drawn = [
            (s.num_negatives, s.probabilities(counts)) for s in samplers if not isinstance(s, InBatchSampler)
        ]
        self._cumulative = [probabilities.double().cumsum(0) for _, probabilities in self._drawn]

    @property
    def draws(self) -> bool:
        """Whether there are negatives beside the batch's own items."""
        return bool(self._drawn)

    def draw(self, generator: torch.Generator) -> Tensor:
        """Positions of the drawn items, distinct and ascending."""
        found = []
        for (num_draws, _), cumulative in zip(self._drawn, self._cumulative, strict=True):
            uniform = torch.rand(num_draws, generator=generator, dtype=torch.float64).to(cumulative.device)
            found.append(torch.searchsorted(cumulative, uniform * cumulative[-1], right=True))
        distinct: Tensor = torch.unique(torch.cat(found).clamp_(max=len(self._frequency) - 1))
        return distinct

    def log_q(self, positions: Tensor, batch_size: int) -> Tensor:
        """Natural log of each item's probability to be among a step's negatives at least once: ln(1 - (1 - p)^n).

        One of a batch's rows is the query's own, so the others are `batch_size - 1` draws. For small p this nears
        ln(n p), the correction of Yi et al., RecSys 2019, up to a constant that a softmax does not feel; the plain
        form would over-correct items that are in nearly every batch, since here they stand there only once. An item
        that no draw can bring (in a batch of one row) is there as the query's own and counts as certain.
        """
        log_absent = torch.zeros(len(positions), dtype=torch.float64, device=positions.device)
        if self.in_batch:
            log_absent += (batch_size - 1) * _log_missed(self._frequency[positions])
        for num_draws, probabilities in self._drawn:
            log_absent += num_draws * _log_missed(probabilities[positions].double())
        log_q = (-torch.expm1(log_absent)).log()
        return torch.where(log_absent == 0, 0.0, log_q).float()


def _log_missed(probability: Tensor) -> Tensor:
    """ln(1 - p), finite where an item is all there is: no draw at all times -infinity would be NaN."""
    missed: Tensor = torch.log1p(-probability.clamp(max=1 - 1e-15))
    return missed
