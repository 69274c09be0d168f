"""Learning rates that change while a training runs: a factor on every optimizer's rate, step by step."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tamis.errors import SettingError, UnknownNameError


@dataclass(frozen=True)
class Schedule(ABC):
    """Warms up first: step i of the first `warm_up_steps` has i / warm_up_steps of the rate. Subclasses say what then.

    Source of the warm-up: Goyal et al., Accurate, Large Minibatch SGD, 2017, section 2.2.
    """

    warm_up_steps: int = 0

    def __post_init__(self) -> None:
        if self.warm_up_steps < 0:
            raise SettingError(f"{type(self).__name__}: warm_up_steps is {self.warm_up_steps}. Choose 0 or more.")

    def factor(self, done: int, num_steps: int) -> float:
        """What the rate is multiplied by in the step after `done` steps, in a training of `num_steps`."""
        if done < self.warm_up_steps:
            return (done + 1) / self.warm_up_steps
        return self._after_warm_up(done - self.warm_up_steps, num_steps - self.warm_up_steps)

    def horizon(self, num_steps: int) -> int | None:
        """The training's length if the factors depend on it.

        Raises:
            SettingError: the warm-up leaves nothing of it.
        """
        return None

    @abstractmethod
    def _after_warm_up(self, done: int, num_steps: int) -> float:
        """The factor; both numbers count from the end of the warm-up."""


@dataclass(frozen=True)
class ConstantSchedule(Schedule):
    """The full rate after the warm-up."""

    def _after_warm_up(self, done: int, num_steps: int) -> float:
        return 1.0


@dataclass(frozen=True)
class ExponentialSchedule(Schedule):
    """Falls by `factor_per_period` in every `period_steps` steps: evenly, or at their end with `staircase`."""

    factor_per_period: float = 0.5
    period_steps: int = 1000
    staircase: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.factor_per_period <= 1:
            raise SettingError(
                f"ExponentialSchedule: factor_per_period is {self.factor_per_period}. Choose it above 0, up to 1."
            )
        if self.period_steps < 1:
            raise SettingError(f"ExponentialSchedule: period_steps is {self.period_steps}. Choose 1 or more.")

    def _after_warm_up(self, done: int, num_steps: int) -> float:
        periods = done // self.period_steps if self.staircase else done / self.period_steps
        return float(self.factor_per_period**periods)


@dataclass(frozen=True)
class _FallingSchedule(Schedule):
    end: float = 0.0
    num_steps: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.end <= 1:
            raise SettingError(f"{type(self).__name__}: end is {self.end}. Choose it from 0 to 1.")
        if self.num_steps is not None and self.num_steps <= self.warm_up_steps:
            raise SettingError(
                f"{type(self).__name__}: the warm-up of {self.warm_up_steps} steps leaves nothing of num_steps="
                f"{self.num_steps}. Make it shorter."
            )

    def factor(self, done: int, num_steps: int) -> float:
        return super().factor(done, self.num_steps or num_steps)

    def horizon(self, num_steps: int) -> int | None:
        if self.num_steps is not None:
            return None
        if num_steps <= self.warm_up_steps:
            raise SettingError(
                f"fit: the warm-up of {self.warm_up_steps} steps leaves nothing of a training of {num_steps}. Make "
                "warm_up_steps smaller, or train longer."
            )
        return num_steps

    def _after_warm_up(self, done: int, num_steps: int) -> float:
        return self.end + (1 - self.end) * self._left(min(done / num_steps, 1.0))

    @abstractmethod
    def _left(self, progress: float) -> float:
        """What is left of the fall's height: 1 at progress 0, 0 at progress 1."""


@dataclass(frozen=True)
class LinearSchedule(_FallingSchedule):
    """Falls in a straight line, from the full rate after the warm-up to `end` of it after the last step.

    Args:
        warm_up_steps: see `Schedule`.
        end: the last factor; later steps keep it.
        num_steps: where the fall ends, warm-up included; by default at the end of what `fit` was asked for. Give it if
            a resumed training shall have more epochs than the first.
    """

    def _left(self, progress: float) -> float:
        return 1 - progress


@dataclass(frozen=True)
class CosineSchedule(_FallingSchedule):
    """Falls along half a cosine wave; arguments as in `LinearSchedule`.

    Source: Loshchilov and Hutter, SGDR, ICLR 2017, eq. 5, without restarts.
    """

    def _left(self, progress: float) -> float:
        return (1 + math.cos(math.pi * progress)) / 2


SCHEDULES: dict[str, type[Schedule]] = {
    "constant": ConstantSchedule,
    "cosine": CosineSchedule,
    "exponential": ExponentialSchedule,
    "linear": LinearSchedule,
}


def chosen_schedule(schedule: str | Schedule | None) -> Schedule | None:
    """A schedule given by name, or as it is.

    Raises:
        UnknownNameError: no schedule of this name.
    """
    if not isinstance(schedule, str):
        return schedule
    if schedule.lower() not in SCHEDULES:
        raise UnknownNameError(schedule, SCHEDULES, where="compile", what="schedule")
    return SCHEDULES[schedule.lower()]()


def describe_schedule(schedule: Schedule) -> dict[str, Any]:
    """The schedule as JSON can hold it."""
    name = next(name for name, kind in SCHEDULES.items() if type(schedule) is kind)
    return {"name": name, **asdict(schedule)}


def described_schedule(described: Mapping[str, Any]) -> Schedule:
    """The schedule that `describe_schedule` described.

    Raises:
        UnknownNameError: no schedule of this name.
    """
    if described["name"] not in SCHEDULES:
        raise UnknownNameError(described["name"], SCHEDULES, where="schedule", what="schedule")
    return SCHEDULES[described["name"]](**{key: value for key, value in described.items() if key != "name"})
