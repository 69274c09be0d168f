"""Batches of a frame in memory, in order, without a loader's threads: for requests, which are a few rows."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from tamis.data.batch import Batch
from tamis.data.row_pool import RowPool, pool_column
from tamis.errors import UnknownColumnError
from tamis.schema import Schema


def frame_batches(frame: pl.DataFrame, schema: Schema, batch_size: int, *, where: str = "Dataset") -> Iterator[Batch]:
    """The schema's columns as features, such as `Loader(..., shuffle=False, targets=())` makes of them.

    Args:
        frame: with at least these columns.
        schema: of the columns.
        batch_size: rows of a batch; the last one may be smaller.
        where: what error messages begin with.

    Raises:
        UnknownColumnError: a column is missing.
        DataError: a column that no tensor can hold, or a null.
    """
    for name in schema.column_names:
        if name not in frame.columns:
            raise UnknownColumnError(name, frame.columns, where=where)
    chosen = pl.DataFrame([frame.get_column(name) for name in schema.column_names])  # `select` costs ten times that
    columns = [pool_column(column, chosen.schema[column.name], is_target=False) for column in schema]
    for part in chosen.iter_slices(batch_size):
        pool = RowPool(columns, len(part))
        pool.append(part.to_arrow(), where)
        yield pool.to_batch()
