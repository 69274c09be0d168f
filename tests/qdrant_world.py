"""An imitation of Qdrant's HTTP server, in a process of its own: the client's local mode answers behind it.

The server itself is in no package registry. What it shows is that our side of the wire is right, and what happens when
the other side is gone, stands still or comes back.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

from redis_world import free_port


class QdrantServer:
    """Keeps nothing: whoever starts it again finds it empty."""

    def __init__(self) -> None:
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = subprocess.Popen([sys.executable, str(Path(__file__)), str(self.port)])
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/healthz", timeout=1):
                return
            assert self._process.poll() is None
            time.sleep(0.05)
        raise AssertionError("the imitation did not start")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(timeout=20)

    def stand_still(self) -> None:
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)


@contextlib.contextmanager
def qdrant_server() -> Iterator[QdrantServer]:
    server = QdrantServer()
    try:
        yield server
    finally:
        server.kill()


class _Handler(BaseHTTPRequestHandler):
    """The calls that an index makes."""

    protocol_version = "HTTP/1.1"
    client: Any = None
    lock = Lock()

    def _do(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        _, *path = self.path.partition("?")[0].split("/")
        with self.lock:  # the local mode is for one thread
            status, result = self._answer(path, json.loads(raw) if raw else {})
        body = json.dumps({"time": 0.0, "status": "ok", "result": result}).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = _do

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, path: list[str], body: Any) -> tuple[int, Any]:
        if path == ["healthz"]:
            return 200, True
        name, rest = path[1], path[2:]
        if rest == ["exists"]:
            return 200, {"exists": self.client.collection_exists(name)}
        if not rest and self.command == "PUT":
            return 200, self.client.create_collection(name, **_vectors(body))
        if not self.client.collection_exists(name):
            return 404, None
        return 200, self._of_collection(name, rest, body)

    def _of_collection(self, name: str, rest: list[str], body: Any) -> Any:
        from qdrant_client import models

        match self.command, rest:
            case "GET", []:
                return self.client.get_collection(name).model_dump(mode="json")
            case "DELETE", []:
                return self.client.delete_collection(name)
            case "PUT", ["points"]:
                done = self.client.upsert(name, points=models.Batch(**body["batch"]))
                return done.model_dump(mode="json")
            case "POST", ["points", "delete"]:
                selector = models.PointIdsList(points=body["points"])
                return self.client.delete(name, points_selector=selector).model_dump(mode="json")
            case "POST", ["points", "count"]:
                return {"count": self.client.count(name).count}
            case "POST", ["points", "query", "batch"]:
                asked = [models.QueryRequest(**one) for one in body["searches"]]
                found = self.client.query_batch_points(name, requests=asked)
                return [{"points": [point.model_dump(mode="json") for point in one.points]} for one in found]
        raise AssertionError(f"the imitation knows no {self.command} {rest}")


def _vectors(body: Any) -> dict[str, Any]:
    from qdrant_client import models

    return {"vectors_config": models.VectorParams(**body["vectors"])}


def main() -> None:
    from qdrant_client import QdrantClient

    _Handler.client = QdrantClient(":memory:")
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), _Handler).serve_forever()


if __name__ == "__main__":
    main()
