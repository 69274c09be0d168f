"""A bundle of the small world, an app that is called in process, and real servers in processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from tamis import Popular
from tamis.serving.app import create_app
from tamis.serving.service import Service
from tamis.serving.serving_settings import ServingSettings
from two_stage_world import two_stages

NEW_ITEM = {"item": 1000, "category": "games", "price": 4.0, "title": "A new game", "in_stock": True}


@cache
def bundle() -> Path:
    """A saved recommender of both stages; tests must not change it."""
    folder = Path(mkdtemp(prefix="tamis-test-")) / "bundle"
    two_stages().save(folder)
    return folder


@cache
def other_bundle() -> Path:
    """The same without a ranker: its answers look different."""
    folder = Path(mkdtemp(prefix="tamis-test-")) / "other"
    two_stages(ranker=None, context=None).save(folder)
    return folder


@cache
def onnx_bundle() -> Path:
    """The first once more, to be run without torch."""
    folder = Path(mkdtemp(prefix="tamis-test-")) / "onnx"
    two_stages().save(folder, onnx=True)
    return folder


@cache
def light_bundle() -> Path:
    """Popular items alone: it loads in no time."""
    folder = Path(mkdtemp(prefix="tamis-test-")) / "light"
    two_stages([Popular(quota=20)], ranker=None, context=None).save(folder)
    return folder


class Answer:
    """Status, headers and body of an HTTP answer."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, {name.lower(): value for name, value in headers.items()}, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.json["error"]


class AppClient:
    """Calls an app without a network."""

    def __init__(self, service: Service) -> None:
        self.service, self._app = service, create_app(service)

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        return asyncio.run(self.call(method, path, body, **headers))

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        given = {"content-type": "application/json", "content-length": str(len(raw))}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "scheme": "http",
            "headers": [(name.encode(), value.encode()) for name, value in given.items() if value],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        sent: list[Any] = []
        parts = iter([{"type": "http.request", "body": raw, "more_body": False}])

        async def receive() -> Any:
            return next(parts, {"type": "http.disconnect"})

        async def send(message: Any) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        headers_sent = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], headers_sent, b"".join(one.get("body", b"") for one in sent[1:]))


@contextlib.contextmanager
def app(state: Path | str = "none", path: Path | None = None, **settings: Any) -> Iterator[AppClient]:
    """An app over the bundle, with a time limit that a busy machine keeps."""
    settings = {"timeout_ms": 10_000.0, **settings}
    client = AppClient(Service(path or bundle(), ServingSettings(state=str(state), **settings)))
    try:
        yield client
    finally:
        client.service.close()


class ServerProcess:
    """`tamis serve` in a process of its own."""

    def __init__(
        self,
        path: Path,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        file_bytes: int | None = None,
    ) -> None:
        command = [sys.executable, "-c", "from tamis.cli import cli; cli()", "serve", str(path), "--port", "0"]
        self.process = subprocess.Popen(
            [*command, "--timeout-ms", "5000", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        if file_bytes is not None:  # larger files cannot be written
            resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
        self.lines: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = int(self.wait_for("listening")["url"].rsplit(":", 1)[1])

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.lines.append({"message": line.rstrip()})

    def wait_for(self, message: str, times: int = 1, timeout_s: float = 60, **facts: Any) -> dict[str, Any]:
        """The log line that has this message, or begins with it, and these facts, for the `times`th time."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = [line for line in list(self.lines) if str(line["message"]).startswith(message)]
            found = [line for line in found if all(line.get(name) == value for name, value in facts.items())]
            if len(found) >= times:
                return found[times - 1]
            assert self.process.poll() is None or not message, f"the server ended: {self.lines}"
            time.sleep(0.01)
        raise AssertionError(f"no {message!r} within {timeout_s} s: {self.lines}")

    def ready(self, times: int = 1) -> ServerProcess:
        self.wait_for("ready", times)
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.call("GET", "/readyz").status == 200:
                    return self
            time.sleep(0.02)

    def call(self, method: str, path: str, body: Any = None, *, timeout_s: float = 30, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            return call_on(connection, method, path, body, **headers)
        finally:
            connection.close()

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        return self._end(signal.SIGTERM)

    def interrupt(self) -> int:
        return self._end(signal.SIGINT)

    def _end(self, number: int) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout=60)
        self._reader.join(timeout=20)  # until the last process has let go of it
        assert self.process.stderr is not None and not self._reader.is_alive(), "a worker outlived its parent"
        self.process.stderr.close()
        return code


def call_on(connection: http.client.HTTPConnection, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """A call over a connection that stays open."""
    raw = None if body is None else json.dumps(body).encode()
    given = {"content-type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, raw, given)
    found = connection.getresponse()
    return Answer(found.status, dict(found.getheaders()), found.read())


@contextlib.contextmanager
def server(
    path: Path, *arguments: str, environment: Mapping[str, str] | None = None, file_bytes: int | None = None
) -> Iterator[ServerProcess]:
    """A server that is ready."""
    process = ServerProcess(path, *arguments, environment=environment, file_bytes=file_bytes)
    try:
        yield process.ready()
    finally:
        if process.process.poll() is None:
            process.kill()
