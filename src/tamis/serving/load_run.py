"""Sends requests at their times, whether or not earlier ones were answered, and measures how long each took.

Open loop: a slow server does not slow the sending down, and what a request waits before it can be sent counts as its
own latency. A tool that waits for an answer before it asks again would leave out just the waits that users have.
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tamis.errors import SettingError
from tamis.serving.load_connection import BadAnswerError, Connection

MAX_CONNECTIONS = 500  # `select`, which waits by the microsecond, takes so many
TIMED_OUT, BROKEN = -1, -2  # in the place of a status
_LOOK_S = 0.25  # how often time-outs are looked for, and progress is told

OnAnswer = Callable[[int, int, bytes], None]


@dataclass
class Measured:
    """What became of each request, by its number.

    Args:
        due_s: [n] seconds from the start when it was due.
        latency_s: [n] from when it was due to the end of its answer; NaN where none came.
        service_s: [n] from when it was sent.
        status: [n] of HTTP, `TIMED_OUT` or `BROKEN`; 0 while it is not known.
        degraded: how many answers said that they are simpler than they should be.
        took_s: from the start to the last answer.
        late_s: [n] how late a request was sent although a connection was free: the load test's own fault.
        errors: what was said of requests without an answer, the first few.
    """

    due_s: NDArray[np.float64]
    latency_s: NDArray[np.float64] = field(init=False)
    service_s: NDArray[np.float64] = field(init=False)
    status: NDArray[np.int16] = field(init=False)
    late_s: NDArray[np.float64] = field(init=False)
    degraded: int = 0
    took_s: float = 0.0
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        count = len(self.due_s)
        self.latency_s, self.service_s = np.full(count, np.nan), np.full(count, np.nan)
        self.status, self.late_s = np.zeros(count, np.int16), np.zeros(count)


class LoadRun:
    """One load test; `run` does it.

    Args:
        address: host and port.
        due_s: seconds from the start when each request is due, ascending.
        requests: whole requests as bytes; the n-th is number n modulo their count.
        connections: kept open at most; requests wait where all are busy.
        timeout_s: after so long a request is given up.
        on_answer: called with each answer's number, status and body; it must be quick.
        on_progress: called now and then with the number of requests that are done.
    """

    def __init__(
        self,
        address: tuple[str, int],
        due_s: NDArray[np.float64],
        requests: Sequence[bytes],
        *,
        connections: int = 64,
        timeout_s: float = 10.0,
        on_answer: OnAnswer | None = None,
        on_progress: Callable[[int], None] | None = None,
    ) -> None:
        if not 1 <= connections <= MAX_CONNECTIONS:
            raise SettingError(f"loadtest: connections is {connections}. Give 1 to {MAX_CONNECTIONS}.")
        if not 0 < timeout_s <= 600:
            raise SettingError(f"loadtest: timeout is {timeout_s:g} seconds. Give more than 0 and up to 600.")
        self._address, self._requests, self._timeout_s = address, requests, timeout_s
        self._most, self._on_answer, self._on_progress = connections, on_answer, on_progress
        self._free = deque[Connection]()  # by turns, as many users would come
        self._busy: dict[Connection, tuple[int, float]] = {}  # the number of its request, and when it was sent
        self._waiting: deque[int] = deque()
        self._done = 0
        self.measured = Measured(due_s)

    def run(self) -> Measured:
        """Send all requests and wait for their answers, each for its time at most.

        Raises:
            SettingError: nobody listens at the address.
        """
        try:
            self._free.append(self._connected())
        except OSError as error:
            where = f"http://{self._address[0]}:{self._address[1]}"
            raise SettingError(
                f"loadtest: {where} cannot be reached ({error}). Start it with `tamis serve`, or give its URL."
            ) from error
        self._start = time.perf_counter()
        try:
            self._loop()
        finally:
            for connection in (*self._free, *self._busy):
                connection.close()
        self.measured.took_s = time.perf_counter() - self._start
        return self.measured

    def _connected(self) -> Connection:
        return Connection(self._address, timeout_s=min(self._timeout_s, 5.0))

    def _loop(self) -> None:
        due, count, following, look = self.measured.due_s, len(self.measured.due_s), 0, _LOOK_S
        while self._done < count:
            now = time.perf_counter() - self._start
            while following < count and due[following] <= now:
                self._waiting.append(following)
                following += 1
            self._send_waiting()
            until = due[following] if following < count else now + _LOOK_S
            self._receive(max(min(until, look) - (time.perf_counter() - self._start), 0.0))
            now = time.perf_counter() - self._start
            if now >= look:
                look = now + _LOOK_S
                self._give_up(now)
                if self._on_progress is not None:
                    self._on_progress(self._done)

    def _send_waiting(self) -> None:
        while self._waiting and (self._free or len(self._busy) < self._most):
            if self._free and self._free[0].was_closed:
                self._free.popleft().close()
                continue
            number = self._waiting[0]
            was_free = bool(self._free)
            try:
                connection = self._free.popleft() if was_free else self._connected()
            except OSError as error:
                self._waiting.popleft()
                self._end(number, BROKEN, error=str(error))
                continue
            self._waiting.popleft()
            sent = time.perf_counter() - self._start
            self.measured.late_s[number] = sent - self.measured.due_s[number] if was_free else 0.0
            self._busy[connection] = (number, sent)
            try:
                connection.send(self._requests[number % len(self._requests)])
            except OSError as error:
                self._drop(connection, BROKEN, str(error))

    def _receive(self, wait_s: float) -> None:
        unsent = [one for one in self._busy if one.has_unsent]
        readable, writable, _ = select.select(list(self._busy), unsent, [], wait_s)
        for connection in writable:
            try:
                connection.send_more()
            except OSError as error:
                self._drop(connection, BROKEN, str(error))
        for connection in readable:
            if connection not in self._busy:
                continue
            try:
                body = connection.receive()
            except (OSError, BadAnswerError) as error:
                self._drop(connection, BROKEN, str(error))
                continue
            if body is not None:
                self._answered(connection, body)

    def _answered(self, connection: Connection, body: bytes) -> None:
        now = time.perf_counter() - self._start
        number, sent = self._busy.pop(connection)
        if connection.keeps_open:
            self._free.append(connection)
        else:
            connection.close()
        measured = self.measured
        measured.latency_s[number], measured.service_s[number] = now - measured.due_s[number], now - sent
        if b'"degraded":"' in body:
            measured.degraded += 1
        self._end(number, connection.status)
        if self._on_answer is not None:
            self._on_answer(number, connection.status, body)

    def _give_up(self, now: float) -> None:
        late = now - self._timeout_s
        for connection, (number, _) in list(self._busy.items()):
            if self.measured.due_s[number] < late:
                self._drop(connection, TIMED_OUT, f"no answer within {self._timeout_s:g} s")
        while self._waiting and self.measured.due_s[self._waiting[0]] < late:
            self._end(self._waiting.popleft(), TIMED_OUT, error=f"no free connection within {self._timeout_s:g} s")

    def _drop(self, connection: Connection, status: int, error: str) -> None:
        number, _ = self._busy.pop(connection)
        connection.close()
        self._end(number, status, error=error)

    def _end(self, number: int, status: int, *, error: str = "") -> None:
        self.measured.status[number] = status
        self._done += 1
        if error and len(self.measured.errors) < 5 and error not in self.measured.errors:
            self.measured.errors.append(error)
