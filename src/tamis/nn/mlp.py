"""Stacks of dense layers, described first and built when their input width is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from tamis.errors import SettingError, UnknownNameError

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


@dataclass(frozen=True)
class MLPBlock:
    """Dense layers of these widths, each followed by an activation and dropout.

    With `no_activation_last_layer` the last layer is linear, so that its outputs may have any sign: what a tower
    whose vectors meet in a dot product wants.

    Raises:
        SettingError: no width, or one below 1, or a dropout outside [0, 1).
        UnknownNameError: an activation that is not known.
    """

    dimensions: Sequence[int]
    activation: str = "relu"
    no_activation_last_layer: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "dimensions", tuple(int(width) for width in self.dimensions))
        if not self.dimensions or min(self.dimensions) < 1:
            raise SettingError(f"MLPBlock: the widths {list(self.dimensions)} must be 1 or more. Give at least one.")
        if self.activation not in ACTIVATIONS:
            raise UnknownNameError(self.activation, ACTIVATIONS, where="MLPBlock", what="activation")
        if not 0.0 <= self.dropout < 1.0:
            raise SettingError(f"MLPBlock: dropout is {self.dropout}. Choose it from 0 up to, not including, 1.")

    def build(self, width: int) -> nn.Sequential:
        """The layers for inputs of this width: [batch, width] -> [batch, dimensions[-1]]."""
        layers: list[nn.Module] = []
        for i, out_width in enumerate(self.dimensions):
            layers.append(nn.Linear(width, out_width))
            if i < len(self.dimensions) - 1 or not self.no_activation_last_layer:
                layers.append(ACTIVATIONS[self.activation]())
                if self.dropout:
                    layers.append(nn.Dropout(self.dropout))
            width = out_width
        return nn.Sequential(*layers)
