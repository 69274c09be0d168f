"""Rows to a folder of parquet files, and what the whole will take on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tamis.data.hive import partition_folder


def write_rows(
    frame: pl.LazyFrame, folder: Path, *, rows_per_group: int, rows_per_file: int, partition_on: Sequence[str] = ()
) -> None:
    """Stream the rows into files of the folder, those of each partition into a folder of its own below it.

    Rows of one file, and files of one partition by their names, stay in order.
    """
    target = pl.PartitionBy(
        folder,
        key=list(partition_on) or None,
        include_key=False if partition_on else None,
        file_path_provider=lambda part: _file_of(part.index_in_partition, part.partition_keys),
        max_rows_per_file=rows_per_file,
        approximate_bytes_per_file=None,
    )
    # a writer that fails leaves threads behind, which with `mkdir` make the folder again after it was removed
    frame.sink_parquet(target, row_group_size=rows_per_group, mkdir=bool(partition_on))


def _file_of(index: int, keys: pl.DataFrame) -> str:
    name = f"part-{index:05d}.parquet"
    return f"{partition_folder(keys.row(0, named=True))}/{name}" if keys.width else name


def expected_size(folder: Path, num_rows: int | None) -> int | None:
    """About how many bytes so many rows take, judged by the files in the folder that are complete."""
    complete = [
        (footer.num_rows, file.stat().st_size) for file in folder.rglob("*.parquet") if (footer := _footer(file))
    ]
    rows = sum(rows for rows, _ in complete)
    return None if num_rows is None or rows == 0 else int(sum(size for _, size in complete) * num_rows / rows)


def _footer(file: Path) -> pq.FileMetaData | None:
    try:
        return pq.read_metadata(file)
    except (pa.ArrowException, OSError):
        return None
