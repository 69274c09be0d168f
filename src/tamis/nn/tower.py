"""A tower: feature columns in, one vector a row out."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from tamis.nn.embeddings import EmbeddingTables
from tamis.nn.inputs import Inputs
from tamis.schema import Schema


class Tower(nn.Module):
    """The vector of each row: its `Inputs` through `layers`.

    Shapes: dict of a batch's columns, see `Inputs` -> [batch, dim]
    """

    def __init__(
        self,
        schema: Schema,
        tables: EmbeddingTables,
        *,
        layers: nn.Module | None = None,
        combiner: str = "mean",
        l2_normalization: bool = False,
    ) -> None:
        super().__init__()
        self.schema = schema
        self.inputs = Inputs(schema, tables, combiner=combiner)
        self.layers = layers or nn.Identity()
        self.l2_normalization = l2_normalization

    @property
    def tables(self) -> EmbeddingTables:
        """The tables it looks up in."""
        return self.inputs.tables

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Vectors of a batch's rows."""
        vectors: Tensor = self.layers(self.inputs(features))
        return F.normalize(vectors.float(), dim=1) if self.l2_normalization else vectors
