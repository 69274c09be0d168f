"""Paths, globs and folders to the files of a table, and the schema that lies beside them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tamis.data.formats import ENDINGS, LAKE_FORMATS, format_by_ending, one_format, stem_of
from tamis.data.hive import is_hive_folder
from tamis.data.lake_tables import lake_format
from tamis.errors import DataError, SettingError, UnknownNameError
from tamis.schema import SCHEMA_FILE, Schema

_GLOB_SIGNS = "*?["
_NUMBERED = re.compile(r"(?P<split>.+)-\d+-of-\d+")


def find_files(path: str, format: str | None = None, split: str | None = None) -> tuple[tuple[str, ...], str]:
    """The files of a path, glob, folder (with all below it) or URL, in order of their names; and their format.

    Of a Delta Lake or Iceberg table the folder itself counts as the file.

    Args:
        path: where to look.
        format: what the files hold; by default what their endings say, which must be one thing.
        split: the part of a folder to take: its files are named `train.parquet`, `train-00000-of-00003.parquet` or
            the like, or lie in a folder of that name.

    Raises:
        DataError: nothing is there, files of two formats, or several splits and none named.
        SettingError: a split of what is no folder.
        UnknownNameError: a split that the folder does not hold.
    """
    if is_url(path):
        _check_no_split(path, split)
        return (path,), format or format_by_ending(path.split("?")[0]) or "parquet"
    place = Path(path).expanduser()
    lake = lake_format(place) if format is None else format if format in LAKE_FORMATS else None
    if lake is not None and place.exists():
        _check_no_split(path, split)
        return (str(place),), lake
    if place.is_dir():
        return _in_folder(place, format, split)
    _check_no_split(path, split)
    if place.is_file():
        return (str(place),), format or one_format([str(place)], str(place))
    if any(sign in path for sign in _GLOB_SIGNS):
        files = _matching(place, format)
        return files, format or one_format(files, str(place))
    raise DataError(f"{path}: there is no such file or folder. Check the path.")


def is_url(file: str) -> bool:
    """Whether the file lies in a cloud."""
    return "://" in file


def _check_no_split(path: str, split: str | None) -> None:
    if split is not None:
        raise SettingError(
            f"{path}: split={split!r} is for a folder of files on this machine. Leave it out and give the files or a "
            "pattern such as 'train-*.parquet'."
        )


def _in_folder(folder: Path, format: str | None, split: str | None) -> tuple[tuple[str, ...], str]:
    files = _files_below(folder, format)
    if not files:
        wanted = "data file" if format is None else f"{format} file"
        endings = ", ".join(ends[0] for ends in ENDINGS.values()) if format is None else ", ".join(ENDINGS[format])
        raise DataError(f"{folder}: the folder holds no {wanted} ({endings}). Give the folder that holds them.")
    chosen = [str(file) for file in _of_split(files, folder, split)]
    return tuple(chosen), format or one_format(chosen, str(folder))


def _files_below(folder: Path, format: str | None) -> list[Path]:
    """Data files in order; hidden folders are unfinished writes of ours or other programs' notes."""
    below = [file for file in sorted(folder.rglob("*"), key=str) if file.is_file()]
    seen = [file for file in below if not _is_hidden(file.relative_to(folder))]
    if format is None:
        return [file for file in seen if format_by_ending(file.name)]
    fitting = [file for file in seen if format_by_ending(file.name) == format]
    # Named by hand, files without a known ending count too, but never the notes of other programs.
    return fitting or [f for f in seen if not (_is_note(f) or _is_schema(f) or format_by_ending(f.name))]


def _of_split(files: Sequence[Path], folder: Path, split: str | None) -> list[Path]:
    if split is None:
        _check_one_split(files, folder)
        return list(files)
    found = [file for file in files if split in _splits_of(file.relative_to(folder))]
    if not found:
        known = sorted({name for file in files for name in _splits_of(file.relative_to(folder))})
        raise UnknownNameError(split, known, where=str(folder), what="split")
    return found


def _splits_of(file: Path) -> set[str]:
    """What the split of a file may be called: its folders, its name, its name before a number."""
    stem = stem_of(file.name)
    return {*file.parts[:-1], stem, re.split(r"[-_.]\d", stem, maxsplit=1)[0]}


def _check_one_split(files: Sequence[Path], folder: Path) -> None:
    """Training and test rows read as one table would be a leak that nobody sees."""
    numbered = (_NUMBERED.fullmatch(stem_of(file.name)) for file in files)
    splits = sorted({match["split"] for match in numbered if match})
    if len(splits) > 1:
        raise DataError(
            f"{folder}: it holds the splits {', '.join(map(repr, splits))}. Say which one to read, for example "
            f"split={splits[-1]!r}; give the pattern '*' to read all of them as one table."
        )


def _matching(pattern: Path, format: str | None) -> tuple[str, ...]:
    fixed = Path(*itertools.takewhile(lambda part: not any(sign in part for sign in _GLOB_SIGNS), pattern.parts))
    wild = pattern.relative_to(fixed)
    found = sorted(fixed.glob(str(wild)))
    if not _is_hidden(wild):  # hidden only matches hidden, as in a shell
        found = [match for match in found if not _is_hidden(match.relative_to(fixed))]
    files: list[str] = []
    for match in found:
        if match.is_dir():
            files += map(str, _files_below(match, format))
        elif match.is_file() and not _is_schema(match) and not _is_note(match):
            files.append(str(match))
    if not files:
        raise DataError(f"{pattern}: no file matches. Check the pattern and the folder.")
    return tuple(dict.fromkeys(files))  # `**` matches a folder and its files


def _is_hidden(path: Path) -> bool:
    """Begins with a dot, or lies in a folder that another program keeps for itself, such as `_delta_log`."""
    notes = any(part.startswith("_") and not is_hive_folder(part) for part in path.parts[:-1])
    return notes or any(part.startswith(".") for part in path.parts)


def _is_note(file: Path) -> bool:
    return file.name.startswith("_") and format_by_ending(file.name) is None  # such as _SUCCESS


def _is_schema(file: Path) -> bool:
    return file.name == SCHEMA_FILE or file.name.endswith(f".{SCHEMA_FILE}")


def schema_beside(files: Sequence[str]) -> tuple[Schema, str] | None:
    """The schema that lies beside the files, and where it was found.

    That is `<name>.schema.json` for a single file, or else `schema.json` in the first file's folder or the one above;
    folders such as `day=2024-01-01` are passed on the way up.
    """
    if not files or is_url(files[0]):
        return None
    for place in schema_places(files):
        if place.is_file():
            return Schema.load(place), str(place)
    return None


def schema_places(files: Sequence[str]) -> Iterable[Path]:
    """Where the schema of these files may lie, the nearest first."""
    first = Path(files[0]).absolute()
    if len(files) == 1 and first.is_file():
        yield own_schema_file(first)
    folder = first if first.is_dir() else first.parent
    yield folder / SCHEMA_FILE
    while is_hive_folder(folder.name):
        folder = folder.parent
        yield folder / SCHEMA_FILE
    yield folder.parent / SCHEMA_FILE


def own_schema_file(file: Path) -> Path:
    """Where the schema of a single file lies that shares its folder with other tables."""
    return file.with_name(f"{stem_of(file.name)}.{SCHEMA_FILE}")
