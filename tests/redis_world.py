"""A real redis-server on a free port of this machine, to be stopped, killed and started again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from tempfile import TemporaryDirectory

import pytest


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class RedisServer:
    """Keeps nothing on disk, so whoever starts it again finds it empty, unless it was saved."""

    def __init__(self, folder: str) -> None:
        self.port, self._folder = free_port(), folder
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self._folder],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as one:
                one.sendall(b"PING\r\n")
                if one.recv(5) == b"+PONG":
                    return
            time.sleep(0.02)
        raise AssertionError("redis-server did not start")

    def save(self) -> None:
        """Let the next start find what is there now."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as one:
            one.sendall(b"SAVE\r\n")
            assert one.recv(3) == b"+OK"

    def kill(self) -> None:
        self._send(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(timeout=20)

    def stand_still(self) -> None:
        """It keeps its connections, and answers none."""
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: int) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            os.kill(self._process.pid, number)


@contextlib.contextmanager
def redis_server() -> Iterator[RedisServer]:
    """A running server. Skips where there is none; where the run must have one, fails."""
    if shutil.which("redis-server") is None:
        missing = "redis-server is missing. Install Debian's package of this name."
        pytest.fail(missing) if os.environ.get("TAMIS_CI") else pytest.skip(missing)
    with TemporaryDirectory(prefix="tamis-redis-") as folder:
        server = RedisServer(folder)
        try:
            yield server
        finally:
            server.kill()
