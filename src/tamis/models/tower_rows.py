"""A tower over the rows of a dataset: vectors in order, or a frame of ids and vectors."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl
import torch
from torch import Tensor

from tamis.data.batch import Batch
from tamis.data.dataset import Dataset
from tamis.data.frame_batches import frame_batches
from tamis.data.loader import Loader
from tamis.data.unique_rows import first_rows
from tamis.errors import SchemaError
from tamis.models.query_tensors import query_tensors
from tamis.nn.tower import Tower
from tamis.schema import ColumnSchema, Schema


def encode_rows(tower: Tower, rows: Dataset | pl.DataFrame, *, batch_size: int = 4096) -> Tensor:
    """Vectors of all rows, in order, on the CPU: [rows, dim] float32."""
    if isinstance(rows, pl.DataFrame) and len(rows) == 1 and _is_plain(rows, tower.schema):
        row = query_tensors(rows.row(0, named=True), tower.schema, where="Encoder")
        return _encoded(tower, [Batch(row, {})])
    if isinstance(rows, pl.DataFrame) and len(rows):
        return _encoded(tower, frame_batches(rows, tower.schema, batch_size))
    columns = tower.schema.column_names
    return _encoded(tower, Loader(Dataset(rows), batch_size, shuffle=False, columns=columns, targets=()))


def _is_plain(row: pl.DataFrame, schema: Schema) -> bool:
    """Whether a row holds whole numbers and fractions alone, which make tensors without a detour."""
    return all(name in row.columns and type(row[name][0]) in (int, float) for name in schema.column_names)


@torch.inference_mode()
def _encoded(tower: Tower, batches: Iterable[Batch]) -> Tensor:
    device = tower.tables.device
    was_training = tower.training
    tower.eval()
    vectors = [tower(batch.to(device).features).float().cpu() for batch in batches]
    tower.train(was_training)
    return torch.cat(vectors)


def with_vectors(frame: pl.DataFrame, vectors: Tensor) -> pl.DataFrame:
    """The frame with one column per dimension added: "0", "1", ..."""
    columns = vectors.T.contiguous().numpy()
    return frame.with_columns(pl.Series(str(i), column) for i, column in enumerate(columns))


def unique_rows(dataset: Dataset, schema: Schema, id_tag: str) -> Dataset:
    """The schema's columns in memory, first row per id; all rows where the schema has no such id."""
    rows = dataset.select(schema).scan()
    ids = schema.select_by_tag(id_tag)
    chosen = Dataset(first_rows(rows, ids.first.name) if len(ids) else rows, schema=schema)
    return Dataset(chosen.compute(), schema=schema)


def tower_embeddings(tower: Tower, dataset: Dataset, id_tag: str, index: str | None, batch_size: int) -> Dataset:
    """One row per id: the tower's columns, or only those tagged `index`, then "0", "1", ...

    Raises:
        SchemaError: no column carries the tag `index`.
    """
    rows = unique_rows(dataset, tower.schema, id_tag)
    vectors = encode_rows(tower, rows, batch_size=batch_size)
    kept = tower.schema if index is None else tower.schema.select_by_tag(index)
    if not len(kept):
        raise SchemaError(
            f"embeddings: no column of {tower.schema.column_names} is tagged {str(index)!r}. Give index={id_tag!s}, or "
            "none for all columns."
        )
    frame = with_vectors(rows.compute().select(kept.column_names), vectors)
    numbers = Schema(ColumnSchema(str(i), "float32") for i in range(vectors.shape[1]))
    return Dataset(frame, schema=kept + numbers)
