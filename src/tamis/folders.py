"""A saved thing is a folder: written beside its place, checked by a manifest, then moved in one rename."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from tamis.disk_full import telling_disk_full
from tamis.errors import FormatError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows: leftovers of killed writers stay
    fcntl = None

MANIFEST = "manifest.json"
_BESIDE_DATA = {"schema.json", "counts.json"}  # what our writers of data put beside parquet
_LEFTOVER_AGE_S = 60
_MOST_CHECKSUMS = 1024  # of files that were read once: those of some ten bundles
_SURE_AFTER_S = 0.1  # sooner a file may change once more within the same tick of its times


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """An empty folder to fill, which takes `path`'s place only when the block ends without an exception.

    A process that dies inside the block leaves the old folder as it was; one that dies between the two renames at
    the end leaves none. Never half of one. What a dead process left beside the place goes at the next write there.

    Raises:
        FormatError: there is a file, or a folder with something in it that Tamis did not write.
        DiskFullError: there is no more room.
    """
    target = Path(path).expanduser().absolute()
    _check_replaceable(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex[:8]
    fresh = target.with_name(f".{target.name}.new-{token}")
    fresh.mkdir()
    try:
        with _held(fresh), telling_disk_full(target, fresh):
            yield fresh
            _flush_to_disk(fresh)
            _put_in_place(fresh, target, old=target.with_name(f".{target.name}.old-{token}"))
    finally:
        _remove(fresh)
    _remove_leftovers(target)


def _remove(folder: Path) -> None:
    """Remove it for sure: other threads of a writer that failed may still be adding files."""
    for wait_s in (0.0, 0.01, 0.05, 0.2, 0.5):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(wait_s)


def _check_replaceable(target: Path) -> None:
    """A mistyped path must not cost a home folder."""
    if target.exists() and not target.is_dir():
        raise FormatError(f"{target}: there is a file where a folder should go. Give another path or remove the file.")
    stranger = _stranger_in(target) if target.is_dir() else None
    if stranger is not None:
        raise FormatError(
            f"{target}: the folder holds {stranger.name!r}, which is no data of ours, and replacing it would delete "
            "that. Give a new or empty folder."
        )


def _stranger_in(folder: Path) -> Path | None:
    """The first thing in a folder that is neither ours as a whole nor parquet; hidden files count too.

    A `schema.json` does not make a folder ours: people write one beside the raw data that they have.
    """
    if (folder / MANIFEST).is_file():
        return None
    for entry in sorted(folder.iterdir()):
        is_data = entry.suffix == ".parquet" or entry.name in _BESIDE_DATA
        stranger = _stranger_in(entry) if entry.is_dir() else None if is_data else entry
        if stranger is not None:
            return stranger
    return None


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Tell other writers that this one lives: the lock goes with the process, however it ends."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _remove_leftovers(target: Path) -> None:
    """Remove what dead writers to the same place left: older than a minute, and nobody holds it."""
    if fcntl is None:
        return
    for kind in ("new", "old"):
        for folder in target.parent.glob(f".{glob.escape(target.name)}.{kind}-????????"):
            with suppress(OSError):  # another writer was faster, or still holds it
                if time.time() - folder.stat().st_mtime > _LEFTOVER_AGE_S and not _is_held(folder):
                    shutil.rmtree(folder, ignore_errors=True)


def _is_held(folder: Path) -> bool:
    assert fcntl is not None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _flush_to_disk(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())


def _put_in_place(fresh: Path, target: Path, *, old: Path) -> None:
    if target.exists():
        target.rename(old)
    try:
        fresh.rename(target)
    except OSError:
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def saving(path: str | Path, *, kind: str, version: int, **facts: Any) -> Iterator[Path]:
    """Like `new_folder`, and adds a manifest: `kind`, format `version`, `facts` and a checksum of every file.

    Args:
        path: the folder to write or replace.
        kind: what the folder holds, for example `"workflow"`.
        version: the format's version, a whole number that grows.
        facts: anything JSON can hold that a reader wants to know first.

    Raises:
        FormatError: as `new_folder`, and where the folder holds parquet alone: it may be the very data trained on.
    """
    target = Path(path).expanduser()
    _check_replaceable(target)
    _check_is_no_data(target)
    with new_folder(path) as folder:
        yield folder
        files = {str(f.relative_to(folder)): _checksum(f) for f in sorted(folder.rglob("*")) if f.is_file()}
        manifest = {"kind": kind, "version": version, **facts, "files": files}
        write_json(folder / MANIFEST, manifest)


def _check_is_no_data(target: Path) -> None:
    files = [] if (target / MANIFEST).is_file() else sorted(file for file in target.rglob("*") if file.is_file())
    if files:
        raise FormatError(
            f"{target}: the folder holds the data {str(files[0].relative_to(target))!r}, and replacing it would delete "
            "that. Give a new or empty folder."
        )


def read_manifest(path: str | Path, *, kind: str, version: int) -> dict[str, Any]:
    """The manifest of a saved folder, after its kind, version and every checksum were found right.

    A file that this process has read before, and that was not touched since, is not read again.

    Raises:
        FormatError: no folder, no manifest, another kind, a newer version, a missing or changed file.
    """
    folder = Path(path)
    if not (folder / MANIFEST).is_file():
        wrong = "there is no such folder" if not folder.is_dir() else f"the folder has no {MANIFEST}"
        raise FormatError(f"{folder}: {wrong}, so it is not a saved {kind}. Give a folder that `save` wrote.")
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("kind") != kind:
        found = manifest.get("kind") if isinstance(manifest, dict) else manifest
        raise FormatError(f"{folder}: it holds {found!r}, not {kind!r}. Give a folder of a saved {kind}.")
    if not isinstance(manifest.get("version"), int) or not isinstance(manifest.get("files"), dict):
        raise FormatError(f"{folder}: its {MANIFEST} lacks a version or the list of files. Save the {kind} again.")
    if manifest["version"] > version:
        raise FormatError(
            f"{folder}: format version {manifest['version']} is newer than the {version} that this Tamis reads. "
            f"Upgrade Tamis, or save the {kind} again with this version."
        )
    for name, checksum in manifest["files"].items():
        _check(folder / name, checksum, kind)
    return manifest


def _check(file: Path, checksum: str, kind: str) -> None:
    if not file.is_file():
        raise FormatError(f"{file}: the file is missing from the saved {kind}. Save it again or restore the folder.")
    if _checksum(file) != checksum:
        raise FormatError(f"{file}: its content changed since it was saved. Save the {kind} again or restore the file.")


def _checksum(file: Path) -> str:
    """The checksum of what the file holds now; see `read_manifest`."""
    stamp = file.stat()
    if time.time() - max(stamp.st_mtime, stamp.st_ctime) <= _SURE_AFTER_S:
        return _read_checksum(file)
    # the second time changes with every write, and unlike the first one nobody can set it
    times = (stamp.st_mtime_ns, stamp.st_ctime_ns)
    return _known_checksum(file.absolute(), (stamp.st_dev, stamp.st_ino, stamp.st_size, *times))


def _read_checksum(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@lru_cache(maxsize=_MOST_CHECKSUMS)
def _known_checksum(file: Path, stamp: tuple[int, ...]) -> str:
    return _read_checksum(file)


def write_json(file: Path, content: Any) -> None:
    """Write JSON that people can read; NaN is refused, since JSON has none."""
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_json(file: Path) -> Any:
    """The content of a JSON file.

    Raises:
        FormatError: the file is missing or is not JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"{file}: it cannot be read as JSON ({error}). Restore the file or save it again.") from error
