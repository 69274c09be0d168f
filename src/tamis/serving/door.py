"""The door of a server with several workers: every connection goes to the worker that has the fewest.

Left alone with a port that they share, the worker that wakes up first takes all connections that wait, and keeps them:
of clients that leave theirs open, one worker may have nearly all while another has nothing to do.
"""

from __future__ import annotations

import selectors
import socket
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

DOOR = "TAMIS_INTERNAL_DOOR"  # from the parent to its workers: the path of the socket over which connections come
MANY = 64
TAKEN, ENDED = b"+", b"-"  # what a worker says of a connection
_WAITING = 2048  # connections that the system keeps until they are let in


@dataclass
class _Worker:
    """How many connections it has; and those that were sent to it, until it says that it took them."""

    count: int = 0
    sent: deque[socket.socket] = field(default_factory=deque)


class Door:
    """Lets connections in and hands them on, in a thread of the parent. Without workers they wait.

    A connection that a worker did not take before it was killed goes to another.

    Args:
        listening: bound to the port.
        path: of a socket to be made, over which workers ask for connections.
    """

    def __init__(self, listening: socket.socket, path: Path) -> None:
        self._listening, self._workers = listening, dict[socket.socket, _Worker]()
        self._left_over = deque[socket.socket]()  # by workers that ended, as long as there is no other
        self._inside = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._inside.bind(str(path))
        self._woken, self._waker = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        for one, backlog in ((listening, _WAITING), (self._inside, MANY)):
            one.listen(backlog)
            one.setblocking(False)
        self._selector.register(self._inside, selectors.EVENT_READ, self._welcome)
        self._selector.register(self._woken, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, daemon=True, name="door")
        self._thread.start()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                if key.fileobj in self._selector.get_map():  # what came before may have ended it
                    key.data(key.fileobj)

    def _welcome(self, inside: socket.socket) -> None:
        worker, _ = inside.accept()
        worker.setblocking(False)
        self._workers[worker] = _Worker()
        self._selector.register(worker, selectors.EVENT_READ, self._hear)
        if len(self._workers) == 1:
            self._selector.register(self._listening, selectors.EVENT_READ, self._let_in)
        while self._left_over and self._workers:
            self._hand_on(self._left_over.popleft())

    def _hear(self, worker: socket.socket) -> None:
        try:
            said = worker.recv(4096)
        except OSError:
            said = b""
        if not said:
            self._forget(worker)
            return
        of_worker = self._workers[worker]
        of_worker.count -= said.count(ENDED)
        for _ in range(said.count(TAKEN)):
            of_worker.sent.popleft().close()

    def _forget(self, worker: socket.socket) -> None:
        """It has ended."""
        gone = self._workers.pop(worker)
        self._selector.unregister(worker)
        worker.close()
        if not self._workers:
            self._selector.unregister(self._listening)
        for connection in gone.sent:
            self._hand_on(connection)

    def _let_in(self, listening: socket.socket) -> None:
        with suppress(BlockingIOError, ConnectionError):  # nobody is left who waits, or who waited has gone away
            while self._workers:
                self._hand_on(listening.accept()[0])

    def _hand_on(self, connection: socket.socket) -> None:
        while self._workers:
            worker = min(self._workers, key=lambda one: self._workers[one].count)
            try:
                socket.send_fds(worker, [b"+"], [connection.fileno()])
            except OSError:  # it has just ended, or does not listen
                self._forget(worker)
            else:
                self._workers[worker].count += 1
                self._workers[worker].sent.append(connection)
                return
        self._left_over.append(connection)

    def close(self) -> None:
        """Let nobody in any more: who comes is refused. Workers keep what they have."""
        self._waker.send(b"x")
        self._thread.join(timeout=10)
        sent = [connection for worker in self._workers.values() for connection in worker.sent]
        for one in (*sent, *self._left_over, *self._workers, self._listening, self._inside, self._waker, self._woken):
            one.close()
        self._selector.close()
