"""Paths, globs and folders to parquet files, and the schema that lies beside them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from tamis.errors import DataError
from tamis.schema import SCHEMA_FILE, Schema

_GLOB_SIGNS = "*?["


def find_files(path: str) -> tuple[str, ...]:
    """The files of a path, glob, folder (with all below it) or URL, in order of their names.

    Raises:
        DataError: nothing is there.
    """
    if is_url(path):
        return (path,)
    place = Path(path).expanduser()
    if place.is_dir():
        return _in_folder(place)
    if place.is_file():
        return (str(place),)
    if any(sign in path for sign in _GLOB_SIGNS):
        return _matching(place)
    raise DataError(f"{path}: there is no such file or folder. Check the path.")


def is_url(file: str) -> bool:
    """Whether the file lies in a cloud."""
    return "://" in file


def _in_folder(folder: Path) -> tuple[str, ...]:
    # Hidden folders are unfinished writes of ours or other programs' notes.
    found = [f for f in folder.glob("**/*.parquet") if f.is_file() and not _is_hidden(f.relative_to(folder))]
    if not found:
        raise DataError(f"{folder}: the folder holds no .parquet file. Give the folder that holds them.")
    return tuple(sorted(map(str, found)))


def _matching(pattern: Path) -> tuple[str, ...]:
    fixed = Path(*itertools.takewhile(lambda part: not any(sign in part for sign in _GLOB_SIGNS), pattern.parts))
    wild = pattern.relative_to(fixed)
    found = sorted(fixed.glob(str(wild)))
    if not _is_hidden(wild):  # hidden only matches hidden, as in a shell
        found = [match for match in found if not _is_hidden(match.relative_to(fixed))]
    files: list[str] = []
    for match in found:
        if match.is_dir() and any(match.glob("**/*.parquet")):
            files += _in_folder(match)
        elif match.is_file() and match.name != SCHEMA_FILE:
            files.append(str(match))
    if not files:
        raise DataError(f"{pattern}: no file matches. Check the pattern and the folder.")
    return tuple(dict.fromkeys(files))  # `**` matches a folder and its files


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def schema_beside(files: Sequence[str]) -> tuple[Schema, str] | None:
    """The schema of `schema.json` in the first file's folder or the one above, and where it was found."""
    if not files or is_url(files[0]):
        return None
    folder = Path(files[0]).absolute().parent
    for place in (folder, folder.parent):
        if (place / SCHEMA_FILE).is_file():
            return Schema.load(place / SCHEMA_FILE), str(place / SCHEMA_FILE)
    return None
