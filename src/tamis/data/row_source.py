"""Where a loader's rows come from: pieces of parquet row groups or of a frame, each readable on its own."""

from __future__ import annotations

import re
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tamis.data.dataset import ROWS_PER_GROUP, Dataset
from tamis.data.reading import first_line, unreadable
from tamis.data.source_files import is_url
from tamis.errors import DataError


@dataclass(frozen=True)
class Piece:
    """Rows `start` to `stop` of a row group; `group` counts over all files."""

    group: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


class RowSource(Protocol):
    """Groups of rows that can be read one by one, in any order, from any thread."""

    @property
    def group_rows(self) -> Sequence[int]:
        """Rows of each group, known without reading them."""
        ...

    def read(self, piece: Piece) -> pa.Table:
        """The rows of a piece."""
        ...

    def where(self, piece: Piece) -> str:
        """What to call the piece's origin in a message."""
        ...


def pieces_of(group_rows: Sequence[int], start: int, stop: int) -> list[Piece]:
    """The rows from `start` up to `stop`, counted over all groups, as pieces of groups."""
    pieces, before = [], 0
    for group, rows in enumerate(group_rows):
        first, last = max(start - before, 0), min(stop - before, rows)
        if first < last:
            pieces.append(Piece(group, first, last))
        before += rows
    return pieces


def row_source(dataset: Dataset, columns: Sequence[str]) -> RowSource:
    """The rows of a dataset: local parquet as it is; a plan over memory collected; other plans by way of a file.

    A plan over files (a workflow's output, a filter, a cloud URL) streams once into a temporary folder, which goes
    when the source does, so that every epoch reads parquet and memory stays bounded.
    """
    if dataset.files and not any(map(is_url, dataset.files)):
        return ParquetSource(dataset.files, columns)
    chosen = dataset.select(columns)
    if not dataset.files and not reads_files(chosen.scan()):
        return FrameSource(chosen.compute())
    folder = tempfile.mkdtemp(prefix="tamis-loader-")
    try:
        source = ParquetSource(chosen.to_parquet(Path(folder) / "rows").files, columns, name="Loader")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(source, shutil.rmtree, folder, ignore_errors=True)
    return source


def reads_files(frame: pl.LazyFrame) -> bool:
    """Whether a lazy plan scans anything but frames in memory."""
    # A column named SCAN makes this true for a plan over memory, which costs a detour and nothing else.
    return re.search(r"\bSCAN\b", frame.explain(optimized=False)) is not None


class ParquetSource:
    """Row groups of local parquet files; only the footers are read at the start."""

    def __init__(self, files: Sequence[str], columns: Sequence[str], *, name: str | None = None) -> None:
        self._columns, self._name = list(columns), name
        self._footers = [self._footer(file) for file in files]
        self._groups = [
            (i, group) for i, (_, footer) in enumerate(self._footers) for group in range(footer.num_row_groups)
        ]
        self.group_rows = [self._footers[i][1].row_group(group).num_rows for i, group in self._groups]

    def _footer(self, file: str) -> tuple[str, Any]:
        try:
            with pq.ParquetFile(file) as opened:
                missing = set(self._columns) - set(opened.schema_arrow.names)
                footer = opened.metadata
        except (pa.ArrowException, OSError) as error:
            raise unreadable(file, first_line(error)) from error
        if missing:
            raise DataError(
                f"{file}: the column {min(missing)!r} is missing here, though other files have it. "
                "Write the file again with all columns or leave it out."
            )
        return file, footer

    def read(self, piece: Piece) -> pa.Table:
        """The rows of a piece.

        Raises:
            DataError: the file cannot be read.
        """
        index, group = self._groups[piece.group]
        file, footer = self._footers[index]
        try:
            with pq.ParquetFile(file, metadata=footer) as opened:
                table = opened.read_row_group(group, columns=self._columns, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise unreadable(file, first_line(error)) from error
        return table.slice(piece.start, len(piece))

    def where(self, piece: Piece) -> str:
        """The piece's file, or the name given for all of them."""
        return self._name or self._footers[self._groups[piece.group][0]][0]


class FrameSource:
    """Slices of a frame in memory."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame
        starts = range(0, len(frame), ROWS_PER_GROUP)
        self.group_rows = [min(ROWS_PER_GROUP, len(frame) - start) for start in starts]

    def read(self, piece: Piece) -> pa.Table:
        """The rows of a piece."""
        return self._frame.slice(piece.group * ROWS_PER_GROUP + piece.start, len(piece)).to_arrow()

    def where(self, piece: Piece) -> str:
        """The name of all frames in messages."""
        return "Dataset"
