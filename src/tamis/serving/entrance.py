"""A worker's side of the door: the connections that it is handed, in the place of a port to listen on."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvloop

from tamis.serving.door import DOOR, ENDED, MANY, TAKEN


class DoorLoop(uvloop.Loop):
    """A worker's event loop, whose server does not listen, but takes what the door hands on."""

    async def create_server(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.Protocol], *_: Any, **__: Any
    ) -> Any:
        """What stands for a server: it can be closed."""
        return _Entrance(self, protocol_factory, os.environ[DOOR])


class _Entrance:
    def __init__(self, loop: asyncio.AbstractEventLoop, factory: Callable[[], asyncio.Protocol], path: str) -> None:
        self._loop, self._factory = loop, factory
        self._tasks: set[asyncio.Task[None]] = set()  # a loop holds its tasks but weakly
        self._untold, self._is_closed = b"", False
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._door.connect(path)
        self._door.setblocking(False)
        loop.add_reader(self._door, self._take)

    def _take(self) -> None:
        for _ in range(MANY):  # the system gives them one by one
            try:
                said, numbers, _, _ = socket.recv_fds(self._door, 1, 1)
            except BlockingIOError:
                return
            except OSError:
                said, numbers = b"", []
            if not said:  # the parent has ended, or lets nobody in any more
                self._loop.remove_reader(self._door)
                return
            self._tell(TAKEN)
            if numbers:
                self._begin(numbers[0])
            else:  # this process has no room for another open file
                self._tell(ENDED)

    def _begin(self, number: int) -> None:
        try:
            connection = socket.socket(fileno=number)
            connection.set_inheritable(False)
            connection.setblocking(False)
        except OSError:  # it has gone away
            os.close(number)
            self._tell(ENDED)
            return
        task = self._loop.create_task(self._serve(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except (OSError, RuntimeError):  # it has gone away, or the loop ends
            connection.close()
            self._tell(ENDED)

    def _protocol(self) -> asyncio.Protocol:
        protocol = self._factory()
        lost = protocol.connection_lost

        def then_tell(exc: Exception | None) -> None:
            lost(exc)
            self._tell(ENDED)

        protocol.connection_lost = then_tell  # type: ignore[method-assign]
        return protocol

    def _tell(self, what: bytes) -> None:
        """Say it, or as soon as there is room: the door counts on it."""
        if self._is_closed:
            return
        is_waiting, self._untold = bool(self._untold), self._untold + what
        if not is_waiting:
            self._tell_rest()

    def _tell_rest(self) -> None:
        try:
            self._untold = self._untold[self._door.send(self._untold) :]
        except BlockingIOError:
            pass
        except OSError:  # nobody listens any more
            self._untold = b""
        if self._untold:
            self._loop.add_writer(self._door, self._tell_rest)
        else:
            self._loop.remove_writer(self._door)

    def close(self) -> None:
        """Take no more: the door hands what was not taken to others."""
        if not self._is_closed:
            self._is_closed = True
            for forget in (self._loop.remove_reader, self._loop.remove_writer):
                forget(self._door)
            with suppress(OSError), self._door:
                self._door.settimeout(1.0)
                self._door.sendall(self._untold)

    async def wait_closed(self) -> None:
        """It is closed at once."""
