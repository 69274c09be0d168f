"""Columns that folders' names hold: `day=2024-01-01/part.parquet` has a column `day`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from urllib.parse import quote, unquote

import polars as pl

from tamis.errors import DataError, SchemaError, SettingError
from tamis.schema import Schema

_NULL = "__HIVE_DEFAULT_PARTITION__"
_LONGEST = 200  # signs; file systems stop at 255 bytes, the column's name included
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_NUMBER = re.compile(r"0|-?[1-9]\d{0,17}")  # a code such as 007 stays a text


def is_hive_folder(name: str) -> bool:
    """Whether a folder's name is a column and a value."""
    return "=" in name[1:]


def hive_columns(files: Sequence[str]) -> dict[str, pl.DataType]:
    """The columns that the folders right above the files hold, in order, with the type that their values have.

    Raises:
        DataError: some files lie in other such folders than the rest.
    """
    values: dict[str, set[str]] = {}
    keys: dict[tuple[str, ...], str] = {}
    for folder, file in {PurePath(file).parent: file for file in files}.items():
        found = _folders(folder)
        keys.setdefault(tuple(found), file)
        for key, value in found.items():
            values.setdefault(key, set()).add(value)
    if len(keys) > 1:
        (one, file), (other, file_of_other), *_ = keys.items()
        raise DataError(
            f"{file_of_other}: it lies in folders of {_names(other)}, but {file} in folders of {_names(one)}. "
            "Read them as two datasets."
        )
    return {key: _dtype_of(found) for key, found in values.items()}


def _folders(folder: PurePath) -> dict[str, str]:
    found: list[tuple[str, str]] = []
    while is_hive_folder(folder.name):
        key, value = folder.name.split("=", 1)
        found.append((unquote(key), unquote(value)))
        folder = folder.parent
    return dict(reversed(found))


def _names(keys: Sequence[str]) -> str:
    return ", ".join(map(repr, keys)) or "no column"


def _dtype_of(values: set[str]) -> pl.DataType:
    known = values - {_NULL}
    if known and all(map(_NUMBER.fullmatch, known)):
        return pl.Int64()
    return pl.Date() if known and all(map(_DATE.fullmatch, known)) else pl.String()


def hive_schema(files: Sequence[str], columns: Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
    """The types of all columns in whole paths, as Polars asks for them: it looks further up than we do."""
    above = [part.split("=", 1)[0] for part in PurePath(files[0]).parts if is_hive_folder(part)]
    return {unquote(name): columns.get(unquote(name), pl.String()) for name in above}


def check_partition(schema: Schema, columns: Sequence[str]) -> None:
    """Refuse columns whose values cannot be told again from the name of a folder.

    Raises:
        UnknownColumnError: a column that the data does not have.
        SchemaError: fractional numbers, moments or lists.
        SettingError: no column would be left, or one is given twice.
    """
    for name in columns:
        column = schema[name]
        if "=" in name or name.startswith("."):
            raise SettingError(
                f"Dataset.to_parquet: partition_on has {name!r}, which no folder's name can give back. Rename it first."
            )
        if column.is_list or not re.fullmatch(r"u?int(8|16|32|64)|string|boolean|date", column.dtype):
            kind = f"list[{column.dtype}]" if column.is_list else column.dtype
            raise SchemaError(
                f"Dataset.to_parquet: partition_on has {name!r}, which is {kind}. Only whole numbers, texts, truth "
                "values and dates come back from a folder's name: make such a column first."
            )
    if len(set(columns)) < len(columns) or len(columns) == len(schema):
        wrong = "names a column twice" if len(set(columns)) < len(columns) else "names all columns"
        raise SettingError(f"Dataset.to_parquet: partition_on={list(columns)} {wrong}. Leave one out.")


def partition_folder(keys: Mapping[str, object]) -> str:
    """The folder for these values: `day=2024-01-01/country=fr`."""
    return "/".join(f"{quote(name, safe=' ')}={_value(value)}" for name, value in keys.items())


def _value(value: object) -> str:
    if value is None:
        return _NULL
    name = quote(str(value).lower() if isinstance(value, bool) else str(value), safe="")
    if name == _NULL or len(name) > _LONGEST:
        wrong = "stands for null" if name == _NULL else "is too long for a folder's name"
        raise DataError(
            f"Dataset.to_parquet: partition_on meets the value {str(value)[:60]!r}, which {wrong}. Leave it out."
        )
    return name
