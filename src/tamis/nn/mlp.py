"""Stacks of dense layers, described first and built when their input width is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from tamis.errors import SettingError, UnknownNameError

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


class BatchNorm(nn.BatchNorm1d):
    """Shift and scale each number to mean 0 and variance 1 over the batch, in training; else by running statistics.

    One row has no variance: a batch of one (the last of an epoch may be) takes the running statistics in training
    too, and does not move them.

    Shapes: [batch, width] -> [batch, width]
    Source: Ioffe and Szegedy, Batch Normalization, ICML 2015, algorithm 1 and 2.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The batch with its statistics taken out."""
        if self.training and len(x) == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


NORMALIZATIONS: dict[str, type[nn.Module]] = {"batch": BatchNorm, "layer": nn.LayerNorm}


@dataclass(frozen=True)
class MLPBlock:
    """Dense layers of these widths, each followed by a normalization if asked, an activation and dropout.

    With `no_activation_last_layer` the last layer is linear and nothing follows it, so that its outputs may have any
    sign: what a tower whose vectors meet in a dot product wants.

    Args:
        dimensions: widths of the layers.
        activation: one of `ACTIVATIONS`.
        no_activation_last_layer: see above.
        dropout: share of the outputs that training drops.
        normalization: `"batch"`, see `BatchNorm`; `"layer"`, over each row's own numbers (Ba et al., Layer
            Normalization, 2016, eq. 3); or None.

    Raises:
        SettingError: no width, or one below 1, or a dropout outside [0, 1).
        UnknownNameError: an activation or a normalization that is not known.
    """

    dimensions: Sequence[int]
    activation: str = "relu"
    no_activation_last_layer: bool = False
    dropout: float = 0.0
    normalization: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "dimensions", tuple(int(width) for width in self.dimensions))
        if not self.dimensions or min(self.dimensions) < 1:
            raise SettingError(f"MLPBlock: the widths {list(self.dimensions)} must be 1 or more. Give at least one.")
        if self.activation not in ACTIVATIONS:
            raise UnknownNameError(self.activation, ACTIVATIONS, where="MLPBlock", what="activation")
        if self.normalization is not None and self.normalization not in NORMALIZATIONS:
            raise UnknownNameError(self.normalization, NORMALIZATIONS, where="MLPBlock", what="normalization")
        if not 0.0 <= self.dropout < 1.0:
            raise SettingError(f"MLPBlock: dropout is {self.dropout}. Choose it from 0 up to, not including, 1.")

    def build(self, width: int) -> nn.Sequential:
        """The layers for inputs of this width: [batch, width] -> [batch, dimensions[-1]]."""
        layers: list[nn.Module] = []
        for i, out_width in enumerate(self.dimensions):
            layers.append(nn.Linear(width, out_width))
            if i < len(self.dimensions) - 1 or not self.no_activation_last_layer:
                if self.normalization is not None:
                    layers.append(NORMALIZATIONS[self.normalization](out_width))
                layers.append(ACTIVATIONS[self.activation]())
                if self.dropout:
                    layers.append(nn.Dropout(self.dropout))
            width = out_width
        return nn.Sequential(*layers)
