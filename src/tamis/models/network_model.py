"""A model that is a network: its weights are kept as safetensors."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import nn

from tamis.models.model import Model

_WEIGHTS = "weights.safetensors"


class NetworkModel(Model):
    """A network with its schema, its settings and what `compile` chose."""

    @property
    @abstractmethod
    def network(self) -> nn.Module:
        """What is trained."""

    def save_learned(self, folder: Path) -> None:
        """Write the weights."""
        weights = {name: tensor.cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        save_file(weights, folder / _WEIGHTS)

    def load_learned(self, folder: Path) -> None:
        """Read the weights."""
        self.network.load_state_dict(load_file(folder / _WEIGHTS))
