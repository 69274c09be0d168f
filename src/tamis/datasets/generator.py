"""Synthetic data sets: with a planted truth that an oracle tells, or with nothing to learn but popularity."""

from __future__ import annotations

import atexit
import math
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl

from tamis.data.dataset import ROWS_PER_GROUP, Dataset
from tamis.datasets.independent import IndependentWorld
from tamis.datasets.planted import PlantedWorld
from tamis.datasets.schemas import named_schema
from tamis.errors import SettingError
from tamis.folders import new_folder
from tamis.schema import Schema

_ROWS_PER_BLOCK = 2 * ROWS_PER_GROUP  # each block has random numbers of its own: changing this changes the data
_ROWS_PER_FILE = 4 * _ROWS_PER_BLOCK
_ROWS_IN_MEMORY = 2_000_000
_SET_NAMES = ("train", "valid", "test")


class _World(Protocol):
    schema: Schema

    def draw(self, generator: np.random.Generator, start: int, num_rows: int) -> pl.DataFrame: ...


def generate_data(
    name_or_schema: str | Schema,
    num_rows: int,
    set_sizes: Sequence[float] = (1.0,),
    seed: int = 42,
    signal: float | None = None,
    path: str | Path | None = None,
) -> Dataset | tuple[Dataset, ...]:
    """Rows of a known data set's form, or of a schema's; one Dataset per entry of `set_sizes`.

    By default the rows follow a planted truth (see `PlantedWorld`): what a user clicks depends on hidden interests,
    which the ids and features reveal in part. `oracle_of` with the same arguments tells the best possible ranking.
    With `signal=0` ids, features and clicks are drawn independently, so nothing but popularity can be learned.

    Rows are drawn independently of each other, so the sets are consecutive parts of one stream. More than two
    million rows go through parquet files a piece at a time, in bounded memory: into `path`, or into a temporary
    folder that is removed when the process ends. A user may meet an item twice; that is rare.

    Args:
        name_or_schema: `"aliccp-raw"`, `"movielens-1m"`, or a Schema with tags and domains.
        num_rows: rows of all sets together. The planted numbers of users and items grow with it.
        set_sizes: the share of each set; they add up to 1.
        seed: the same seed and arguments give the same rows.
        signal: strength of the planted truth, 1 by default; 0 for none.
        path: a folder to write to. One set is written there, replacing the folder; two or three become its
            subfolders `train`, `valid`, `test`; more become `set_0`, `set_1`, ...

    Raises:
        UnknownNameError: no data set has that name.
        SettingError: a number out of its range.
        SchemaError: a column without a domain, or without user and item ids where a truth is to be planted.
    """
    _check(num_rows, set_sizes, seed, signal)
    schema = named_schema(name_or_schema) if isinstance(name_or_schema, str) else name_or_schema
    world: _World = (
        IndependentWorld(schema, num_rows)
        if signal == 0
        else PlantedWorld(schema, num_rows, seed=seed, signal=1.0 if signal is None else signal)
    )
    borders = [round(num_rows * share) for share in np.cumsum([0.0, *set_sizes])]
    borders[-1] = num_rows
    parts = list(pairwise(borders))
    if path is None and num_rows <= _ROWS_IN_MEMORY:
        sets = tuple(_in_memory(world, seed, start, stop) for start, stop in parts)
    else:
        folders = _folders(path, len(parts))
        sets = tuple(_on_disk(world, seed, *part, folder) for part, folder in zip(parts, folders, strict=True))
    return sets if len(sets) > 1 else sets[0]


def oracle_of(name_or_schema: str | Schema, num_rows: int, seed: int = 42, signal: float | None = None) -> PlantedWorld:
    """The truth behind `generate_data` with the same arguments.

    Raises:
        SettingError: `signal=0`, where nothing is planted and popularity is the best ranking.
    """
    if signal == 0:
        raise SettingError("oracle_of: signal=0 plants no truth. Compare with popularity, which is the best there.")
    _check(num_rows, (1.0,), seed, signal)
    schema = named_schema(name_or_schema) if isinstance(name_or_schema, str) else name_or_schema
    return PlantedWorld(schema, num_rows, seed=seed, signal=1.0 if signal is None else signal)


def _check(num_rows: int, set_sizes: Sequence[float], seed: int, signal: float | None) -> None:
    if num_rows < 1:
        raise SettingError(f"generate_data: num_rows is {num_rows}. Ask for at least one row.")
    if not set_sizes or min(set_sizes) <= 0 or not math.isclose(sum(set_sizes), 1.0, abs_tol=1e-6):
        raise SettingError(
            f"generate_data: set_sizes is {tuple(set_sizes)}. Give positive shares that add up to 1, like (0.7, 0.3)."
        )
    if round(num_rows * min(set_sizes)) < 1:
        raise SettingError(
            f"generate_data: {num_rows} rows in parts of {tuple(set_sizes)} leave one part empty. Ask for more rows."
        )
    if seed < 0:
        raise SettingError(f"generate_data: seed is {seed}. Give a whole number from 0 on.")
    if signal is not None and not 0 <= signal <= 10:
        raise SettingError(f"generate_data: signal is {signal}. Give a number from 0 (none) to 10; 1 is the default.")


def _rows(world: _World, seed: int, start: int, stop: int) -> Iterator[pl.DataFrame]:
    """The stream's rows from `start` to `stop`, whatever part they are asked for in."""
    for block in range(start // _ROWS_PER_BLOCK, -(-stop // _ROWS_PER_BLOCK)):
        first = block * _ROWS_PER_BLOCK
        rows = world.draw(np.random.default_rng([seed, block]), first, _ROWS_PER_BLOCK)
        yield rows[max(start - first, 0) : stop - first]


def _in_memory(world: _World, seed: int, start: int, stop: int) -> Dataset:
    return Dataset(pl.concat(_rows(world, seed, start, stop)), schema=world.schema)


def _on_disk(world: _World, seed: int, start: int, stop: int, path: Path) -> Dataset:
    with new_folder(path) as folder:
        for part, first in enumerate(range(start, stop, _ROWS_PER_FILE)):
            rows = pl.concat(_rows(world, seed, first, min(first + _ROWS_PER_FILE, stop)))
            file = folder / f"part-{part:05d}.parquet"
            rows.write_parquet(file, compression_level=1, row_group_size=ROWS_PER_GROUP)
        world.schema.save(folder)
    return Dataset(path, schema=world.schema)


def _folders(path: str | Path | None, num_sets: int) -> list[Path]:
    root = _temporary_folder() if path is None else Path(path)
    if num_sets == 1:
        return [root / "data" if path is None else root]
    names = _SET_NAMES if num_sets <= len(_SET_NAMES) else [f"set_{number}" for number in range(num_sets)]
    return [root / name for name in names[:num_sets]]


def _temporary_folder() -> Path:
    # Until the process ends, not until the Dataset dies: lazy frames made of it still read the files.
    folder = Path(tempfile.mkdtemp(prefix="tamis-data-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
