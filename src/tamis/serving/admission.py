"""How many requests a process works on: some at once, some that wait, and no more."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


class TooBusyError(Exception):
    """All places at work and in the queue are taken."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("The server has as many requests as it can take. Try again later.")
        self.retry_after_s = retry_after_s


class Admission:
    """Runs work in threads, as much as was agreed on.

    Args:
        threads: at work at once.
        queue: that may wait for a thread.
        name: of the threads.
    """

    def __init__(self, threads: int, queue: int, *, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._places = threads + queue
        self.num_inside = 0

    async def run(self, work: Callable[[], T]) -> T:
        """The result of the work, done in a thread.

        Raises:
            TooBusyError: at once, if there is no place.
        """
        self.enter()
        context = contextvars.copy_context()
        future = self._pool.submit(context.run, work)
        future.add_done_callback(self._leaver())
        return await asyncio.wrap_future(future)

    def enter(self) -> None:
        """Take a place.

        Raises:
            TooBusyError: there is none.
        """
        if self.num_inside >= self._places:
            raise TooBusyError(retry_after_s=1)
        self.num_inside += 1

    def leave(self) -> None:
        """Give a place back."""
        self.num_inside -= 1

    def _leaver(self) -> Callable[[object], None]:
        """Frees the place when the work has ended, even if its caller has gone away."""
        loop = asyncio.get_running_loop()

        def done(_: object) -> None:
            with suppress(RuntimeError):  # the loop ended before the work did
                loop.call_soon_threadsafe(self.leave)

        return done

    def close(self) -> None:
        """Wait for what is at work."""
        self._pool.shutdown(wait=True)
