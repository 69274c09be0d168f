"""The files of one table, whatever their format, and how to scan them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from tamis.data.dtypes import schema_dtypes
from tamis.data.formats import LAKE_FORMATS, TEXT_FORMATS, check_format
from tamis.data.hive import hive_columns, hive_schema
from tamis.data.lake_tables import scan_lake
from tamis.data.source_files import find_files, is_url
from tamis.errors import DataError, SettingError
from tamis.schema import Schema

_SMALL = (pl.Int8, pl.Int16, pl.UInt8, pl.UInt16)
GUESSED_ROWS = 10_000  # rows that the types of a text file are guessed from; more cost time before the first row


@dataclass(frozen=True)
class Table:
    """Files of one format that are read as one table.

    `hive` are the columns that the folders' names hold, `dtypes` the types that need no guessing.
    """

    files: tuple[str, ...]
    format: str = "parquet"
    hive: Mapping[str, pl.DataType] = field(default_factory=dict)
    dtypes: Mapping[str, pl.DataType] = field(default_factory=dict)
    storage_options: Mapping[str, Any] | None = None

    @classmethod
    def find(
        cls,
        paths: Sequence[str],
        *,
        format: str | None = None,
        split: str | None = None,
        dtypes: Mapping[str, pl.DataType] | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> Table:
        """The table behind paths, globs, folders and URLs.

        Raises:
            DataError: nothing is there, or files of two formats.
            SettingError: types for files that hold their own.
            UnknownNameError: a format or split that there is not.
        """
        check_format(format)
        found = [find_files(path, format, split) for path in paths]
        formats = list(dict.fromkeys(one for _, one in found))
        if len(formats) > 1:
            raise DataError(f"Dataset: the paths are {' and '.join(formats)}. Read each as a dataset of its own.")
        if dtypes and formats[0] not in TEXT_FORMATS:
            raise SettingError(
                f"Dataset: dtypes is for csv and jsonl, but {formats[0]} files hold their own types. Leave it out."
            )
        files = tuple(file for some, _ in found for file in some)
        has_folders = formats[0] in ("parquet", "arrow", *TEXT_FORMATS) and not any(map(is_url, files))
        hive = hive_columns(files) if has_folders else {}
        if hive and formats[0] in TEXT_FORMATS:
            raise DataError(
                f"{files[0]}: folders such as {next(iter(hive))}=... hold columns of parquet and arrow files only, and "
                f"this is {formats[0]}. Read each folder as a dataset of its own."
            )
        return cls(files, formats[0], hive, dtypes or {}, storage_options)

    @property
    def parquet_files(self) -> tuple[str, ...]:
        """The files where they are parquet that holds all there is, so that it may be read without Polars."""
        return self.files if self.format == "parquet" and not self.hive else ()

    def described_by(self, schema: Schema) -> Table:
        """The same, told by the `schema.json` that lies with it: its types, and the columns that it leaves out."""
        known = schema_dtypes(schema)
        hive = {name: known.get(name, dtype) for name, dtype in self.hive.items()}
        if not any(name in schema for name in hive):
            hive = {}
        dtypes = {**known, **self.dtypes} if self.format in TEXT_FORMATS else self.dtypes
        return Table(self.files, self.format, hive, dtypes, self.storage_options)

    def scan(self, files: Sequence[str] | None = None) -> pl.LazyFrame:
        """All rows, or those of some of the files, as a lazy frame.

        Raises:
            MissingExtraError: a package that the format needs is not installed.
        """
        chosen = list(files or self.files)
        options = dict(self.storage_options) if self.storage_options else None
        if self.format in LAKE_FORMATS:
            return _one_table([scan_lake(file, self.format, options) for file in chosen])
        if self.format == "csv":
            return _one_table([self._csv(some, options) for some in _by_separator(chosen)])
        if self.format == "jsonl":
            # Polars' reader panics on the small whole numbers, so these are read wide and cast.
            wide = {name: pl.Int64() if dtype in _SMALL else dtype for name, dtype in self.dtypes.items()}
            frame = pl.scan_ndjson(
                chosen, infer_schema_length=GUESSED_ROWS, schema_overrides=wide or None, storage_options=options
            )
            return frame.cast({name: dtype for name, dtype in self.dtypes.items() if dtype in _SMALL})
        return self._with_hive(chosen, options)

    def _csv(self, files: list[str], options: dict[str, Any] | None) -> pl.LazyFrame:
        return pl.scan_csv(
            files,
            separator="\t" if _is_tab_separated(files[0]) else ",",
            infer_schema_length=GUESSED_ROWS,
            try_parse_dates=True,
            schema_overrides=self.dtypes or None,
            glob=_has_pattern(files),
            storage_options=options,
        )

    def _with_hive(self, files: list[str], options: dict[str, Any] | None) -> pl.LazyFrame:
        scan = pl.scan_parquet if self.format == "parquet" else pl.scan_ipc
        glob = _has_pattern(files)
        if not self.hive:
            # In a cloud nobody has looked at the folders yet: Polars does.
            hive = None if any(map(is_url, files)) else False
            return scan(files, glob=glob, hive_partitioning=hive, storage_options=options)
        types = hive_schema(files, self.hive)
        frame = scan(files, glob=False, hive_partitioning=True, hive_schema=types, storage_options=options)
        return frame.drop([name for name in types if name not in self.hive])


def _has_pattern(files: Sequence[str]) -> bool:
    """Whether a URL holds a pattern, which Polars has to look up; local ones have been."""
    return any(is_url(file) and "*" in file for file in files)


def _is_tab_separated(file: str) -> bool:
    return ".tsv" in file.lower().rsplit("/", 1)[-1]


def _by_separator(files: Sequence[str]) -> list[list[str]]:
    kinds = ([file for file in files if _is_tab_separated(file) == kind] for kind in (False, True))
    return [kind for kind in kinds if kind]


def _one_table(frames: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    return frames[0] if len(frames) == 1 else pl.concat(frames)
