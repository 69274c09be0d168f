"""Columns that belong to a row alone: nothing about its user or item is in them."""

from __future__ import annotations

import numpy as np
import polars as pl

from tamis.datasets.columns import (
    Array,
    bounds,
    is_binary,
    is_continuous,
    to_list_series,
    to_series,
    value_counts,
)
from tamis.schema import ColumnSchema, Tags


def row_column(
    generator: np.random.Generator, column: ColumnSchema, start: int, num_rows: int, *, of_rows: int
) -> pl.Series:
    """Rows `start` to `start + num_rows` of `of_rows`: times grow with the row, all else is uniform.

    The lists of a row are as long as its schema's `value_count` allows, each length equally often.
    """
    if column.is_list:
        shortest, longest = value_counts(column)
        lengths = generator.integers(shortest, longest, num_rows, endpoint=True)
        return to_list_series(column, uniform(generator, column, (num_rows, longest)), lengths)
    if column.has_tag(Tags.TIME):
        return to_series(column, times(generator, column, start, num_rows, of_rows=of_rows))
    return to_series(column, uniform(generator, column, num_rows))


def uniform(generator: np.random.Generator, column: ColumnSchema, shape: int | tuple[int, int]) -> Array:
    """Values spread evenly over the column's domain; 0 and 1 for binary columns."""
    low, high = bounds(column)
    if is_continuous(column):
        return low + (high - low) * generator.random(shape)
    if is_binary(column):
        return generator.integers(0, 2, shape, dtype=np.int8)
    return generator.integers(int(low), int(high), shape, endpoint=True)


def times(generator: np.random.Generator, column: ColumnSchema, start: int, num_rows: int, *, of_rows: int) -> Array:
    """Times that grow from row to row and fill the column's domain over all rows."""
    low, high = bounds(column)
    step = (high - low) / of_rows
    moments = low + step * (np.arange(start, start + num_rows) + generator.random(num_rows))
    return moments if is_continuous(column) else np.floor(moments)
