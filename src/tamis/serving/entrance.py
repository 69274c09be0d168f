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
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._door.connect(path)
        self._door.setblocking(False)
        loop.add_reader(self._door, self._take)

    def _take(self) -> None:
        try:
            said, numbers, _, _ = socket.recv_fds(self._door, MANY, MANY)
        except BlockingIOError:
            return
        except OSError:
            said, numbers = b"", []
        if not said:  # the parent has ended, or lets nobody in any more
            self._loop.remove_reader(self._door)
        for number in numbers:
            self._tell(TAKEN)
            task = self._loop.create_task(self._serve(socket.socket(fileno=number)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError:  # it has gone away
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
        with suppress(OSError):  # nobody listens any more
            self._door.send(what)

    def close(self) -> None:
        """Take no more."""
        self._take()  # what is on its way
        self._loop.remove_reader(self._door)
