"""A place where versions of a bundle are published: a folder that servers watch.

state.json                 which version is served to whom; replaced in one step
versions/<version>/        bundles, each checked before it got here
updates/                   the log of updates, which belongs to the place and outlives its versions
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from tamis.disk_full import telling_disk_full
from tamis.errors import FormatError, SettingError
from tamis.folders import read_json
from tamis.recommender.recommender import Recommender
from tamis.recommender.recommender_folder import identity_of

STATE, VERSIONS, UPDATES = "state.json", "versions", "updates"
_CHECKSUM_LETTERS = 8


@dataclass(frozen=True)
class PublishedState:
    """Which version is served to whom.

    Args:
        current: the version of all users whom the split gives no other.
        previous: what was current before, the latest first.
        split: shares of users, of more than 0 and less than 1 together, by version.
        shadow: a version that answers too, but is only compared.
    """

    current: str
    previous: tuple[str, ...] = ()
    split: Mapping[str, float] = field(default_factory=dict)
    shadow: str | None = None

    @property
    def versions(self) -> list[str]:
        """All that have to be loaded, the current first."""
        found = [self.current, *self.split, *([] if self.shadow is None else [self.shadow])]
        return list(dict.fromkeys(found))

    def version_of(self, user: str | int | None) -> str:
        """The version that a user gets, the same in every process and on every day; nobody gets the current."""
        if not self.split or user is None:
            return self.current
        place = int.from_bytes(blake2b(str(user).encode(), digest_size=8).digest()) / 2**64
        for version, share in self.split.items():
            if place < share:
                return version
            place -= share
        return self.current


class PublishedPlace:
    """Reads and changes a published place.

    Args:
        folder: of the place.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser().absolute()

    @property
    def exists(self) -> bool:
        """Whether something was published here."""
        return (self.folder / STATE).is_file()

    @property
    def updates(self) -> Path:
        """The folder of the log of updates."""
        return self.folder / UPDATES

    def path_of(self, version: str) -> Path:
        """The bundle of a version."""
        return self.folder / VERSIONS / version

    def read(self) -> PublishedState:
        """The state now.

        Raises:
            FormatError: there is none, or it is damaged.
        """
        file = self.folder / STATE
        found = read_json(file)
        try:
            state = PublishedState(**{**found, "previous": tuple(found["previous"])})
            is_right = isinstance(state.current, str) and all(0 < share <= 1 for share in state.split.values())
        except (TypeError, KeyError, AttributeError):
            is_right = False
        if not is_right:
            raise FormatError(f"{file}: it does not say which version is current. Publish again, or restore the file.")
        return state

    def publish(
        self, bundle: str | Path, *, share: float | None = None, shadow: bool = False, keep: int = 5
    ) -> PublishedState:
        """Copy a bundle here, see that it answers as it did when it was saved, and let servers take it up.

        Args:
            bundle: a folder that `Recommender.save` wrote; one of this place's own versions is not copied again.
            share: of the users, who get it beside the current version; None makes it the current for all.
            shadow: true only compares it with the current version.
            keep: how many versions stay, besides those in use.

        Raises:
            FormatError: a damaged bundle, or one that answers otherwise: nothing changed then.
            SettingError: the share is not between 0 and 1, or the first version is no current one.
            DiskFullError: there is no room for the copy.
        """
        if share is not None and not 0 < share < 1:
            raise SettingError(f"publish: the share is {share}. Give a number between 0 and 1, 0.1 say.")
        with self._alone():
            old = self.read() if self.exists else None
            if old is None and (share is not None or shadow):
                raise SettingError(f"publish: {self.folder} has no version yet to compare with. Publish one for all.")
            version = self._copied(Path(bundle).expanduser().absolute())
            state = _with(old, version, share=share, shadow=shadow)
            self._write(state)
            self._remove_old(state, keep)
        return state

    def rollback(self) -> PublishedState:
        """Undo what was published last: an experiment where one runs, else the current version.

        Raises:
            SettingError: there is nothing to go back to.
        """
        with self._alone():
            state = self.read()
            if state.split or state.shadow is not None:
                state = replace(state, split={}, shadow=None)
            else:
                there = [one for one in state.previous if self.path_of(one).is_dir()]
                if not there:
                    raise SettingError(f"rollback: {self.folder} has no version before {state.current}. Publish one.")
                state = replace(state, current=there[0], previous=tuple(there[1:]))
            self._write(state)
        return state

    def _copied(self, bundle: Path) -> str:
        if bundle.parent == self.folder / VERSIONS:
            Recommender.load(bundle)
            return bundle.name
        version = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{identity_of(bundle)[:_CHECKSUM_LETTERS]}"
        (self.folder / VERSIONS).mkdir(parents=True, exist_ok=True)
        fresh = self.folder / VERSIONS / f".{version}.{uuid.uuid4().hex[:8]}"
        try:
            with telling_disk_full(self.path_of(version), fresh):
                shutil.copytree(bundle, fresh)
            Recommender.load(fresh)
            _flush(fresh)
            if not self.path_of(version).is_dir():  # the same bundle, twice within a second
                fresh.rename(self.path_of(version))
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return version

    def _write(self, state: PublishedState) -> None:
        fresh = self.folder / f".{STATE}.{uuid.uuid4().hex[:8]}"
        try:
            with fresh.open("w", encoding="utf-8") as file:
                json.dump(asdict(state), file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.folder / STATE)
        finally:
            fresh.unlink(missing_ok=True)

    def _remove_old(self, state: PublishedState, keep: int) -> None:
        used = {*state.versions, *state.previous[:keep]}
        for folder in sorted((self.folder / VERSIONS).iterdir()):
            if folder.name not in used and not folder.name.startswith("."):
                shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time changes the place."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            import fcntl
        except ImportError:  # Windows: people publish one after the other there
            yield
            return
        with (self.folder / ".lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _with(old: PublishedState | None, version: str, *, share: float | None, shadow: bool) -> PublishedState:
    """The state after this version was added."""
    if old is None:
        return PublishedState(version)
    if shadow:
        return replace(old, shadow=version)
    if share is not None:
        return replace(old, split={version: share})
    if version == old.current:
        return PublishedState(version, old.previous)
    previous = (old.current, *(one for one in old.previous if one not in (old.current, version)))
    return PublishedState(version, previous)


def _flush(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())


def as_dict(state: PublishedState) -> dict[str, Any]:
    """The state as JSON holds it."""
    return {**asdict(state), "previous": list(state.previous)}
