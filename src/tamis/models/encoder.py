"""One tower on its own: what a server or a batch job needs to turn features into vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tamis.data.dataset import Dataset
from tamis.folders import read_json, read_manifest, saving, write_json
from tamis.models.tower_rows import encode_rows
from tamis.nn.embeddings import EmbeddingOptions, EmbeddingTables
from tamis.nn.inputs import input_width, split_inputs
from tamis.nn.item_bias import BiasTaker, ItemBias
from tamis.nn.mlp import MLPBlock
from tamis.nn.tower import Tower
from tamis.schema import Schema, Tags

KIND = "encoder"
VERSION = 1


class Encoder(nn.Module):
    """A tower with the embedding tables it needs.

    Args:
        schema: of the input columns.
        options: of the embeddings.
        mlp: the layers; None gives the inputs themselves.
        l2_normalization: scale vectors to length 1.
        item_bias: the vectors end with an item's bias, or on the query's side with a 1, see `ItemBias`.
    """

    def __init__(
        self,
        schema: Schema,
        options: EmbeddingOptions,
        mlp: MLPBlock | None,
        *,
        l2_normalization: bool = False,
        item_bias: bool = False,
    ) -> None:
        super().__init__()
        self.schema, self.options, self.mlp, self.l2_normalization = schema, options, mlp, l2_normalization
        with torch.random.fork_rng(devices=[]):  # its first weights are replaced: nobody's random numbers move on
            self.tables = EmbeddingTables(split_inputs(schema)[0], options)
            self.tower = build_tower(
                schema, self.tables, options, mlp, l2_normalization=l2_normalization, item_bias=item_bias
            )

    @classmethod
    def from_tower(cls, tower: Tower, options: EmbeddingOptions, mlp: MLPBlock | None) -> Encoder:
        """A copy of a model's tower, on the CPU."""
        has_bias = tower.bias is not None
        encoder = cls(tower.schema, options, mlp, l2_normalization=tower.l2_normalization, item_bias=has_bias)
        encoder.tower.load_state_dict(tower.state_dict())
        for name in encoder.tables.tables:
            encoder.tables.vectors_of(name).copy_(tower.tables.vectors_of(name))
        return encoder.eval()

    @property
    def has_item_bias(self) -> bool:
        """Whether vectors end with the coordinate of an item's bias."""
        return self.tower.bias is not None

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Vectors of a batch: [batch, dim]."""
        return self.tower(features)  # type: ignore[no-any-return] # torch leaves modules untyped

    def encode(self, data: Any, *, batch_size: int = 4096) -> Tensor:
        """Vectors of a dataset's or frame's rows, in their order: [rows, dim] float32.

        Raises:
            UnknownColumnError: an input column is missing.
            SettingError: a code outside its column's categories.
        """
        rows = data if isinstance(data, pl.DataFrame) else Dataset(data)
        return encode_rows(self.tower, rows, batch_size=batch_size)

    def save(self, path: str | Path) -> None:
        """Write the encoder as a folder of JSON and safetensors."""
        settings = {
            "options": vars(self.options),
            "mlp": None if self.mlp is None else vars(self.mlp),
            "l2_normalization": self.l2_normalization,
            "item_bias": self.has_item_bias,
        }
        with saving(path, kind=KIND, version=VERSION) as folder:
            write_json(folder / "encoder.json", settings)
            self.schema.save(folder)
            save_file({name: t.contiguous() for name, t in self.state_dict().items()}, folder / "weights.safetensors")

    @classmethod
    def load(cls, path: str | Path) -> Encoder:
        """Read what `save` wrote.

        Raises:
            FormatError: no such folder, another kind, changed files, or a newer version.
        """
        folder = Path(path)
        read_manifest(folder, kind=KIND, version=VERSION)
        settings = {"item_bias": False, **read_json(folder / "encoder.json")}  # the first folders did not know it
        layers, options = settings.pop("mlp"), EmbeddingOptions(**settings.pop("options"))
        encoder = cls(Schema.load(folder), options, None if layers is None else MLPBlock(**layers), **settings)
        encoder.load_state_dict(load_file(folder / "weights.safetensors"))
        return encoder.eval()

    def to_onnx(self, path: str | Path) -> Path:
        """Write the encoder as an ONNX file: inputs by feature name, [batch] each; output `vector` [batch, dim]."""
        from tamis.models.onnx_export import export_encoder

        return export_encoder(self, Path(path))


def build_tower(
    schema: Schema,
    tables: EmbeddingTables,
    options: EmbeddingOptions,
    mlp: MLPBlock | None,
    *,
    l2_normalization: bool,
    item_bias: bool,
) -> Tower:
    """A tower whose layers fit its inputs."""
    layers = None if mlp is None else mlp.build(input_width(schema, options))
    item = schema.select_by_tag(Tags.ITEM_ID)
    bias = (ItemBias(item.first) if len(item) else BiasTaker()) if item_bias else None
    return Tower(schema, tables, layers=layers, combiner=options.combiner, l2_normalization=l2_normalization, bias=bias)
