"""The folder of a search: whose it is, what it searched, and that nobody else writes in it."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from tamis.errors import FormatError, SettingError
from tamis.folders import read_json

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: two searches in one folder are not told apart
    fcntl = None

KIND, VERSION = "study", 1
STUDY, ROWS, TRIALS, TABLE, BEST = "study.json", "rows", "trials.jsonl", "trials.csv", "best.toml"


@contextmanager
def held_study(folder: Path, searched: Mapping[str, Any]) -> Iterator[None]:
    """Inside, the folder is there, is a study of what is `searched`, and no other process writes in it.

    Raises:
        FormatError: the folder holds something else, or a study of a newer version.
        SettingError: another search is running there, or it was of something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        if (folder / STUDY).exists():
            _check_same(folder, searched)
        else:
            _begin(folder, searched)
        yield


def replace_text(file: Path, text: str) -> None:
    """Write a file that is there as a whole or not at all, whatever happens meanwhile."""
    fresh = file.with_name(f".{file.name}.new")
    with fresh.open("w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    fresh.replace(file)


def fingerprint(path: str) -> str:
    """Tells whether files changed, by their names, sizes and times; not of what lies behind a URL."""
    if not path or "://" in path:
        return ""
    place = Path(path).expanduser()
    pattern = str(place / "**" if place.is_dir() else place)
    files = map(Path, glob.glob(pattern, recursive=True))  # noqa: PTH207 # a Path globs relative patterns only
    stats = sorted((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file())
    return hashlib.sha256(json.dumps(stats).encode()).hexdigest()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The lock goes with the process, however it ends."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise SettingError(
            f"{folder}: another search is running there. Wait for it, or name another folder with --study."
        ) from error
    try:
        yield
    finally:
        os.close(handle)


def _begin(folder: Path, searched: Mapping[str, Any]) -> None:
    strangers = sorted(entry.name for entry in folder.iterdir() if entry.name != f".{STUDY}.new")
    if strangers:
        raise FormatError(
            f"{folder}: the folder holds {strangers[0]!r} and no {STUDY}, so it is no study. Name a new or empty "
            "folder with --study."
        )
    content = {"kind": KIND, "version": VERSION, "searched": searched}
    replace_text(folder / STUDY, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _check_same(folder: Path, searched: Mapping[str, Any]) -> None:
    content = read_json(folder / STUDY)
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise FormatError(f"{folder / STUDY}: it does not describe a study. Name another folder with --study.")
    if content["version"] > VERSION:
        raise FormatError(
            f"{folder}: format version {content['version']} is newer than the {VERSION} that this Tamis reads. Upgrade "
            "Tamis, or name another folder with --study."
        )
    before, now = _flat(content["searched"]), _flat(json.loads(json.dumps(searched)))
    for name, value in before.items():  # a setting that is newer than the study had its default in it
        if name in now and now[name] != value:
            raise SettingError(f"{folder}: {_difference(name, value, now[name])}")


def _difference(name: str, before: Any, now: Any) -> str:
    way_out = "or name another folder with --study; trials of both cannot be compared"
    if name.startswith("files."):
        return f"the files of data.{name.removeprefix('files.')} changed since it began. Bring them back, {way_out}."
    values = f"{name} = {json.dumps(before)}, now it is {json.dumps(now)}"
    return f"the study searched with {values}. Change it back, {way_out}."


def _flat(content: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Values by dotted names; the space is one value, as a part of it is no study of its own."""
    flat: dict[str, Any] = {}
    for name, value in content.items():
        is_table = isinstance(value, dict) and name != "space"
        flat |= _flat(value, f"{above}{name}.") if is_table else {f"{above}{name}": value}
    return flat
