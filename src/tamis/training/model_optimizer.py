"""A step of training: from gradients to moved weights, tables row by row and the rest densely."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tamis.training.optimizer_groups import OptimizerChoice, assigned_optimizers, dense_weights, table_weights
from tamis.training.optimizers import OptimizerSettings
from tamis.training.schedules import Schedule
from tamis.training.weight_averaging import AveragedWeights, WeightAverage, averaged_buffers


@dataclass
class _Touched:
    """Rows of one table weight, distinct, and their gradients [n, width]."""

    key: str
    weight: Tensor
    rows: Tensor
    gradient: Tensor


class ModelOptimizer:
    """Moves all parameters of a module: tables row by row, the rest densely.

    Args:
        module: what is trained.
        settings: one optimizer, or several by group, see `assigned_optimizers`.
        schedule: factors on the learning rates.
        clip_norm: gradients are scaled down so that their norm, over all parameters and touched rows together, is at
            most this.
        embedding_l2: the loss gets half of this times the squared norms of all embedding rows. A row that no step
            touches stands still meanwhile; at its next touch it gets the gradient of all the steps since the last
            one, so rare rows are held as much as frequent ones at the cost of the touched rows. As a part of the loss
            it counts in the clipped norm and goes through the optimizer's own scaling (in Adam a small gradient's L2
            is as strong as its loss); the optimizers' `weight_decay` does neither, and shrinks the dense weights too.
        average: which average of the weights to keep, if any.

    Source of the clipping: Pascanu et al., On the Difficulty of Training Recurrent Neural Networks, ICML 2013, alg. 1.
    """

    def __init__(
        self,
        module: nn.Module,
        settings: OptimizerChoice,
        *,
        schedule: Schedule | None = None,
        clip_norm: float | None = None,
        embedding_l2: float = 0.0,
        average: WeightAverage | None = None,
    ) -> None:
        self.settings, self.schedule, self.average = settings, schedule, average
        self.clip_norm, self.embedding_l2 = clip_norm, embedding_l2
        self.num_steps = 0
        self._planned = self._steps_per_epoch = 0
        self._rows: dict[str, dict[str, Tensor]] = {}
        self._l2_steps: dict[str, Tensor] = {}  # the step that gave each row its last share of `embedding_l2`
        assigned = assigned_optimizers(module, settings)
        weights = list(table_weights(module))
        self._tables = list(dict.fromkeys(tables for _, tables, _ in weights))
        keys = [f"{self._tables.index(tables)}.{width}" for _, tables, width in weights]
        self._table_settings = {key: assigned[name] for key, (name, _, _) in zip(keys, weights, strict=True)}
        dense = dense_weights(module)
        self._parameters = list(dense.values())
        self._dense: list[tuple[OptimizerSettings, torch.optim.Optimizer]] = []
        self._owners: list[torch.optim.Optimizer] = []  # of each parameter
        self._add_dense([assigned[name] for name in dense])
        self._averages: AveragedWeights | None = None
        if average is not None:
            by_key = {key: tables.weights[width].data for key, (_, tables, width) in zip(keys, weights, strict=True)}
            values = [parameter.data for parameter in self._parameters] + averaged_buffers(module)
            self._averages = AveragedWeights(average, by_key, values)

    def _add_dense(self, settings: list[OptimizerSettings]) -> None:
        for one in dict.fromkeys(settings):
            mine = [p for p, chosen in zip(self._parameters, settings, strict=True) if chosen == one]
            self._dense.append((one, one.dense(mine)))
        by_settings = dict(self._dense)
        self._owners = [by_settings[one] for one in settings]

    def plan(self, epochs: int, steps_per_epoch: int) -> None:
        """Lay the schedule and the average out over a training.

        Raises:
            SettingError: a warm-up that leaves nothing of it.
        """
        self._planned, self._steps_per_epoch = epochs * steps_per_epoch, steps_per_epoch
        _ = self.horizon

    @property
    def horizon(self) -> int | None:
        """The training's steps, if the schedule's rates depend on them."""
        return None if self.schedule is None else self.schedule.horizon(self._planned)

    def __repr__(self) -> str:
        named = {"schedule": self.schedule, "clip_norm": self.clip_norm, "average": self.average}
        named |= {"embedding_l2": self.embedding_l2 or None}
        return ", ".join([repr(self.settings), *(f"{k}={v!r}" for k, v in named.items() if v is not None)])

    @torch.no_grad()
    def step(self) -> None:
        """Apply the gradients of the last backward and drop them."""
        factor = 1.0 if self.schedule is None else self.schedule.factor(self.num_steps, self._planned)
        self.num_steps += 1
        touched = list(self._touched())
        if self.embedding_l2:
            for one in touched:
                self._add_l2(one)
        if self.clip_norm is not None:
            self._clip(touched, self.clip_norm)
        averages = self._averages if self._num_averaged else None
        if averages is not None:
            averages.begin_step()
        for one in touched:
            self._move_rows(one, factor, averages)
        for settings, optimizer in self._dense:
            _move_dense(settings, optimizer, factor)
        if averages is not None:
            averages.end_step()

    def _touched(self) -> Iterator[_Touched]:
        for i, tables in enumerate(self._tables):
            for width, (rows, gradient) in tables.row_gradients().items():
                yield _Touched(f"{i}.{width}", tables.weights[width].data, rows.long(), gradient)

    def _add_l2(self, one: _Touched) -> None:
        if one.key not in self._l2_steps:
            self._l2_steps[one.key] = torch.zeros(len(one.weight), dtype=torch.int32, device=one.weight.device)
        last = self._l2_steps[one.key]
        num_steps = (self.num_steps - last.index_select(0, one.rows)).to(one.weight.dtype)
        last.index_fill_(0, one.rows, self.num_steps)
        one.gradient.addcmul_(one.weight.index_select(0, one.rows), num_steps[:, None], value=self.embedding_l2)

    def _clip(self, touched: list[_Touched], limit: float) -> None:
        gradients = [p.grad for p in self._parameters if p.grad is not None] + [one.gradient for one in touched]
        norm = torch.nn.utils.get_total_norm(gradients)
        torch._foreach_mul_(gradients, (limit / norm).clamp(max=1.0))

    def _move_rows(self, one: _Touched, factor: float, averages: AveragedWeights | None) -> None:
        settings = _scaled(self._table_settings[one.key], factor)
        if one.key not in self._rows:
            self._rows[one.key] = settings.new_state(one.weight)
        before = None if averages is None else averages.begin_move(one.key, one.rows)
        settings.update(one.weight, self._rows[one.key], one.rows, one.gradient, self.num_steps)
        if averages is not None and before is not None:
            averages.end_move(one.key, one.rows, before)

    @property
    def _num_averaged(self) -> int:
        """Averaged steps among those that were taken."""
        if self.average is None:
            return 0
        return max(self.num_steps - (self.average.start_epoch - 1) * self._steps_per_epoch, 0)

    def averaged(self) -> AbstractContextManager[None]:
        """Inside, the module holds the weights that it is judged by: the average, where one is asked for."""
        return nullcontext() if self._averages is None else self._averages.shown(True)

    def unaveraged(self) -> AbstractContextManager[None]:
        """Inside, the module holds the weights that training goes on from."""
        return nullcontext() if self._averages is None else self._averages.shown(False)

    def keep_average(self) -> None:
        """Leave the average, where one is asked for, in the module: training is over."""
        if self._averages is not None:
            self._averages.keep()

    def state(self) -> dict[str, Tensor]:
        """Everything needed to continue, as flat tensors."""
        flat = {f"rows.{key}.{name}": t for key, state in self._rows.items() for name, t in state.items()}
        for i, (parameter, owner) in enumerate(zip(self._parameters, self._owners, strict=True)):
            state = owner.state.get(parameter, {})
            flat |= {f"dense.{i}.{name}": torch.as_tensor(value) for name, value in state.items()}
        flat |= {f"l2.{key}": steps for key, steps in self._l2_steps.items()}
        if self._averages is not None:
            flat |= {f"average.{name}": t for name, t in self._averages.state().items()}
        return {**flat, "num_steps": torch.tensor(self.num_steps)}

    def load_state(self, flat: dict[str, Tensor]) -> None:
        """Continue from what `state` gave."""
        self.num_steps = int(flat["num_steps"])
        self._rows, self._l2_steps = {}, {}
        for name, tensor in flat.items():
            kind, _, rest = name.partition(".")
            if kind == "l2":
                self._l2_steps[rest] = tensor.clone()
            elif kind == "rows":
                key, _, part = rest.rpartition(".")
                self._rows.setdefault(key, {})[part] = tensor.clone()
            elif kind == "dense":
                index, _, part = rest.partition(".")
                self._owners[int(index)].state[self._parameters[int(index)]][part] = tensor.clone()
        if self._averages is not None:
            found = {name.removeprefix("average."): t for name, t in flat.items() if name.startswith("average.")}
            self._averages.load_state(found, self._num_averaged)


def _scaled(settings: OptimizerSettings, factor: float) -> OptimizerSettings:
    return settings if factor == 1.0 else replace(settings, learning_rate=settings.learning_rate * factor)


def _move_dense(settings: OptimizerSettings, optimizer: torch.optim.Optimizer, factor: float) -> None:
    rate = settings.learning_rate * factor
    (group,) = optimizer.param_groups
    group["lr"] = rate
    if settings.weight_decay:
        moved = [parameter for parameter in group["params"] if parameter.grad is not None]
        torch._foreach_mul_(moved, 1 - rate * settings.weight_decay)
    optimizer.step()
    optimizer.zero_grad()
