"""A model that is a network: its weights are kept as safetensors."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import nn

from tamis.errors import SettingError
from tamis.models.model import Model
from tamis.nn.embeddings import EmbeddingTables

_WEIGHTS = "weights.safetensors"


class NetworkModel(Model):
    """A network with its schema, its settings and what `compile` chose."""

    @property
    @abstractmethod
    def network(self) -> nn.Module:
        """What is trained."""

    def start_from(self, model: NetworkModel) -> list[str]:
        """Take over another model's embeddings before `fit`: of a ranker from the retrieval model, say.

        Returns: the tables that both have with the same number of rows and the same width.

        Raises:
            SettingError: there is none.
        """
        tables, others = self.network.tables, model.network.tables
        assert isinstance(tables, EmbeddingTables)
        assert isinstance(others, EmbeddingTables)
        found = tables.copy_from(others)
        if not found:
            raise SettingError(
                f"{type(self).__name__}.start_from: no table of {type(model).__name__} has the name, rows and width of "
                f"one of {list(tables.tables)} here. Encode both with one workflow, and give both the same "
                "embedding_options."
            )
        return found

    def save_learned(self, folder: Path) -> None:
        """Write the weights."""
        weights = {name: tensor.cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        save_file(weights, folder / _WEIGHTS)

    def load_learned(self, folder: Path) -> None:
        """Read the weights."""
        self.network.load_state_dict(load_file(folder / _WEIGHTS))
