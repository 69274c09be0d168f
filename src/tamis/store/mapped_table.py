"""A table in a file that is mapped into memory: all processes that read it share one copy, and only what is asked for
is ever read from the disk."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pyarrow as pa


def write_mapped(frame: pl.DataFrame, file: Path) -> None:
    """Write a frame as Arrow IPC, not compressed, in one batch, so that it can be used as it lies on the disk."""
    frame.write_ipc(file, compression="uncompressed", record_batch_size=max(len(frame), 1))


def read_mapped(file: Path) -> pl.DataFrame:
    """The frame that `write_mapped` wrote. The file may be removed meanwhile, but must not be changed in place."""
    try:
        with pa.memory_map(str(file)) as mapped:
            frame = pl.from_arrow(pa.ipc.open_file(mapped).read_all())  # polars reads a copy of its own, arrow does not
    except pa.ArrowNotImplementedError:  # whole numbers of 128 bits, which polars alone knows
        return pl.read_ipc(file)
    assert isinstance(frame, pl.DataFrame)
    return frame
