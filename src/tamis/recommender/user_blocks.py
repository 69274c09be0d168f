"""Several tables of rows about users, a block of users at a time, so that many users stay in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from tamis.data.dataset import Dataset
from tamis.data.stable_hash import stable_hash
from tamis.schema import ColumnSchema

_BLOCK = "__block"


@contextmanager
def user_blocks(
    tables: Mapping[str, Dataset], user: str, num_blocks: int
) -> Iterator[Iterator[dict[str, pl.DataFrame]]]:
    """Frames by the name of their table, in each block all rows of its users, in the order of the table.

    More blocks than one go through a temporary folder, written in one pass a table and gone after the `with`.
    """
    if num_blocks <= 1:
        yield iter([{name: table.compute() for name, table in tables.items()}])
        return
    with tempfile.TemporaryDirectory(prefix="tamis-blocks-") as folder:
        for name, table in tables.items():
            _write(table, user, num_blocks, Path(folder) / name)
        yield (
            {name: _read(table, Path(folder) / name, block) for name, table in tables.items()}
            for block in range(num_blocks)
        )


def _write(table: Dataset, user: str, num_blocks: int, path: Path) -> None:
    block = (stable_hash([user], seed=0) % num_blocks).cast(pl.Int64).alias(_BLOCK)
    schema = table.schema + ColumnSchema(_BLOCK)
    table.map(lambda rows: rows.with_columns(block), schema).to_parquet(path, partition_on=_BLOCK)


def _read(table: Dataset, path: Path, block: int) -> pl.DataFrame:
    folder = path / f"{_BLOCK}={block}"
    return Dataset(folder, schema=table.schema).compute() if folder.is_dir() else table.head(0)
