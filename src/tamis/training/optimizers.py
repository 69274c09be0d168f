"""Optimizers: a torch one for the dense parameters, a row-wise one for the embedding tables.

The cost of a step depends on the rows that the batch touched, not on the size of the tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tamis.errors import SettingError, UnknownNameError
from tamis.nn.embeddings import EmbeddingTables


@dataclass(frozen=True)
class Adam:
    """Adam; for embedding tables a form of it whose cost follows the rows that a step touches.

    A row keeps one second moment (of its mean squared gradient) and the step that touched it last. The moment decays
    over the steps in between too, as it does where every row moves in every step; without that, rare rows take steps
    several times too small. Rows have no momentum: it would be applied at the next touch, when it is stale.

    Source: Kingma and Ba, Adam, ICLR 2015, algorithm 1; one moment per row as in Mudigere et al., ISCA 2022, 4.1.4.
    """

    learning_rate: float = 0.01
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def dense(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer of the dense parameters."""
        betas = (self.beta_1, self.beta_2)
        return torch.optim.Adam(parameters, self.learning_rate, betas, self.epsilon, self.weight_decay, fused=True)

    def new_state(self, weight: Tensor) -> dict[str, Tensor]:
        """Second moment and last step of every row."""
        num_rows = len(weight)
        return {
            "square": weight.new_zeros(num_rows),
            "step": torch.zeros(num_rows, dtype=torch.int32).to(weight.device),
        }

    def update(self, weight: Tensor, state: dict[str, Tensor], rows: Tensor, gradient: Tensor, step: int) -> None:
        """Move the touched rows: rows [n], distinct; gradient [n, width]."""
        values = weight.index_select(0, rows)
        gradient = gradient.add(values, alpha=self.weight_decay) if self.weight_decay else gradient
        num_steps = step - state["step"].index_select(0, rows)
        square = state["square"].index_select(0, rows).mul_(self.beta_2 ** num_steps.float())
        square.add_(gradient.square().mean(dim=1), alpha=1 - self.beta_2)
        state["step"].index_fill_(0, rows, step)
        state["square"].index_copy_(0, rows, square)
        size = (square / (1 - self.beta_2**step)).sqrt_().add_(self.epsilon)
        weight.index_copy_(0, rows, values.addcdiv_(gradient, size[:, None], value=-self.learning_rate))


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
        return torch.optim.Adagrad(parameters, self.learning_rate, weight_decay=self.weight_decay, eps=self.epsilon)

    def new_state(self, weight: Tensor) -> dict[str, Tensor]:
        """Sum of the mean squared gradients of every row."""
        return {"square": weight.new_zeros(len(weight))}

    def update(self, weight: Tensor, state: dict[str, Tensor], rows: Tensor, gradient: Tensor, step: int) -> None:
        """Move the touched rows: rows [n], distinct; gradient [n, width]."""
        values = weight.index_select(0, rows)
        gradient = gradient.add(values, alpha=self.weight_decay) if self.weight_decay else gradient
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
        return torch.optim.SGD(parameters, self.learning_rate, weight_decay=self.weight_decay)

    def new_state(self, weight: Tensor) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def update(self, weight: Tensor, state: dict[str, Tensor], rows: Tensor, gradient: Tensor, step: int) -> None:
        """Move the touched rows: rows [n], distinct; gradient [n, width]."""
        values = weight.index_select(0, rows)
        gradient = gradient.add(values, alpha=self.weight_decay) if self.weight_decay else gradient
        weight.index_copy_(0, rows, values.sub_(gradient, alpha=self.learning_rate))


OptimizerSettings = Adam | Adagrad | SGD

OPTIMIZERS: dict[str, type[OptimizerSettings]] = {"adam": Adam, "adagrad": Adagrad, "sgd": SGD}


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


class ModelOptimizer:
    """Moves all parameters of a module: tables row by row, the rest densely."""

    def __init__(self, module: nn.Module, settings: OptimizerSettings) -> None:
        self.settings = settings
        self.num_steps = 0
        self._tables = [part for part in module.modules() if isinstance(part, EmbeddingTables)]
        dense = [p for p in module.parameters() if p.requires_grad]
        self._dense = settings.dense(dense) if dense else None
        self._parameters = dense
        self._rows: dict[str, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self) -> None:
        """Apply the gradients of the last backward and drop them."""
        self.num_steps += 1
        for key, weight, rows, gradient in self._touched():
            if key not in self._rows:
                self._rows[key] = self.settings.new_state(weight)
            self.settings.update(weight, self._rows[key], rows.long(), gradient, self.num_steps)
        if self._dense is not None:
            self._dense.step()
            self._dense.zero_grad()

    def _touched(self) -> Iterator[tuple[str, Tensor, Tensor, Tensor]]:
        for i, tables in enumerate(self._tables):
            for width, (rows, gradient) in tables.row_gradients().items():
                yield f"{i}.{width}", tables.weights[width].data, rows, gradient

    def state(self) -> dict[str, Tensor]:
        """Everything needed to continue, as flat tensors."""
        flat = {f"rows.{key}.{name}": t for key, state in self._rows.items() for name, t in state.items()}
        if self._dense is not None:
            for i, parameter in enumerate(self._parameters):
                state = self._dense.state.get(parameter, {})
                flat |= {f"dense.{i}.{name}": torch.as_tensor(value) for name, value in state.items()}
        return {**flat, "num_steps": torch.tensor(self.num_steps)}

    def load_state(self, flat: dict[str, Tensor]) -> None:
        """Continue from what `state` gave."""
        self.num_steps = int(flat["num_steps"])
        self._rows = {}
        for name, tensor in flat.items():
            kind, _, rest = name.partition(".")
            if kind == "rows":
                key, _, part = rest.rpartition(".")
                self._rows.setdefault(key, {})[part] = tensor.clone()
            elif kind == "dense" and self._dense is not None:
                index, _, part = rest.partition(".")
                self._dense.state[self._parameters[int(index)]][part] = tensor.clone()
