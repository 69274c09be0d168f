"""What goes wrong while rows are read becomes one error that names the file and the way out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tamis.data.parquet_files import is_url
from tamis.errors import DataError

T = TypeVar("T")


def reading(action: Callable[[], T], where: str, files: Sequence[str] = ()) -> T:
    """What the action gives, which reads rows of these files.

    Raises:
        DataError: what Polars or the disk said, with the file that cannot be read where it is one file's fault.
    """
    try:
        return action()
    except (pl.exceptions.PolarsError, OSError) as error:
        # A value that no cast or expression takes is no file's fault, and reading all files again would be slow.
        broken = None if isinstance(error, pl.exceptions.InvalidOperationError) else _broken_file(files)
        if broken is not None:
            raise unreadable(*broken) from error
        wrong, way_out = "the rows cannot be computed", "Check the values and the expressions used."
        if isinstance(error, pl.exceptions.ColumnNotFoundError):
            wrong, way_out = "a column is missing", "Check the columns asked for."
        raise DataError(f"{where}: {wrong} ({first_line(error)}). {way_out}") from error


def unreadable(file: str, reason: str) -> DataError:
    """The error for a file that cannot be read."""
    return DataError(f"{file}: the data cannot be read ({reason}). Write the file again or leave it out.")


def first_line(error: Exception) -> str:
    """The first line of what an error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _broken_file(files: Sequence[str]) -> tuple[str, str] | None:
    """The first file that cannot be read and why; slow, for when something went wrong already."""
    local = [file for file in files if not is_url(file)]
    schema: pa.Schema | None = None
    for check in (_footer_schema, _all_rows):
        for file in local:
            try:
                found = check(file)
            except (pa.ArrowException, OSError) as error:
                return file, first_line(error)
            schema = schema or found
            difference = _difference(schema, found)
            if difference:
                return file, f"{difference} in {local[0]}"
    return None


def _footer_schema(file: str) -> pa.Schema:
    return pq.read_schema(file)


def _all_rows(file: str) -> pa.Schema:
    with pq.ParquetFile(file) as opened:
        for group in range(opened.num_row_groups):
            opened.read_row_group(group)
        return opened.schema_arrow


def _difference(first: pa.Schema, other: pa.Schema) -> str | None:
    for name in first.names:
        if name not in other.names:
            return f"it has no column {name!r}, which is"
        if first.field(name).type != other.field(name).type:
            return f"its column {name!r} is {other.field(name).type}, but {first.field(name).type}"
    extra = [name for name in other.names if name not in first.names]
    return f"its column {extra[0]!r} is not" if extra else None
