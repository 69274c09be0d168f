"""Optimizers: a torch one for the dense parameters, a row-wise one for the embedding tables.

The cost of a step depends on the rows that the batch touched, not on the size of the tables.

Weight decay is the decoupled one in all that have it: a step takes learning_rate * weight_decay of each dense weight,
and of each touched row, beside what the gradient does. For L2 as a part of the loss see `ModelOptimizer`.
Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019, algorithm 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tamis.errors import SettingError, UnknownNameError
from tamis.training.ftrl import FTRL


@dataclass(frozen=True)
class Adam:
    """Adam; for embedding tables a form of it whose cost follows the rows that a step touches.

    A row keeps one second moment (of its mean squared gradient) and the step that touched it last. The moment decays
    over the steps in between too, as it does where every row moves in every step; without that, rare rows take steps
    several times too small. Rows have no momentum: it would be applied at the next touch, when it is stale.

    With `row_wise=False` each number of a row has a moment of its own, as in the paper: the tables' state is then as
    large as the tables, and small tables that every batch touches, as those of a ranker, may come out a little better.

    Source: Kingma and Ba, Adam, ICLR 2015, algorithm 1; one moment per row as in Mudigere et al., ISCA 2022, 4.1.4.
    """

    learning_rate: float = 0.01
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    row_wise: bool = True

    def dense(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer of the dense parameters."""
        betas = (self.beta_1, self.beta_2)
        return torch.optim.Adam(parameters, self.learning_rate, betas, self.epsilon, fused=True)

    def new_state(self, weight: Tensor) -> dict[str, Tensor]:
        """Second moments [rows, 1 or width] and last step of every row."""
        num_rows, width = weight.shape
        return {
            "square": weight.new_zeros(num_rows, 1 if self.row_wise else width),
            "step": torch.zeros(num_rows, dtype=torch.int32).to(weight.device),
        }

    def update(self, weight: Tensor, state: dict[str, Tensor], rows: Tensor, gradient: Tensor, step: int) -> None:
        """Move the touched rows: rows [n], distinct; gradient [n, width]."""
        values = weight.index_select(0, rows)
        if self.weight_decay:
            values.mul_(1 - self.learning_rate * self.weight_decay)
        num_steps = step - state["step"].index_select(0, rows)
        squares = gradient.square()
        squares = squares.mean(dim=1, keepdim=True) if self.row_wise else squares
        square = state["square"].index_select(0, rows).mul_((self.beta_2 ** num_steps.float())[:, None])
        square.add_(squares, alpha=1 - self.beta_2)
        state["step"].index_fill_(0, rows, step)
        state["square"].index_copy_(0, rows, square)
        size = (square / (1 - self.beta_2**step)).sqrt_().add_(self.epsilon)
        weight.index_copy_(0, rows, values.addcdiv_(gradient, size, value=-self.learning_rate))


@dataclass(frozen=True)
class Adagrad:
    """Adagrad; an embedding row shares one accumulator (row-wise).

    Source: Duchi et al., JMLR 2011; one accumulator per row as in Mudigere et al., ISCA 2022, section 4.1.4.
    """

    learning_rate: float = 0.05
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def dense(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer of the dense parameters."""
        return torch.optim.Adagrad(parameters, self.learning_rate, eps=self.epsilon)

    def new_state(self, weight: Tensor) -> dict[str, Tensor]:
        """Sum of the mean squared gradients of every row."""
        return {"square": weight.new_zeros(len(weight))}

    def update(self, weight: Tensor, state: dict[str, Tensor], rows: Tensor, gradient: Tensor, step: int) -> None:
        """Move the touched rows: rows [n], distinct; gradient [n, width]."""
        values = weight.index_select(0, rows)
        if self.weight_decay:
            values.mul_(1 - self.learning_rate * self.weight_decay)
        square = state["square"].index_select(0, rows).add_(gradient.square().mean(dim=1))
        state["square"].index_copy_(0, rows, square)
        values.addcdiv_(gradient, square.sqrt_().add_(self.epsilon)[:, None], value=-self.learning_rate)
        weight.index_copy_(0, rows, values)


@dataclass(frozen=True)
class SGD:
    """Plain gradient descent."""

    learning_rate: float = 0.1
    weight_decay: float = 0.0

    def dense(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer of the dense parameters."""
        return torch.optim.SGD(parameters, self.learning_rate)

    def new_state(self, weight: Tensor) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def update(self, weight: Tensor, state: dict[str, Tensor], rows: Tensor, gradient: Tensor, step: int) -> None:
        """Move the touched rows: rows [n], distinct; gradient [n, width]."""
        values = weight.index_select(0, rows)
        if self.weight_decay:
            values.mul_(1 - self.learning_rate * self.weight_decay)
        weight.index_copy_(0, rows, values.sub_(gradient, alpha=self.learning_rate))


OptimizerSettings = Adam | Adagrad | SGD | FTRL

OPTIMIZERS: dict[str, type[OptimizerSettings]] = {"adam": Adam, "adagrad": Adagrad, "sgd": SGD, "ftrl": FTRL}


def optimizer_settings(optimizer: str | OptimizerSettings, learning_rate: float | None = None) -> OptimizerSettings:
    """The settings of an optimizer given by name, or as they are.

    Raises:
        UnknownNameError: no optimizer of this name.
        SettingError: a learning rate that is not above 0, or one given beside finished settings.
    """
    if isinstance(optimizer, str):
        if optimizer.lower() not in OPTIMIZERS:
            raise UnknownNameError(optimizer, OPTIMIZERS, where="compile", what="optimizer")
        kind = OPTIMIZERS[optimizer.lower()]
        optimizer = kind() if learning_rate is None else kind(learning_rate=learning_rate)
    elif learning_rate is not None:
        raise SettingError(f"compile: learning_rate={learning_rate} beside {optimizer!r}. Set it inside the optimizer.")
    if not optimizer.learning_rate > 0:
        raise SettingError(f"compile: the learning rate is {optimizer.learning_rate}. Choose one above 0.")
    return optimizer


def describe_optimizer(settings: OptimizerSettings) -> dict[str, Any]:
    """The settings as JSON can hold them."""
    return {"name": type(settings).__name__.lower(), **asdict(settings)}


def described_optimizer(described: Mapping[str, Any]) -> OptimizerSettings:
    """The settings that `describe_optimizer` described.

    Raises:
        UnknownNameError: no optimizer of this name.
    """
    name = described["name"]
    if name not in OPTIMIZERS:
        raise UnknownNameError(name, OPTIMIZERS, where="optimizer", what="optimizer")
    return OPTIMIZERS[name](**{key: value for key, value in described.items() if key != "name"})
