"""The end of a server: nothing new is taken, what is at work is answered, and the exit code is 0."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from serving_world import ServerProcess, light_bundle, server

BODY = json.dumps({"users": ["u1"], "k": 3}).encode()
HEAD = (
    f"POST /v1/recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
).encode()


@contextlib.contextmanager
def half_a_request(process: ServerProcess) -> Iterator[socket.socket]:
    """A request that the server has begun to read."""
    with socket.create_connection(("127.0.0.1", process.port), timeout=60) as one:
        one.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        found = b""
        while b'"ok"' not in found:  # then the connection is in a worker's hands
            found += one.recv(4096)
        one.sendall(HEAD + BODY[:5])
        time.sleep(0.3)
        yield one


def rest_of(one: socket.socket) -> bytes:
    one.sendall(BODY[5:])
    found = b""
    while part := one.recv(65536):
        found += part
    return found


def until_refused(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.02)
    raise AssertionError("the port is still open")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_request_at_work_is_answered_and_no_other_is_taken(workers: int) -> None:
    with server(light_bundle(), "--state", "none", "--workers", str(workers)) as process:
        process.wait_for("ready", times=workers)
        with half_a_request(process) as one:
            os.kill(process.process.pid, signal.SIGTERM)
            until_refused(process.port)
            found = rest_of(one)
        assert found.startswith(b"HTTP/1.1 200") and b'"results"' in found
        assert process.terminate() == 0
        assert not any("Traceback" in str(line) for line in process.lines), process.lines  # of no worker either


def test_a_request_that_does_not_end_is_not_waited_for_longer_than_the_grace() -> None:
    with (
        server(light_bundle(), "--state", "none", "--set", "grace_s=1") as process,
        half_a_request(process),
        socket.create_connection(("127.0.0.1", process.port)),  # one that is idle costs no time
    ):
        started = time.monotonic()
        assert process.terminate() == 0
        assert time.monotonic() - started < 20


def test_an_interrupt_ends_it_in_order_too() -> None:
    with server(light_bundle(), "--state", "none") as process:
        assert process.interrupt() == 0


def test_one_that_can_be_reached_from_elsewhere_without_a_key_warns() -> None:
    words = "this server can be reached from elsewhere and asks for no key"
    with server(light_bundle(), "--state", "none", "--host", "0.0.0.0") as process:
        process.wait_for(words)
    with server(
        light_bundle(), "--state", "none", "--host", "0.0.0.0", environment={"TAMIS_API_KEY": "a long secret"}
    ) as process:
        assert not any(str(line["message"]).startswith(words) for line in process.lines)
        assert process.call("POST", "/v1/recommend", {"users": ["u1"]}).status == 401
