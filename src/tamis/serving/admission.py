"""How many requests a process works on: some at once, some that wait, and no more."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
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
    """Runs work, as much as was agreed on: in threads, or where it is short in the event loop's own.

    Args:
        threads: at work at once.
        queue: that may wait for a thread.
        name: of the threads.
    """

    def __init__(self, threads: int, queue: int, *, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._places = threads + queue
        self._turns: deque[asyncio.Future[None]] = deque()  # of short work that waits
        self._is_turn_taken = False
        self.num_inside = 0

    async def run(self, work: Callable[[], T]) -> T:
        """The result of the work, done in a thread.

        Raises:
            TooBusyError: at once, if there is no place.
        """
        self._enter()
        context = contextvars.copy_context()
        future = self._pool.submit(context.run, work)
        future.add_done_callback(self._leaver())
        return await asyncio.wrap_future(future)

    async def run_here(self, work: Callable[[], T]) -> T:
        """The result of work of a few milliseconds, done in this thread: handing it to another takes a third of one.

        Between two such pieces of work the event loop looks at the network, so that those who come meanwhile are
        refused, or begin to count their time, as they should.

        Raises:
            TooBusyError: at once, if there is no place.
        """
        self._enter()
        try:
            if self._is_turn_taken:
                await self._turn()
            self._is_turn_taken = True
            asyncio.get_running_loop().call_soon(self._next_turn)
            return work()
        finally:
            self.num_inside -= 1

    async def _turn(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was this one's turn, and shall not be lost
                self._next_turn()
            raise

    def _next_turn(self) -> None:
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._is_turn_taken = False

    def _enter(self) -> None:
        if self.num_inside >= self._places:
            raise TooBusyError(retry_after_s=1)
        self.num_inside += 1

    def _leaver(self) -> Callable[[object], None]:
        """Frees the place when the work has ended, even if its caller has gone away."""
        loop = asyncio.get_running_loop()

        def leave() -> None:
            self.num_inside -= 1

        def done(_: object) -> None:
            with suppress(RuntimeError):  # the loop ended before the work did
                loop.call_soon_threadsafe(leave)

        return done

    def close(self) -> None:
        """Wait for what is at work."""
        self._pool.shutdown(wait=True)
