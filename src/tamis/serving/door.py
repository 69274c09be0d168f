"""The door of a server with several workers: every connection goes to the worker that has the fewest.

Left alone with a port that they share, the worker that wakes up first takes all connections that wait, and keeps them:
of clients that leave theirs open, one worker may have nearly all while another has nothing to do.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

_LOG = logging.getLogger("tamis.serving")
DOOR = "TAMIS_INTERNAL_DOOR"  # from the parent to its workers: the path of the socket over which connections come
MANY = 64  # connections that a worker may be sent before it takes one
TAKEN, ENDED = b"+", b"-"  # what a worker says of a connection
_PAUSE_S = 0.1  # after the system had no room for another


@dataclass
class _Worker:
    """How many connections it has; and those that were sent to it, until it says that it took them."""

    count: int = 0
    sent: deque[socket.socket] = field(default_factory=deque)


class Door:
    """Lets connections in and hands them on, in a thread of the parent.

    As long as no worker takes any, they wait with the system. A connection that a worker did not take before it ended
    goes to another.

    Args:
        listening: to the port.
        path: of a socket to be made, over which workers ask for connections.
    """

    def __init__(self, listening: socket.socket, path: Path) -> None:
        self._listening, self._workers = listening, dict[socket.socket, _Worker]()
        self._left_over = deque[socket.socket]()  # by workers that ended, as long as there is no other
        self._inside = _bound(path)
        self._inside.listen(MANY)
        for one in (listening, self._inside):
            one.setblocking(False)
        self._woken, self._waker = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._inside, selectors.EVENT_READ, self._welcome)
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._is_open, self._paused_until = False, 0.0
        self._thread = threading.Thread(target=self._run, daemon=True, name="door")
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                if self._turn():
                    return
            except Exception:  # without this thread nobody would be let in any more
                _LOG.exception("the door failed")
                time.sleep(_PAUSE_S)

    def _turn(self) -> bool:
        """Whether it was the last."""
        if time.monotonic() >= self._paused_until:
            self._paused_until = 0.0
        for _ in range(len(self._left_over)):
            if self._paused_until or self._next() is None:
                break
            self._hand_on(self._left_over.popleft())
        self._open_or_shut()
        found = self._selector.select(_PAUSE_S if self._paused_until else None)
        for key, _ in sorted(found, key=lambda one: one[0].fileobj is self._listening):  # workers are heard first
            if key.data is None:
                return True
            now = self._selector.get_map().get(key.fd)
            if now is not None and now.fileobj is key.fileobj:  # else what came before has ended it
                key.data(key.fileobj)
        return False

    def _open_or_shut(self) -> None:
        """Let people in while there is a worker for them."""
        shall_be_open = not self._paused_until and any(len(one.sent) < MANY for one in self._workers.values())
        if shall_be_open and not self._is_open:
            self._selector.register(self._listening, selectors.EVENT_READ, self._let_in)
        elif self._is_open and not shall_be_open:
            self._selector.unregister(self._listening)
        self._is_open = shall_be_open

    def _accepted(self, listening: socket.socket) -> socket.socket | None:
        """Somebody who waited, if anybody does."""
        try:
            return listening.accept()[0]
        except (BlockingIOError, ConnectionError):  # nobody, or one who has gone away
            return None
        except OSError as error:  # there is no room for more open files, say
            self._pause(error)
            return None

    def _pause(self, error: OSError) -> None:
        _LOG.error("no connection can be let in for now: %s", error)
        self._paused_until = time.monotonic() + _PAUSE_S

    def _welcome(self, inside: socket.socket) -> None:
        worker = self._accepted(inside)
        if worker is None:
            time.sleep(_PAUSE_S if self._paused_until else 0.0)  # it will be told again of whoever waits there
            return
        worker.setblocking(False)
        self._workers[worker] = _Worker()
        self._selector.register(worker, selectors.EVENT_READ, self._hear)

    def _hear(self, worker: socket.socket) -> None:
        if not self._heard(worker):
            self._forget(worker)

    def _heard(self, worker: socket.socket) -> bool:
        """Whether a worker is still there, after what it says was heard."""
        try:
            said = worker.recv(4096)
        except BlockingIOError:
            return True
        except OSError:
            return False
        of_worker = self._workers[worker]
        of_worker.count -= said.count(ENDED)
        for _ in range(min(said.count(TAKEN), len(of_worker.sent))):
            of_worker.sent.popleft().close()
        return bool(said)

    def _forget(self, worker: socket.socket) -> None:
        """It has ended. What it took until then, and perhaps read from, is not for others."""
        for _ in range(MANY):
            if not self._heard(worker):
                break
        gone = self._workers.pop(worker)
        self._selector.unregister(worker)
        worker.close()
        for connection in gone.sent:
            self._hand_on(connection)

    def _let_in(self, listening: socket.socket) -> None:
        for _ in range(MANY):  # then workers are listened to
            if self._paused_until or self._next() is None:
                return
            connection = self._accepted(listening)
            if connection is None:
                return
            self._hand_on(connection)

    def _next(self) -> socket.socket | None:
        """The worker that gets the next: of those that take what they are sent, the one with the fewest."""
        free = [worker for worker, of_worker in self._workers.items() if len(of_worker.sent) < MANY]
        return min(free, key=lambda one: (len(self._workers[one].sent), self._workers[one].count), default=None)

    def _hand_on(self, connection: socket.socket) -> None:
        while (worker := self._next()) is not None:
            try:
                socket.send_fds(worker, [b"+"], [connection.fileno()])
            except ConnectionError:  # it has just ended
                self._forget(worker)
            except OSError as error:  # no room for what is on its way
                self._pause(error)
                break
            else:
                self._workers[worker].count += 1
                self._workers[worker].sent.append(connection)
                return
        self._left_over.append(connection)

    def close(self) -> None:
        """Let nobody in any more: who comes is refused. Workers keep what they have."""
        with suppress(OSError):  # it is closed
            self._waker.send(b"x")
        self._thread.join(timeout=10)
        sent = [connection for worker in self._workers.values() for connection in worker.sent]
        for one in (*sent, *self._left_over, *self._workers, self._listening, self._inside, self._waker, self._woken):
            one.close()
        self._selector.close()


def _bound(path: Path) -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        found.bind(str(path))
    except OSError:
        found.close()
        raise
    return found
