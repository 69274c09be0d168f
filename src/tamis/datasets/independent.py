"""Rows without any structure: every id is drawn on its own, so only the frequency of items can be learned."""

from __future__ import annotations

import numpy as np
import polars as pl

from tamis.datasets.columns import Array, bounds, check_column, is_continuous, size, to_series
from tamis.datasets.draws import row_column
from tamis.schema import ColumnSchema, Schema, Tags

_WIDEST_ID = 2_500  # one id in a million draws of int(lognormal(3, 1)) is larger; their features share the last bin


class IndependentWorld:
    """Draws ids from int(lognormal(3, 1)), cut to 1..domain.max; an id's features are equal-width bins of it.

    Binary targets are fair coins, numbers are uniform over their domain, list columns belong to the row.
    """

    def __init__(self, schema: Schema, num_rows: int) -> None:
        for column in schema:
            check_column(column)
        self.schema = schema
        self.num_rows = num_rows
        found = {tag: _id_column(schema, tag) for tag in (Tags.USER, Tags.ITEM, Tags.SESSION)}
        self._ids = {tag: column for tag, column in found.items() if column is not None}
        self._bins = {column.name: _bins(column, owner) for column in schema if (owner := self._owner(column))}

    def draw(self, generator: np.random.Generator, start: int, num_rows: int) -> pl.DataFrame:
        """Rows `start` to `start + num_rows` of the stream."""
        ids = {column.name: _draw_ids(generator, column, num_rows) for column in self._ids.values()}
        columns = []
        for column in self.schema:
            if column.name in ids:
                columns.append(to_series(column, ids[column.name]))
            elif owner := self._owner(column):
                places = np.minimum(ids[owner.name], _WIDEST_ID)
                columns.append(to_series(column, self._bins[column.name][places]))
            else:
                columns.append(row_column(generator, column, start, num_rows, of_rows=self.num_rows))
        return pl.DataFrame(columns)

    def _owner(self, column: ColumnSchema) -> ColumnSchema | None:
        if column.is_list or is_continuous(column) or column.has_tag(Tags.TARGET) or column.has_tag(Tags.TIME):
            return None
        return next((owner for tag, owner in self._ids.items() if column.has_tag(tag) and column != owner), None)


def _id_column(schema: Schema, tag: str) -> ColumnSchema | None:
    return next((column for column in schema if column.has_tag(f"{tag}_id") and not column.is_list), None)


def _draw_ids(generator: np.random.Generator, column: ColumnSchema, num_rows: int) -> Array:
    low, high = bounds(column)
    drawn = np.exp(generator.standard_normal(num_rows, dtype=np.float32) + np.float32(3)).astype(np.int64)
    ids: Array = np.clip(drawn, int(low), int(high))
    return ids


def _bins(column: ColumnSchema, owner: ColumnSchema) -> Array:
    """The column's value for each id 0, 1, ...: equal-width bins of the ids that occur."""
    widest = min(int(bounds(owner)[1]), _WIDEST_ID)
    shares = np.minimum(np.arange(_WIDEST_ID + 1), widest) / widest
    bins: Array = np.maximum(np.ceil(shares * size(column)).astype(np.int64) - 1, 0) + int(bounds(column)[0])
    return bins
