"""Rows whose groups stay together: sent to buckets by their group once, and dealt as whole groups."""

from __future__ import annotations

import math
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tamis.data.dataset import ROWS_PER_GROUP, Dataset
from tamis.data.row_pool import PoolColumn
from tamis.data.row_source import Piece, RowSource, row_source
from tamis.data.stable_hash import stable_hash
from tamis.errors import DataError

Rows = NDArray[np.int64]
_ROWS_PER_BUCKET = 4 * ROWS_PER_GROUP
_MAX_BUCKETS = 512  # as many files are open while rows are sent to their buckets


def grouped_source(dataset: Dataset, columns: Sequence[str], group: str, *, pool_rows: int) -> RowSource:
    """The rows of a dataset in pieces that hold whole groups, or in pieces that are all of one pool.

    Data of more than `pool_rows` rows streams once into buckets by a hash of the group, in a temporary folder that
    goes when the source does. Memory then holds a bucket at a time, so at least the largest group.
    """
    source = row_source(dataset, columns)
    total = sum(source.group_rows)
    if total <= pool_rows:
        return source
    folder = tempfile.mkdtemp(prefix="tamis-groups-")
    try:
        num_buckets = min(math.ceil(total / min(_ROWS_PER_BUCKET, pool_rows)), _MAX_BUCKETS)
        _send_to_buckets(dataset.select(columns).scan(), group, num_buckets, Path(folder))
        buckets = BucketSource(sorted(Path(folder).iterdir()), columns)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(buckets, shutil.rmtree, folder, ignore_errors=True)
    return buckets


def _send_to_buckets(rows: pl.LazyFrame, group: str, num_buckets: int, folder: Path) -> None:
    target = pl.PartitionBy(
        folder,
        key=(stable_hash([group], seed=0) % num_buckets).alias("__bucket"),
        include_key=False,
        file_path_provider=lambda part: f"{part.partition_keys.item():05d}.parquet",
        approximate_bytes_per_file=None,
    )
    rows.sink_parquet(target, row_group_size=ROWS_PER_GROUP, engine="streaming")


class BucketSource:
    """Files that are read as a whole: one piece each."""

    def __init__(self, files: Sequence[Path], columns: Sequence[str]) -> None:
        self._files, self._columns = list(files), list(columns)
        self.group_rows = [pq.read_metadata(file).num_rows for file in files]

    def read(self, piece: Piece) -> pa.Table:
        """The rows of a piece."""
        table = pq.read_table(self._files[piece.group], columns=self._columns, use_threads=False, partitioning=None)
        return table.slice(piece.start, len(piece))

    def where(self, piece: Piece) -> str:
        """The name of all buckets in messages."""
        return "Loader"


def check_group(column: PoolColumn) -> None:
    """Refuse a column that cannot say which rows belong together.

    Raises:
        DataError: lists, vectors, or numbers with a fraction.
    """
    if not column.is_scalar or column.dtype == "float32":
        held = "numbers with a fraction" if column.is_scalar else "several numbers a row"
        raise DataError(
            f"Loader: the group column {column.name!r} holds {held}. Name one of whole numbers; Categorify or "
            "HashBucket makes them of anything."
        )


def group_order(key: NDArray[Any], most: int, generator: np.random.Generator) -> tuple[Rows, Rows]:
    """An order of the rows in which groups follow each other by lot, and so do the rows within each.

    A group of more than `most` rows is cut into as few parts of nearly one size as keep to it.

    Args:
        key: [rows], equal for rows of one group.
        most: rows of a part.
        generator: of the order.

    Returns: the order [rows]; and the places in it at which the parts start, with the number of rows at the end.
    """
    shuffled = generator.permutation(len(key))
    by_group = shuffled[np.argsort(key[shuffled], kind="stable")]
    is_first = np.concatenate([[True], np.diff(key[by_group]) != 0])
    starts = np.flatnonzero(is_first)
    sizes = np.diff(starts, append=len(key))
    lot = generator.permutation(len(starts))
    starts, sizes = starts[lot], sizes[lot]
    before = np.cumsum(sizes) - sizes
    order = by_group[np.repeat(starts - before, sizes) + np.arange(len(key))]
    return order, np.append(_part_starts(before, sizes, most), len(key))


def _part_starts(starts: Rows, sizes: Rows, most: int) -> Rows:
    parts = -(-sizes // most)
    group = np.repeat(np.arange(len(sizes)), parts)
    number = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
    part_starts: Rows = starts[group] + number * sizes[group] // parts[group]
    return part_starts
