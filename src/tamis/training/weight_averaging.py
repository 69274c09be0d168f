"""The average of the weights over a training's steps, at the cost of the rows that each step touches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tamis.errors import SettingError


@dataclass(frozen=True)
class WeightAverage:
    """Validate and end with the average of the weights over the steps; the training itself goes on without it.

    With a decay, step i of t weighs as decay^(t - i), and the weights add up to 1, so the weights from before the
    first step do not count. Without one all steps weigh alike. Running statistics of batch normalization are averaged
    as the weights are.

    It is the average over all steps for every row of an embedding table, at the cost of the touched rows: a row stands
    still between two touches, so the steps in between enter at the next in closed form. It doubles the memory of
    tables and checkpoints.

    Args:
        decay: between 0 and 1, or None for the plain mean.
        start_epoch: the first epoch whose steps count; epochs before it are validated without averaging.

    Source: Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992; the decay's weights as in
    Kingma and Ba, Adam, ICLR 2015, section 7.2.
    """

    decay: float | None = 0.999
    start_epoch: int = 1

    def __post_init__(self) -> None:
        if self.decay is not None and not 0 < self.decay < 1:
            raise SettingError(f"WeightAverage: decay is {self.decay}. Choose it between 0 and 1, or None.")
        if self.start_epoch < 1:
            raise SettingError(f"WeightAverage: start_epoch is {self.start_epoch}. Choose 1 or more.")

    def kept(self, before: Tensor, now: int) -> Tensor:
        """The share that the average after `before` steps has in that after `now` steps; the rest is the steps' since.

        Shapes: before [n], 0 to now; now >= 1 -> [n] float64.
        """
        before = before.double()
        if self.decay is None:
            return before / now
        log_decay = math.log(self.decay)
        share = torch.expm1(before * log_decay) / math.expm1(now * log_decay)
        return share * torch.exp((now - before) * log_decay)


class AveragedWeights:
    """The averages of a module's weights, kept beside it.

    Args:
        settings: which average.
        tables: the weights that move row by row, by name: [rows, width] each.
        dense: what moves as a whole in every step.
    """

    def __init__(self, settings: WeightAverage, tables: Mapping[str, Tensor], dense: list[Tensor]) -> None:
        self.settings, self._tables, self._dense = settings, dict(tables), dense
        self.num_steps = 0  # that are averaged
        self._rows: dict[str, Tensor] = {}
        self._until: dict[str, Tensor] = {}  # the step up to which each row's average is known
        self._means: list[Tensor] = []
        self._is_shown = False

    def begin_step(self) -> None:
        """Count one step more."""
        if not self.num_steps:
            self._rows = {key: weight.clone() for key, weight in self._tables.items()}
            self._until = {key: _steps(weight) for key, weight in self._tables.items()}
            self._means = [value.clone() for value in self._dense]
        self.num_steps += 1

    def begin_move(self, key: str, rows: Tensor) -> Tensor:
        """The rows' averages after the step before this one, until which they stood as they still do."""
        if self.num_steps == 1:
            return self._rows[key].index_select(0, rows)
        until = self._until[key].index_select(0, rows)
        return self._blended(key, rows, self._rows[key].index_select(0, rows), until, self.num_steps - 1)

    def end_move(self, key: str, rows: Tensor, averages: Tensor) -> None:
        """Let this step's values of the rows enter the averages that `begin_move` gave."""
        before = rows.new_full((1,), self.num_steps - 1)
        self._rows[key].index_copy_(0, rows, self._blended(key, rows, averages, before, self.num_steps))
        self._until[key].index_fill_(0, rows, self.num_steps)

    def end_step(self) -> None:
        """Take in this step's values of all that is dense."""
        if self._means:
            kept = float(self.settings.kept(torch.tensor(self.num_steps - 1), self.num_steps))
            torch._foreach_lerp_(self._means, self._dense, 1 - kept)

    def _blended(self, key: str, rows: Tensor, averages: Tensor, before: Tensor, now: int) -> Tensor:
        kept = self.settings.kept(before, now).to(averages.dtype)[:, None]
        return self._tables[key].index_select(0, rows).lerp_(averages, kept)

    @contextmanager
    def shown(self, averaged: bool) -> Iterator[None]:
        """Inside, the module holds the averages, or its own weights."""
        if averaged == self._is_shown or not self.num_steps:
            yield
            return
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        if not self._is_shown:
            for key, until in self._until.items():
                kept = self.settings.kept(until, self.num_steps).to(self._tables[key].dtype)[:, None]
                self._rows[key].copy_(self._tables[key].lerp(self._rows[key], kept))
                until.fill_(self.num_steps)
        for key, weight in self._tables.items():
            _swap(weight, self._rows[key])
        for value, mean in zip(self._dense, self._means, strict=True):
            _swap(value, mean)
        self._is_shown = not self._is_shown

    def keep(self) -> None:
        """Leave the averages in the module for good."""
        if self.num_steps and not self._is_shown:
            self._exchange()

    def state(self) -> dict[str, Tensor]:
        """Everything needed to continue, as flat tensors; nothing before the first averaged step."""
        assert not self._is_shown
        return {
            **{f"rows.{key}": rows for key, rows in self._rows.items()},
            **{f"until.{key}": until for key, until in self._until.items()},
            **{f"dense.{i}": mean for i, mean in enumerate(self._means)},
        }

    def load_state(self, flat: Mapping[str, Tensor], num_steps: int) -> None:
        """Continue after so many averaged steps from what `state` gave."""
        self.num_steps = num_steps
        if num_steps:
            self._rows = {key: flat[f"rows.{key}"].clone() for key in self._tables}
            self._until = {key: flat[f"until.{key}"].clone() for key in self._tables}
            self._means = [flat[f"dense.{i}"].clone() for i in range(len(self._dense))]


def averaged_buffers(module: nn.Module) -> list[Tensor]:
    """The running statistics of batch normalization: they belong to the weights."""
    return [
        buffer
        for part in module.modules()
        if isinstance(part, nn.modules.batchnorm._NormBase)
        for buffer in (part.running_mean, part.running_var)
        if buffer is not None
    ]


def _steps(weight: Tensor) -> Tensor:
    return torch.zeros(len(weight), dtype=torch.int32).to(weight.device)


def _swap(one: Tensor, other: Tensor) -> None:
    held = one.clone()
    one.copy_(other)
    other.copy_(held)
