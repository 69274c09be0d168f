"""Delta Lake and Iceberg tables, read through Polars where the package for it is installed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl

from tamis.errors import DataError, MissingExtraError

_PACKAGES = {"delta": "deltalake", "iceberg": "pyiceberg"}


def lake_format(place: Path) -> str | None:
    """`delta` or `iceberg` for a folder that is such a table."""
    if (place / "_delta_log").is_dir():
        return "delta"
    is_iceberg = place.name.endswith(".metadata.json") or any((place / "metadata").glob("*.metadata.json"))
    return "iceberg" if is_iceberg else None


def scan_lake(table: str, format: str, storage_options: Mapping[str, Any] | None) -> pl.LazyFrame:
    """The newest version of a table as a lazy frame.

    Raises:
        MissingExtraError: the package that knows the format is not installed.
        DataError: the folder is no such table.
    """
    package = _PACKAGES[format]
    if find_spec(package) is None:
        raise MissingExtraError(package, format, where=table)
    options = dict(storage_options) if storage_options else None
    place = newest_metadata(table) if format == "iceberg" else table
    scan = pl.scan_iceberg if format == "iceberg" else pl.scan_delta
    try:
        frame = scan(place, storage_options=options)
        frame.collect_schema()
    except Exception as error:  # the errors of the two packages have no root in common
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{table}: it cannot be read as {format} ({reason}). Give the folder of the table.") from error
    return frame


def newest_metadata(table: str) -> str:
    """The file that describes an Iceberg table as it is now; a URL has to name that file itself.

    Raises:
        DataError: the folder is no Iceberg table.
    """
    if table.endswith(".metadata.json") or "://" in table:
        return table
    folder = Path(table) / "metadata"
    files = sorted(folder.glob("*.metadata.json"), key=lambda file: _version(file.name))
    if not files:
        raise DataError(f"{table}: it has no metadata/*.metadata.json. Give the folder of an Iceberg table.")
    return str(files[-1].absolute())


def _version(name: str) -> tuple[int, str]:
    found = re.match(r"v?(\d+)", name)
    return (int(found[1]) if found else -1, name)
