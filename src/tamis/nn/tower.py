"""A tower: feature columns in, one vector a row out."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from tamis.nn.embeddings import EmbeddingTables
from tamis.nn.inputs import Inputs
from tamis.nn.item_bias import BiasTaker, ItemBias
from tamis.schema import Schema


class Tower(nn.Module):
    """The vector of each row: its `Inputs` through `layers`, to length 1 if asked, with the coordinate of `bias` last.

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
        bias: ItemBias | BiasTaker | None = None,
    ) -> None:
        super().__init__()
        self.schema = schema
        self.inputs = Inputs(schema, tables, combiner=combiner)
        self.layers = layers or nn.Identity()
        self.l2_normalization = l2_normalization
        self.bias = bias

    @property
    def tables(self) -> EmbeddingTables:
        """The tables it looks up in."""
        return self.inputs.tables

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Vectors of a batch's rows."""
        vectors: Tensor = self.layers(self.inputs(features))
        if self.l2_normalization:
            vectors = F.normalize(vectors.float(), dim=1)
        return vectors if self.bias is None else self.bias(vectors, features)
