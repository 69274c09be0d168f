"""A part of the server that lies outside its process: asked within a time, and left alone while it does not answer."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

from tamis.errors import TamisError, UnreachableError

T = TypeVar("T")
_LOG = logging.getLogger("tamis.serving")
_PROBE_S, _SAY_S = 0.1, 60.0  # how often is it asked whether it is back; how often the same fault is told
_THREADS = 16
_SHARE = 0.5  # of an answer's time that one question may take


@dataclass
class AnswerTime:
    """What an answer under way has of time, and which parts it has to do without."""

    deadline: float
    missed: set[str] = field(default_factory=set)


_CURRENT: ContextVar[AnswerTime | None] = ContextVar("answer_time", default=None)


@contextmanager
def answering_until(deadline: float) -> Iterator[AnswerTime]:
    """What is asked of parts outside within this block ends by `deadline`, of `time.perf_counter`."""
    current = AnswerTime(deadline)
    token = _CURRENT.set(current)
    try:
        yield current
    finally:
        _CURRENT.reset(token)


def is_missed(level: str) -> bool:
    """Whether the answer under way has to do without something, by the level of its degradation."""
    current = _CURRENT.get()
    return current is not None and level in current.missed


class Outside:
    """One such part. Any number of threads may ask.

    Args:
        name: in logs.
        probe: raises what `TamisError` says unless the part answers.
        timeout_s: the most that a question may take.
        level: the degradation of an answer that does without this part.
    """

    def __init__(self, name: str, probe: Callable[[], None], *, timeout_s: float, level: str) -> None:
        self.name, self._probe, self._timeout_s, self._level = name, probe, timeout_s, level
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="outside")
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._is_up, self._told_at = True, -math.inf
        self._prober: threading.Thread | None = None
        try:
            self._probe_quickly()
        except TamisError as error:
            self._lost(error)

    @property
    def is_up(self) -> bool:
        """Whether it answered when it was asked last."""
        return self._is_up

    def ask(self, work: Callable[[], T]) -> T | None:
        """The result of the work; None where there is none in time, which the answer under way is marked with."""
        current = _CURRENT.get()
        left_s = math.inf if current is None else _SHARE * (current.deadline - time.perf_counter())
        found = self._ask(work, left_s) if self._is_up and left_s > 0 else None
        if found is None and current is not None:
            current.missed.add(self._level)
        return found

    def _ask(self, work: Callable[[], T], left_s: float) -> T | None:
        future = self._pool.submit(work)  # in a thread of its own: no library keeps a time as short as this for sure
        try:
            return future.result(min(self._timeout_s, left_s))
        except TimeoutError:
            future.cancel()
            if left_s >= self._timeout_s:  # else the request was in a greater hurry than the part is slow
                self._lost(UnreachableError(f"no answer within {self._timeout_s * 1000:g} ms"))
        except UnreachableError as error:
            self._lost(error)
        except TamisError as error:  # it answers, but has not what was asked for
            self._tell(error)
        return None

    def _tell(self, error: TamisError) -> None:
        now = time.monotonic()
        if now - self._told_at > _SAY_S:
            self._told_at = now
            _LOG.error("%s: %s", self.name, error)

    def _lost(self, error: TamisError) -> None:
        with self._lock:
            if not self._is_up or self._closed.is_set():
                return
            self._is_up = False
            _LOG.error("%s is gone, answers do without it: %s", self.name, error)
            self._prober = threading.Thread(target=self._look_for_it, daemon=True, name="probe")
            self._prober.start()

    def _look_for_it(self) -> None:
        while not self._closed.wait(_PROBE_S):
            try:
                self._probe_quickly()
            except TamisError:
                continue
            self._is_up, self._told_at = True, -math.inf
            _LOG.warning("%s is back", self.name)
            return

    def _probe_quickly(self) -> None:
        """Back is what answers in the time that a request would give it."""
        started = time.perf_counter()
        self._probe()
        if time.perf_counter() - started > self._timeout_s:
            raise UnreachableError(f"{self.name}: it answers too slowly.")

    def close(self) -> None:
        """End the threads."""
        self._closed.set()
        if self._prober is not None:
            self._prober.join(timeout=5)
        self._pool.shutdown(wait=False, cancel_futures=True)
