"""The folder that a bulk run fills, and what becomes of it: parts, a note of each with its checksum, the settings."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl

from tamis.errors import FormatError, SettingError
from tamis.folders import read_json

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: two runs into one folder are not told apart
    fcntl = None

_SETTINGS, _DONE = "run.json", "parts.jsonl"
_FRESH, _PARTS = ".part-*", "part-*.parquet"
_RUN = "tamis_run"  # in the footer of what is finished: the settings of its run
_TITLES = {"recommender": "another recommender, or another state of it", "users": "other users"}


class BulkFolder:
    """The parts of one run. A part is there as a whole or not at all, whatever kills the run.

    Args:
        path: of the folder.
        settings: of the run.
        num_parts: how many parts it has.
        resume: keep the finished parts of an earlier run; false removes them.

    Raises:
        FormatError: the folder holds something else, or a run with other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], *, num_parts: int, resume: bool) -> None:
        self.path, self._num_parts, self._settings = path, num_parts, settings
        _check_ours(path)
        is_there = (path / _SETTINGS).is_file()
        if is_there and resume:
            _check_settings(path, read_json(path / _SETTINGS), settings)
        for pattern in (_FRESH,) if is_there and resume else (_FRESH, _DONE, _PARTS):
            for file in path.glob(pattern):
                file.unlink()
        _replace(path / _SETTINGS, json.dumps(settings, indent=2) + "\n")
        self.done: dict[int, dict[str, Any]] = self._checked()
        _replace(path / _DONE, "".join(_line(note) for note in self.done.values()))

    def _checked(self) -> dict[int, dict[str, Any]]:
        """Notes of the parts that are there as they were written; the rest is made again."""
        if not (self.path / _DONE).is_file():
            return {}
        notes = filter(None, map(_note, (self.path / _DONE).read_text(encoding="utf-8").splitlines()))
        return {one["part"]: one for one in notes if _is_whole(self._file(one["part"]), one["sha256"])}

    @property
    def num_empty(self) -> int:
        """How many lists of the finished parts are empty."""
        return sum(note["num_empty"] for note in self.done.values())

    def write(self, number: int, rows: pl.DataFrame, *, num_empty: int) -> None:
        """Add a part."""
        file = self._file(number)
        fresh = file.with_name(f".{file.name}")
        rows.write_parquet(fresh, metadata=self._footer)
        _flush(fresh)
        note = {"part": number, "num_rows": len(rows), "num_empty": num_empty, "sha256": _checksum(fresh)}
        fresh.replace(file)
        with (self.path / _DONE).open("a", encoding="utf-8") as notes:
            notes.write(_line(note))
            notes.flush()
            os.fsync(notes.fileno())
        self.done[number] = note

    def finish(self, target: Path) -> None:
        """Put the parts in the target's place: as one file, if it ends in `.parquet`, else as the folder that they are.

        The folder itself is gone then.
        """
        if target.suffix == ".parquet":
            files = [self._file(number) for number in range(self._num_parts)]
            fresh = self.path / ".part-all.parquet"
            pl.scan_parquet(files).sink_parquet(fresh, metadata=self._footer, sync_on_close="all")
            fresh.replace(target)
            shutil.rmtree(self.path)
        else:
            if target.exists():
                shutil.rmtree(target)  # ours, or empty: `is_done` has seen to that
            self.path.replace(target)
            _remove_notes(target)

    @property
    def _footer(self) -> dict[str, str]:
        return {_RUN: json.dumps(self._settings)}

    def _file(self, number: int) -> Path:
        return self.path / f"part-{number:05d}.parquet"


def is_done(target: Path, settings: Mapping[str, Any], *, num_parts: int, resume: bool) -> bool:
    """Whether all that the run would write is there.

    Raises:
        FormatError: something else is there that the run does not replace.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return False
    there = _settings_of(target)
    if there is None:
        raise FormatError(f"{target}: it holds no recommendations, and stays as it is. Give another path.")
    if resume:
        _check_settings(target, there, settings)
    if target.is_dir():
        _remove_notes(target)
        return resume and len(list(target.glob(_PARTS))) == num_parts
    return resume


def _settings_of(target: Path) -> Any:
    """Of which run the file, or all files of the folder, are; None if they are of none, or of several."""
    is_file = target.suffix == ".parquet"
    if is_file != target.is_file():
        return None
    files = [target] if is_file else [file for file in target.iterdir() if file.name not in (_SETTINGS, _DONE)]
    try:
        found = {pl.read_parquet_metadata(file)[_RUN] for file in files}
        return json.loads(found.pop()) if len(found) == 1 else None
    except (OSError, KeyError, ValueError, pl.exceptions.PolarsError):
        return None


def _remove_notes(folder: Path) -> None:
    for name in (_DONE, _SETTINGS):
        (folder / name).unlink(missing_ok=True)


def _check_settings(path: Path, there: Any, asked: Mapping[str, Any]) -> None:
    """Refuse a run that would mix its rows with those of another.

    Raises:
        FormatError: names the first setting that differs.
    """
    known = there if isinstance(there, dict) else {}
    for name, value in asked.items():
        if known.get(name) != value:
            told = _TITLES.get(name) or ("another context" if name == "context" else f"{name}={known.get(name)!r}")
            now = "" if name in (*_TITLES, "context") else f", now {name}={value!r}"
            raise FormatError(
                f"{path}: it holds the lists of a run with {told}{now}. Give another path, or start anew with "
                "resume=False (on the command line --restart), which drops what is there."
            )


@contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """The folder, made if it is not there, for this process alone.

    Raises:
        FormatError: there is a file.
        SettingError: another process writes there.
    """
    if path.exists() and not path.is_dir():
        raise FormatError(f"{path}: there is a file where a folder should go. Give another path, or one of a .parquet.")
    path.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        _lock(handle, path)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, path: Path) -> None:
    assert fcntl is not None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SettingError(
            f"{path}: another process writes recommendations there. Wait for it, or give another path."
        ) from error


def _check_ours(path: Path) -> None:
    ours = (_FRESH, _SETTINGS, _DONE, *([_PARTS] if (path / _SETTINGS).is_file() else []))
    strange = sorted(file.name for file in path.iterdir() if not any(file.match(pattern) for pattern in ours))
    if strange:
        raise FormatError(
            f"{path}: the folder holds {strange[0]!r}, which no run of ours wrote, and stays as it is. Move it away, "
            "or give another path."
        )


def _note(line: str) -> dict[str, Any] | None:
    """A finished part; None for the half line that a killed run may leave."""
    try:
        note = json.loads(line)
    except ValueError:
        return None
    is_whole = isinstance(note, dict) and {"part", "num_rows", "num_empty", "sha256"} <= note.keys()
    return note if is_whole else None


def _line(note: Mapping[str, Any]) -> str:
    return json.dumps(note) + "\n"


def _is_whole(file: Path, checksum: str) -> bool:
    return file.is_file() and _checksum(file) == checksum


def _checksum(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _flush(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


def _replace(file: Path, content: str) -> None:
    """Write a small file as a whole."""
    fresh = file.with_name(f".part-{file.name}")
    fresh.write_text(content, encoding="utf-8")
    _flush(fresh)
    fresh.replace(file)
