"""FTRL-Proximal: gradient descent with a rate per weight, and weights that are exactly 0 until they are worth it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from tamis.errors import SettingError


@dataclass(frozen=True)
class FTRL:
    """FTRL-Proximal, the classical optimizer of wide linear parts; three numbers of state per weight.

    Without `l1` and `l2` it is gradient descent whose rate for a weight is learning_rate / (beta + root of the sum of
    its squared gradients). It starts from the weights as they are, and follows a schedule of the rate.

    Args:
        learning_rate: see above.
        beta: see above.
        l1: a weight stays 0 while the sum of its gradients is below this.
        l2: pulls weights towards 0.

    Raises:
        SettingError: beta, l1 or l2 below 0.

    Source: McMahan et al., Ad Click Prediction: a View from the Trenches, KDD 2013, algorithm 1 and section 3.1.
    """

    learning_rate: float = 0.1
    beta: float = 1.0
    l1: float = 0.0
    l2: float = 0.0
    weight_decay: ClassVar[float] = 0.0  # l2 is its own

    def __post_init__(self) -> None:
        for name in ("beta", "l1", "l2"):
            if not getattr(self, name) >= 0:
                raise SettingError(f"FTRL: {name} is {getattr(self, name)}. Choose 0 or more.")

    def dense(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """The optimizer of the dense parameters."""
        return _DenseFTRL(parameters, self)

    def new_state(self, weight: Tensor) -> dict[str, Tensor]:
        """Of every weight: the sum that it is made of, its squared gradients' sum, and 1 / rate of its last step."""
        return {name: torch.zeros_like(weight) for name in ("sum", "square", "inverse_rate")}

    def update(self, weight: Tensor, state: dict[str, Tensor], rows: Tensor, gradient: Tensor, step: int) -> None:
        """Move the touched rows: rows [n], distinct; gradient [n, width]."""
        values = weight.index_select(0, rows)
        part = {name: tensor.index_select(0, rows) for name, tensor in state.items()}
        self.move(values, part, gradient, self.learning_rate)
        weight.index_copy_(0, rows, values)
        for name, tensor in part.items():
            state[name].index_copy_(0, rows, tensor)

    def move(self, weight: Tensor, state: dict[str, Tensor], gradient: Tensor, rate: float) -> None:
        """Move weights and state in place; tensors of one shape."""
        if rate == 0:  # the end of a schedule
            return
        state["square"].addcmul_(gradient, gradient)
        inverse_rate = state["square"].sqrt().add_(self.beta).div_(rate)
        state["sum"].add_(gradient).addcmul_(inverse_rate - state["inverse_rate"], weight, value=-1)
        state["inverse_rate"].copy_(inverse_rate)
        shrunk = nn.functional.softshrink(state["sum"], self.l1)
        # A weight that never had a gradient may have a rate without bound if beta is 0: it stays.
        weight.copy_(torch.where(inverse_rate > 0, -shrunk / (inverse_rate + self.l2), weight))


class _DenseFTRL(torch.optim.Optimizer):
    def __init__(self, parameters: Iterable[nn.Parameter], settings: FTRL) -> None:
        super().__init__(parameters, {"lr": settings.learning_rate})
        self._settings = settings

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override] # nobody hands a closure
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    state = self.state[weight]
                    if not state:
                        state.update(self._settings.new_state(weight))
                    self._settings.move(weight, state, weight.grad, group["lr"])
