"""One HTTP/1.1 connection of a load test: it stays open, and has one request on its way at a time."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from tamis.errors import SettingError

_READ = 1 << 18
_LARGEST_HEAD = 64_000


class BadAnswerError(Exception):
    """What came back is no HTTP answer, or the connection ended within one."""


class Connection:
    """A socket that does not block, and the answer that it is reading.

    Args:
        address: host and port.
        timeout_s: for connecting.

    Raises:
        OSError: nobody listens there.
    """

    def __init__(self, address: tuple[str, int], *, timeout_s: float) -> None:
        self._socket = socket.create_connection(address, timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._unsent = memoryview(b"")
        self._start_anew()

    def _start_anew(self) -> None:
        self._read, self._end, self._head_end = bytearray(), -1, -1
        self.status, self.keeps_open = 0, True

    def fileno(self) -> int:
        """Of the socket, for `select`."""
        return self._socket.fileno()

    @property
    def has_unsent(self) -> bool:
        """Whether a part of the request did not fit into the socket yet."""
        return len(self._unsent) > 0

    @property
    def was_closed(self) -> bool:
        """Whether the server has let go of it since its last answer, as servers do with connections that lie idle."""
        try:
            return not self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:  # open, and nothing to read
            return False
        except OSError:
            return True

    def send(self, request: bytes) -> None:
        """Send a request, or as much of it as goes at once; `send_more` sends the rest."""
        self._start_anew()
        self._unsent = memoryview(request)
        self.send_more()

    def send_more(self) -> None:
        """Send what did not fit before."""
        try:
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            pass

    def receive(self) -> bytes | None:
        """Read what is there: the body when the answer is complete, else None.

        Raises:
            BadAnswerError: see there.
            OSError: the connection broke.
        """
        try:
            part = self._socket.recv(_READ)
        except BlockingIOError:
            return None
        if not part:
            raise BadAnswerError("the connection was closed before the answer was complete")
        self._read += part
        if self._end < 0 and not self._read_head():
            return None
        if len(self._read) < self._end:
            return None
        return bytes(self._read[self._head_end : self._end])

    def _read_head(self) -> bool:
        """Whether the head is complete; where the answer ends is then known."""
        end = self._read.find(b"\r\n\r\n")
        if end < 0:
            if len(self._read) > _LARGEST_HEAD:
                raise BadAnswerError("the head of the answer does not end")
            return False
        first, *lines = bytes(self._read[:end]).split(b"\r\n")
        words = first.split(b" ")
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise BadAnswerError(f"it is no HTTP answer: {first[:80]!r}")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        length = headers.get(b"content-length", b"")
        if not length.isdigit():
            raise BadAnswerError("the answer does not tell its length")
        self.status, self.keeps_open = int(words[1]), headers.get(b"connection", b"").lower() != b"close"
        self._head_end, self._end = end + 4, end + 4 + int(length)
        return True

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()


def address_of(url: str) -> tuple[tuple[str, int], str]:
    """Host and port of a URL, and its path, `/v1/recommend` where it has none.

    Raises:
        SettingError: no `http://` URL.
    """
    try:
        parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
        port = parts.port or 80
    except ValueError as error:
        raise SettingError(f"loadtest: {url!r} is no URL ({error}). Give one such as http://127.0.0.1:8000.") from error
    if parts.scheme != "http" or not parts.hostname:
        raise SettingError(
            f"loadtest: {url!r} is no http:// URL. Give one such as http://127.0.0.1:8000; of what stands behind TLS, "
            "the server itself."
        )
    path = parts.path if parts.path not in ("", "/") else "/v1/recommend"
    return (parts.hostname, port), path + (f"?{parts.query}" if parts.query else "")


def request_bytes(address: tuple[str, int], path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A POST request, as it goes over the wire."""
    given = {"Host": f"{address[0]}:{address[1]}", "Content-Type": "application/json", **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"POST {path} HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body
