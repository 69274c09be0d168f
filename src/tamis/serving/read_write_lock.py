"""Many may read at once, one alone may write: requests read a recommender, updates of items write it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class WouldWaitError(Exception):
    """Somebody writes, or is about to."""


class ReadWriteLock:
    """A writer waits for the readers that are in, and readers that come later wait for the writer."""

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._readers, self._writers_waiting, self._is_written = 0, 0, False

    @property
    def is_free(self) -> bool:
        """Whether a reader would not have to wait now."""
        return not (self._is_written or self._writers_waiting)

    @contextmanager
    def reading(self, *, wait: bool = True) -> Iterator[None]:
        """Beside other readers.

        Raises:
            WouldWaitError: without `wait`, while a writer is at work or waits.
        """
        with self._turn:
            if not (wait or self.is_free):
                raise WouldWaitError
            while self._is_written or self._writers_waiting:
                self._turn.wait()
            self._readers += 1
        try:
            yield
        finally:
            with self._turn:
                self._readers -= 1
                if not self._readers:
                    self._turn.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Alone."""
        with self._turn:
            self._writers_waiting += 1
            while self._is_written or self._readers:
                self._turn.wait()
            self._writers_waiting -= 1
            self._is_written = True
        try:
            yield
        finally:
            with self._turn:
                self._is_written = False
                self._turn.notify_all()
