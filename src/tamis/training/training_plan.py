"""What `compile` chose about the training itself, the same for all models."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import nn

from tamis.errors import SettingError
from tamis.nn.precision import chosen_precision
from tamis.training.model_optimizer import ModelOptimizer
from tamis.training.optimizer_groups import (
    OptimizerChoice,
    assigned_optimizers,
    chosen_optimizer,
    describe_choice,
    described_choice,
)
from tamis.training.optimizers import OptimizerSettings
from tamis.training.schedules import Schedule, chosen_schedule, describe_schedule, described_schedule
from tamis.training.weight_averaging import WeightAverage


@dataclass(frozen=True)
class TrainingPlan:
    """Optimizers, precision, and what happens to rates, gradients and weights on the way; see `ModelOptimizer`.

    Raises:
        UnknownNameError: no precision of this name.
        SettingError: a clip_norm that is not above 0, or an embedding_l2 below 0.
    """

    optimizer: OptimizerChoice
    precision: str = "auto"
    schedule: Schedule | None = None
    clip_norm: float | None = None
    embedding_l2: float = 0.0
    average: WeightAverage | None = None

    def __post_init__(self) -> None:
        chosen_precision(self.precision, torch.device("cpu"))
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise SettingError(f"compile: clip_norm is {self.clip_norm}. Choose a number above 0, or None.")
        if not 0 <= self.embedding_l2 < math.inf:
            raise SettingError(f"compile: embedding_l2 is {self.embedding_l2}. Choose 0 or more.")

    @classmethod
    def chosen(
        cls,
        network: nn.Module,
        optimizer: str | OptimizerSettings | Mapping[str, str | OptimizerSettings],
        *,
        learning_rate: float | None,
        schedule: str | Schedule | None,
        clip_norm: float | None,
        embedding_l2: float,
        average: WeightAverage | None,
        precision: str,
        run_eagerly: bool,
    ) -> Self:
        """The plan out of `compile`'s arguments.

        Raises:
            UnknownNameError: a name that is not known.
            SettingError: a setting out of range, or weights of the network that no optimizer is given for.
        """
        chosen = chosen_optimizer(optimizer, learning_rate)
        assigned_optimizers(network, chosen)
        precision = "float32" if run_eagerly else precision
        return cls(chosen, precision, chosen_schedule(schedule), clip_norm, embedding_l2, average)

    def optimizer_of(self, network: nn.Module) -> ModelOptimizer:
        """What moves the network's weights; a new one for each training."""
        return ModelOptimizer(
            network,
            self.optimizer,
            schedule=self.schedule,
            clip_norm=self.clip_norm,
            embedding_l2=self.embedding_l2,
            average=self.average,
        )

    def describe(self) -> dict[str, Any]:
        """`compile`'s arguments as JSON can hold them."""
        return {
            "optimizer": describe_choice(self.optimizer),
            "precision": self.precision,
            "schedule": self.schedule and describe_schedule(self.schedule),
            "clip_norm": self.clip_norm,
            "embedding_l2": self.embedding_l2,
            "average": self.average and asdict(self.average),
        }


def described_plan(compiled: Mapping[str, Any]) -> dict[str, Any]:
    """Of what `compiled` gave: `compile`'s arguments again, those that are no part of the plan as they are.

    Raises:
        UnknownNameError: an optimizer or a schedule that is not known.
    """
    given = dict(compiled)
    given["optimizer"] = described_choice(given["optimizer"])
    if given.get("schedule"):  # folders of before have neither schedule nor average
        given["schedule"] = described_schedule(given["schedule"])
    if given.get("average"):
        given["average"] = WeightAverage(**given["average"])
    return given
