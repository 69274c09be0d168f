"""The items that a retrieval model knows: features, how often each was seen, and its place in the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from torch import Tensor

from tamis.data.dataset import Dataset
from tamis.data.loader import Loader
from tamis.data.unique_rows import first_rows
from tamis.schema import Schema, Tags

COUNT = "__count"


@dataclass(frozen=True)
class Catalogue:
    """Items as a model sees them: ids [items] ascending, counts [items] of training rows, vectors [items, dim]."""

    ids: np.ndarray[Any, Any]
    counts: np.ndarray[Any, Any]
    vectors: np.ndarray[Any, Any]

    def select(self, keep: np.ndarray[Any, Any]) -> Catalogue:
        """The items for which `keep` [items] is true."""
        return Catalogue(self.ids[keep], self.counts[keep], self.vectors[keep])


class ItemTable:
    """One row per item, ascending by id, so that the smaller position is the smaller id.

    Args:
        frame: the item columns and `__count`, the rows of training data that hold the item.
        schema: of the item columns.
    """

    def __init__(self, frame: pl.DataFrame, schema: Schema) -> None:
        self.schema = schema
        self.id_column: str = schema.select_by_tag(Tags.ITEM_ID).first.name
        self.frame = frame.sort(self.id_column)
        self.ids: np.ndarray[Any, Any] = self.frame[self.id_column].to_numpy()
        self.counts: np.ndarray[Any, Any] = self.frame[COUNT].to_numpy()

    @classmethod
    def from_dataset(cls, dataset: Dataset, schema: Schema, more: Dataset | None = None) -> ItemTable:
        """The distinct items of interaction data, each with the features of its first row.

        Items that only `more` holds come with its features and a count of 0.
        """
        id_column = schema.select_by_tag(Tags.ITEM_ID).first.name
        rows = dataset.scan().select(schema.column_names)
        counts = rows.group_by(id_column).agg(pl.len().cast(pl.Int64).alias(COUNT))
        features, counted = pl.collect_all([first_rows(rows, id_column), counts], engine="streaming")
        table = features.join(counted, on=id_column, how="left")
        if more is not None:
            dtypes = [pl.col(name).cast(dtype) for name, dtype in features.schema.items()]
            others = first_rows(more.select(schema.column_names).scan().select(dtypes), id_column)
            unseen = others.join(features.lazy(), on=id_column, how="anti").collect(engine="streaming")
            table = pl.concat([table, unseen.with_columns(pl.lit(0, pl.Int64).alias(COUNT))])
        return cls(table, schema)

    def __len__(self) -> int:
        return len(self.frame)

    def positions(self, ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Rows of these ids; -1 for ids that are not in the table."""
        found = np.searchsorted(self.ids, ids).clip(max=len(self.ids) - 1)
        return np.where(self.ids[found] == ids, found, -1)

    def dataset(self) -> Dataset:
        """The items as a Dataset of their features."""
        return Dataset(self.frame.lazy().select(self.schema.column_names), schema=self.schema)

    def features(self) -> dict[str, Tensor]:
        """All items' features as tensors: [items]."""
        loader = Loader(self.dataset(), batch_size=len(self), shuffle=False)
        return dict(next(iter(loader)).features)

    def save(self, file: Path) -> None:
        """Write the table as parquet."""
        self.frame.write_parquet(file)

    @classmethod
    def load(cls, file: Path, schema: Schema) -> ItemTable:
        """Read what `save` wrote."""
        return cls(pl.read_parquet(file), schema)
