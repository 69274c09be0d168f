"""What goes wrong while rows are read becomes one error that names the file and the way out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tamis.data.source_files import is_url
from tamis.disk_full import is_disk_full, is_spill_full
from tamis.errors import DataError, DiskFullError

T = TypeVar("T")
Scan = Callable[[Sequence[str]], pl.LazyFrame]


def reading(action: Callable[[], T], where: str, files: Sequence[str] = (), scan: Scan | None = None) -> T:
    """What the action gives, which reads rows of these files.

    Args:
        action: reads, and may compute and write.
        where: begins the message.
        files: those that the rows come from.
        scan: how Polars reads them; by default they are parquet.

    Raises:
        DataError: what Polars or the disk said, with the file that cannot be read where it is one file's fault.
        DiskFullError: a computation had to put more aside than it may.
    """
    try:
        return action()
    except (pl.exceptions.PolarsError, OSError) as error:
        if is_spill_full(error):
            raise _spill_full(where, error) from error
        if is_disk_full(error):
            raise  # whoever writes knows how much and where
        # A value that no cast or expression takes is no file's fault, and reading all files again would be slow.
        broken = None if isinstance(error, pl.exceptions.InvalidOperationError) else _broken(files, scan)
        if broken is not None:
            raise broken from error
        wrong, way_out = "the rows cannot be computed", "Check the values and the expressions used."
        if isinstance(error, pl.exceptions.ColumnNotFoundError):
            wrong, way_out = "a column is missing", "Check the columns asked for."
        raise DataError(f"{where}: {wrong} ({first_line(error)}). {way_out}") from error


def _spill_full(where: str, error: Exception) -> DiskFullError:
    return DiskFullError(
        f"{where}: what does not fit into memory has no more room on the disk ({first_line(error)}). Free some space, "
        "set POLARS_OOC_SPILL_DIR to a folder on a larger disk, or allow more with POLARS_OOC_DISK_BUDGET_MB."
    )


def unreadable(file: str, reason: str) -> DataError:
    """The error for a file that cannot be read."""
    return DataError(f"{file}: the data cannot be read ({reason}). Write the file again or leave it out.")


def first_line(error: Exception) -> str:
    """The first line of what an error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _broken(files: Sequence[str], scan: Scan | None) -> DataError | None:
    """The error for the first file that cannot be read; slow, for when something went wrong already."""
    local = [file for file in files if not is_url(file)]
    if scan is not None:
        return _broken_text(local, scan)
    broken = _broken_parquet(local)
    return None if broken is None else unreadable(*broken)


def _broken_text(files: Sequence[str], scan: Scan) -> DataError | None:
    for file in files:
        try:
            scan([file]).select(pl.all().null_count()).collect(engine="streaming")
        except (pl.exceptions.PolarsError, OSError) as error:
            return DataError(
                f"{file}: the data cannot be read ({first_line(error)}). Mend the file, or say what a column holds: "
                "dtypes={'column': 'string'}."
            )
    return None


def _broken_parquet(files: Sequence[str]) -> tuple[str, str] | None:
    schema: pa.Schema | None = None
    for check in (_footer_schema, _all_rows):
        for file in files:
            try:
                found = check(file)
            except (pa.ArrowException, OSError) as error:
                return file, first_line(error)
            schema = schema or found
            difference = _difference(schema, found)
            if difference:
                return file, f"{difference} in {files[0]}"
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
