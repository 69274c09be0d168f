"""The door: connections go to the worker that has the fewest, and none is lost with a worker."""

import asyncio
import errno
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tamis.serving.door import DOOR, ENDED, MANY, TAKEN, Door

pytest.importorskip("uvloop")


class Worker:
    """What a worker does at the door, step by step."""

    def __init__(self, path: Path) -> None:
        self.door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.door.connect(str(path))
        self.door.settimeout(10)

    def take(self) -> socket.socket:
        said, numbers, _, _ = socket.recv_fds(self.door, 1, 1)
        assert said and len(numbers) == 1
        self.door.send(TAKEN)
        taken = socket.socket(fileno=numbers[0])
        taken.settimeout(10)
        return taken

    def has_nothing(self) -> bool:
        self.door.settimeout(0.1)
        try:
            socket.recv_fds(self.door, 1, 1)
        except TimeoutError:
            return True
        finally:
            self.door.settimeout(10)
        return False


@contextmanager
def a_door(kind: type[socket.socket] = socket.socket) -> Iterator[tuple[Door, int, Path]]:
    listening = kind()
    listening.bind(("127.0.0.1", 0))
    listening.listen(200)
    with TemporaryDirectory(prefix="t-", dir="/tmp") as folder:  # the path of a socket may not be long
        path = Path(folder) / "d"
        door = Door(listening, path)
        try:
            yield door, listening.getsockname()[1], path
        finally:
            door.close()


def come(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def inside(door: Door, count: int) -> None:
    """Until so many workers are in, and the door is open."""
    until(lambda: len(door._workers) == count and door._is_open)


def all_taken(door: Door, count: int) -> None:
    """Until the door knows of so many connections, and that they were taken."""
    until(lambda: sum(one.count for one in door._workers.values()) == count)
    until(lambda: not any(one.sent for one in door._workers.values()))


def test_the_worker_with_the_fewest_connections_gets_the_next() -> None:
    with a_door() as (door, port, path):
        first, second = Worker(path), Worker(path)
        inside(door, 2)
        clients, taken = [], []
        for number, worker in enumerate((first, second, first, second), 1):
            clients.append(come(port))
            taken.append(worker.take())
            all_taken(door, number)
        first.door.send(ENDED + ENDED)  # it has none left: the next two are its
        until(lambda: sorted(one.count for one in door._workers.values()) == [0, 2])
        for number in (3, 4):
            clients.append(come(port))
            taken.append(first.take())
            all_taken(door, number)
        assert first.has_nothing() and second.has_nothing()
        for one in (*clients, *taken, first.door, second.door):
            one.close()


def test_what_a_client_sends_and_hears_goes_through() -> None:
    with a_door() as (door, port, path):
        worker = Worker(path)
        inside(door, 1)
        with come(port) as client, worker.take() as taken:
            client.sendall(b"hello")
            assert taken.recv(100) == b"hello"
            taken.sendall(b"good day")
            assert client.recv(100) == b"good day"
            taken.close()
            assert client.recv(100) == b""  # nobody else holds it open
        worker.door.close()


def test_a_connection_that_was_not_taken_before_its_worker_was_killed_goes_to_another() -> None:
    with a_door() as (door, port, path):
        killed = Worker(path)
        inside(door, 1)
        with come(port) as client:
            until(lambda: any(one.sent for one in door._workers.values()))
            client.sendall(b"hello")
            killed.door.close()
            until(lambda: not door._workers)
            other = Worker(path)
            with other.take() as taken:
                assert taken.recv(100) == b"hello"
            other.door.close()


def test_without_workers_connections_wait() -> None:
    with a_door() as (door, port, path):
        for _ in range(2):  # before the first, and after one has ended
            with come(port) as client:
                client.sendall(b"hello")
                time.sleep(0.1)
                worker = Worker(path)
                with worker.take() as taken:
                    assert taken.recv(100) == b"hello"
                    worker.door.close()
            until(lambda: not door._workers)


def test_a_worker_that_takes_none_gets_no_more_than_it_may_be_sent_and_none_is_lost() -> None:
    with a_door() as (door, port, path):
        slow = Worker(path)
        inside(door, 1)
        clients = [come(port) for _ in range(MANY + 40)]
        until(lambda: [len(one.sent) for one in door._workers.values()] == [MANY])
        for number, client in enumerate(clients):
            client.sendall(str(number).encode())
        other = Worker(path)  # it gets those that wait
        heard = set()
        for worker, count in ((other, 40), (slow, MANY)):
            for _ in range(count):
                with worker.take() as taken:
                    heard.add(int(taken.recv(100)))
        assert heard == set(range(MANY + 40))
        assert slow.has_nothing() and other.has_nothing()
        for one in (*clients, slow.door, other.door):
            one.close()


def test_what_a_worker_took_before_it_ended_is_not_given_to_another() -> None:
    with a_door() as (door, port, path):
        first = Worker(path)
        inside(door, 1)
        clients = [come(port), come(port)]
        until(lambda: sum(len(one.sent) for one in door._workers.values()) == 2)
        clients[0].sendall(b"first")
        clients[1].sendall(b"second")
        with first.take():
            first.door.close()
        other = Worker(path)
        with other.take() as taken:
            assert taken.recv(100) == b"second"
        assert other.has_nothing()
        for one in (*clients, other.door):
            one.close()


def test_without_room_for_another_connection_it_waits_until_there_is() -> None:
    tries: list[float] = []

    class Full(socket.socket):
        """Has no room for the first two connections."""

        def accept(self) -> tuple[socket.socket, Any]:
            tries.append(time.monotonic())
            if len(tries) <= 2:
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    with a_door(Full) as (_, port, path):
        worker = Worker(path)
        with come(port) as client, worker.take() as taken:
            client.sendall(b"hello")
            assert taken.recv(100) == b"hello"
        assert tries[2] - tries[0] >= 0.2  # it does not try without a pause
        worker.door.close()


def test_without_room_on_the_way_to_a_worker_a_connection_is_sent_later(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[float] = []
    real = socket.send_fds

    def full(*arguments: Any) -> int:
        tries.append(time.monotonic())
        if len(tries) <= 2:
            raise BlockingIOError
        return real(*arguments)

    monkeypatch.setattr(socket, "send_fds", full)
    with a_door() as (door, port, path):
        worker = Worker(path)
        with come(port) as client, worker.take() as taken:
            client.sendall(b"hello")
            assert taken.recv(100) == b"hello"
        assert len(tries) == 3 and tries[2] - tries[0] >= 0.2
        assert len(door._workers) == 1  # and it is not taken for one that has ended
        worker.door.close()


def test_a_closed_door_refuses_and_those_inside_stay() -> None:
    with a_door() as (door, port, path):
        worker = Worker(path)
        inside(door, 1)
        with come(port) as client, worker.take() as taken:
            all_taken(door, 1)
            door.close()
            with pytest.raises(ConnectionRefusedError):
                come(port)
            client.sendall(b"still here")
            assert taken.recv(100) == b"still here"
        worker.door.close()


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


def test_a_workers_loop_serves_what_it_is_handed_and_says_when_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tamis.serving.entrance import DoorLoop

    with a_door() as (door, port, path):
        monkeypatch.setenv(DOOR, str(path))
        loop, stop = DoorLoop(), asyncio.Event()

        async def serve() -> None:
            server = await loop.create_server(Echo, sock=None, backlog=1)
            await stop.wait()
            server.close()
            await server.wait_closed()

        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
        thread.start()
        inside(door, 1)
        clients = [come(port) for _ in range(3)]
        for client in clients:
            client.sendall(b"hello")
            assert client.recv(100) == b"hello"
        until(lambda: [one.count for one in door._workers.values()] == [3])
        for client in clients:
            client.close()
        until(lambda: [one.count for one in door._workers.values()] == [0])
        assert not any(one.sent for one in door._workers.values())
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=10)
        assert not thread.is_alive()
        loop.close()
        until(lambda: not door._workers)  # it gets no more, though this process goes on
