"""The versions that a process answers with: loaded, kept up to date, and exchanged between two requests."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tamis.errors import FormatError, TamisError, UnknownNameError
from tamis.serving.live_version import LiveVersion
from tamis.serving.process_memory import give_memory_back
from tamis.serving.published import PublishedPlace, PublishedState
from tamis.serving.turns import in_turn
from tamis.serving.update_log import UpdateLog

_LOG = logging.getLogger("tamis.serving")
_WATCH_S, _FOLLOW_S = 0.5, 0.05


@dataclass(frozen=True)
class Served:
    """What is served at a moment; replaced as a whole.

    Args:
        state: of the published place, with versions that are loaded alone.
        versions: loaded, by name.
        failed: why versions of the published place are not served, by name.
    """

    state: PublishedState
    versions: Mapping[str, LiveVersion]
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def current(self) -> LiveVersion:
        """What most users get."""
        return self.versions[self.state.current]

    @property
    def shadow(self) -> LiveVersion | None:
        """What answers beside it, to be compared."""
        return None if self.state.shadow is None else self.versions[self.state.shadow]

    def version_of(self, user: str | int | None) -> LiveVersion:
        """What this user gets."""
        return self.versions[self.state.version_of(user)]

    def asked_for(self, name: str | None, user: str | int | None) -> LiveVersion:
        """The version of this name, without one what the user gets.

        Raises:
            UnknownNameError: no such version is loaded.
        """
        if name is None:
            return self.version_of(user)
        if name not in self.versions:
            raise UnknownNameError(name, self.versions, where="version", what="loaded version")
        return self.versions[name]


class ServedVersions:
    """Loads what is to be served, and with a published place follows what is published there.

    Args:
        path: a bundle, or a published place.
        log: of updates; None takes none.
        opened: called with every version before its first update.
        loaded: called with every version before it is served.
        runtime: what runs the models, see `Recommender.load`.

    Raises:
        FormatError: there is neither, or nothing that can be served.
    """

    def __init__(
        self,
        path: str | Path,
        log: UpdateLog | None = None,
        *,
        opened: Callable[[LiveVersion], None] | None = None,
        loaded: Callable[[LiveVersion], None] | None = None,
        runtime: str = "auto",
    ) -> None:
        place = PublishedPlace(path)
        self._place, self._log = place if place.exists else None, log
        self._path, self._runtime = Path(path), runtime
        self._opened, self._loaded = opened or (lambda version: None), loaded or (lambda version: None)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._seen: object = None
        self.served = self._first() if self._place is None else self._first_published(self._place)

    def _first(self) -> Served:
        version = self._ready(LiveVersion.load(self._path, runtime=self._runtime))
        return Served(PublishedState(version.name), {version.name: version})

    def _first_published(self, place: PublishedPlace) -> Served:
        """The current version, or the latest before it that can be served."""
        self._seen, state = _stamp(place), place.read()
        failed: dict[str, str] = {}
        for name in (state.current, *state.previous):
            version = self._try_load(place, name, failed)
            if version is not None:
                only = Served(PublishedState(name), {name: version}, failed)
                return only if name != state.current else self._settled(place, state, only)
        raise FormatError(f"{place.folder}: no version can be served. {'. '.join(failed.values())}")

    def _try_load(self, place: PublishedPlace, name: str, failed: dict[str, str]) -> LiveVersion | None:
        try:
            return self._ready(LiveVersion.load(place.path_of(name), name, runtime=self._runtime))
        except (TamisError, OSError, MemoryError, ValueError, KeyError, TypeError, RuntimeError) as error:
            failed[name] = str(error) or repr(error)
            _LOG.error("version %s stays off: %s", name, failed[name])
            return None

    def _ready(self, version: LiveVersion) -> LiveVersion:
        self._opened(version)
        if self._log is not None:
            version.follow(self._log)
        self._loaded(version)
        return version

    def start(self) -> None:
        """Follow updates, and the published place, from now on."""
        jobs = [(self._follow, _FOLLOW_S)] if self._log is not None else []
        jobs += [(self._watch, _WATCH_S)] if self._place is not None else []
        for job, every_s in jobs:
            thread = threading.Thread(target=self._repeat, args=(job, every_s), daemon=True, name=job.__name__)
            thread.start()
            self._threads.append(thread)

    def _repeat(self, job: Callable[[], None], every_s: float) -> None:
        while not self._stop.wait(every_s):
            try:
                job()
            except Exception:  # the next time may go well, and the server must not stand still
                _LOG.exception("%s failed", job.__name__)

    def follow(self) -> None:
        """Apply what is new in the log to all versions, as the thread does every now and then."""
        self._follow()

    def _follow(self) -> None:
        if self._log is not None:
            for version in self.served.versions.values():
                version.follow(self._log)

    def _watch(self) -> None:
        place = self._place
        assert place is not None
        if _stamp(place) == self._seen:
            return
        with in_turn():
            self._seen = _stamp(place)  # waiting for a turn takes a while
            try:
                state = place.read()
            except FormatError as error:
                _LOG.error("%s; the versions before serve on", error)
                return
            self._take_up(place, state)
        _LOG.info("serving %s", _in_words(self.served.state))

    def _take_up(self, place: PublishedPlace, state: PublishedState) -> None:
        old = self.served
        self.served = self._settled(place, state, old)  # one assignment: a request sees the old or the new
        if self.served.versions.keys() != old.versions.keys():
            del old
            gc.collect()  # a version's parts point at each other, and there may be gigabytes of them
            give_memory_back()

    def _settled(self, place: PublishedPlace, state: PublishedState, old: Served) -> Served:
        """What can be served of a state: versions that fail are left out, the current one is then the old one."""
        failed: dict[str, str] = {}
        versions = {name: old.versions[name] for name in state.versions if name in old.versions}
        for name in state.versions:
            if name not in versions:
                started = time.perf_counter()
                version = self._try_load(place, name, failed)
                if version is not None:
                    versions[name] = version
                    _LOG.info("version %s is ready after %.1f s", name, time.perf_counter() - started)
        current = state.current
        if current not in versions:
            current = old.state.current
            versions[current] = old.current
        split = {name: share for name, share in state.split.items() if name in versions}
        shadow = state.shadow if state.shadow in versions else None
        return Served(PublishedState(current, state.previous, split, shadow), versions, failed)

    def stop(self) -> None:
        """End the threads."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=10)


def _stamp(place: PublishedPlace) -> object:
    """What changes when the state is replaced."""
    try:
        found = (place.folder / "state.json").stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _in_words(state: PublishedState) -> str:
    parts: list[Any] = [f"version {state.current}"]
    parts += [f"{share:.0%} of the users get {name}" for name, share in state.split.items()]
    parts += [f"shadow {state.shadow}"] if state.shadow is not None else []
    return ", ".join(parts)
