"""Frames that may be large: in memory while they are small beside it, else in a file that is mapped into it."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa

from tamis.data.memory import is_limited, memory_limit, scratch_folder, spill_in_time

_BYTES_PER_ROW = 24  # a number and a count, and what sorting them takes
_SHARE = 1 / 4


def collect_all(queries: Sequence[pl.LazyFrame], rows: int | None) -> list[pl.DataFrame]:
    """The frames of queries; `rows`: the most that each of them can have; None where nobody knows.

    They are computed in one run over the data. Where they might fill the memory it is a run for each, over the columns
    of that query alone, since a shared one would hold all columns for the slowest; they go to files as they are
    computed, and the frames that come back read from these: the system keeps in memory what is used and drops it where
    it needs room. Such a frame is like any other, only that an operation that makes new values of all of its rows needs
    memory again.
    """
    spill_in_time()
    if _fit_into_memory(len(queries), rows):
        return pl.collect_all(queries, engine="streaming")
    return [_in_file(query) for query in queries]


def collect(query: pl.LazyFrame, rows: int | None) -> pl.DataFrame:
    """The frame of one query; see `collect_all`."""
    return collect_all([query], rows)[0]


def read_parquet(file: Path) -> pl.DataFrame:
    """A parquet file as a frame."""
    query = pl.scan_parquet(file, glob=False)
    return collect(query, query.select(pl.len()).collect().item())


def _fit_into_memory(num_frames: int, rows: int | None) -> bool:
    if rows is None:
        return not is_limited()
    return rows * _BYTES_PER_ROW * num_frames < memory_limit() * _SHARE


def _in_file(query: pl.LazyFrame) -> pl.DataFrame:
    """The query's frame, mapped from a file that has no name and goes with it, however the process ends."""
    with tempfile.TemporaryFile(dir=scratch_folder()) as file:
        query.sink_ipc(file, compression="uncompressed", engine="streaming")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        with pa.ipc.open_file(pa.py_buffer(mapped)) as reader:
            frame = pl.from_arrow(reader.read_all(), rechunk=False)
    except pa.ArrowNotImplementedError:  # a type that only Polars knows, 128-bit numbers say
        return pl.read_ipc(mapped[:])
    assert isinstance(frame, pl.DataFrame)
    return frame
