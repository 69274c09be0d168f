"""The formats that tables come in, and how each is told from its name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tamis.errors import DataError, UnknownNameError

ENDINGS: dict[str, tuple[str, ...]] = {
    "parquet": (".parquet", ".parq", ".pq", ".parquet.gzip"),  # the last is what pandas' users call a gzip-coded one
    "csv": (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".csv.zst", ".tsv.zst"),
    "arrow": (".arrow", ".feather", ".ipc"),
    "jsonl": (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz", ".jsonl.zst", ".ndjson.zst"),
}
LAKE_FORMATS = ("delta", "iceberg")  # a folder is one table, whose own files tell which others count
FORMATS = (*ENDINGS, *LAKE_FORMATS)
TEXT_FORMATS = ("csv", "jsonl")  # their types are guessed, and can be said


def check_format(format: str | None) -> None:
    """Refuse a format that is none.

    Raises:
        UnknownNameError: with the nearest one.
    """
    if format is not None and format not in FORMATS:
        raise UnknownNameError(format, FORMATS, where="Dataset", what="format")


def format_by_ending(name: str) -> str | None:
    """The format that a file's ending stands for, or None."""
    lower = name.lower()
    return next((format for format, endings in ENDINGS.items() if lower.endswith(endings)), None)


def stem_of(name: str) -> str:
    """A file's name without the ending that tells its format."""
    endings = sorted((ending for all_of in ENDINGS.values() for ending in all_of), key=len, reverse=True)
    return next((name[: -len(ending)] for ending in endings if name.lower().endswith(ending)), name)


def format_of(file: str) -> str:
    """The format of a file by its ending.

    Raises:
        DataError: the ending stands for none.
    """
    found = format_by_ending(file)
    if found is not None:
        return found
    ending = Path(file).suffix
    wrong = f"the ending {ending!r} stands for no known format" if ending else "a name without ending tells no format"
    line = "format='jsonl' if every line is an object of its own" if ending == ".json" else "format='parquet'"
    raise DataError(f"{file}: {wrong}. Say what it holds, for example {line}; known are {', '.join(FORMATS)}.")


def one_format(files: Iterable[str], where: str) -> str:
    """The format that all files share.

    Raises:
        DataError: there are two of them, or a file tells none.
    """
    first: dict[str, str] = {}
    for file in files:
        first.setdefault(format_of(file), file)
    if len(first) > 1:
        (one, example), (other, example_of_other), *_ = first.items()
        raise DataError(
            f"{where}: there are files of two formats, {one} ({Path(example).name}) and {other} "
            f"({Path(example_of_other).name}). Say which to read, for example format={one!r}, or give a pattern."
        )
    return next(iter(first))
