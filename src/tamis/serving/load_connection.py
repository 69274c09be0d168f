"""One HTTP/1.1 connection of a load test: it stays open, and has one request on its way at a time."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

from tamis.errors import SettingError

_READ = 1 << 18
_LARGEST_HEAD = 64_000
_LINE = b"\r\n"
# of a head in small letters
_STATUS = re.compile(rb"http/1\.\S* (\d+)[ \r]")
_LENGTH, _CLOSE = re.compile(rb"\r\ncontent-length:\s*(\d+)\s*\r\n"), re.compile(rb"\r\nconnection:\s*close\s*\r\n")
_IDLE_S = 0.02  # servers let go of connections that lie idle, but none within this


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
        self._unsent, self._answered_at = memoryview(b""), 0.0
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
        if time.perf_counter() - self._answered_at < _IDLE_S:
            return False
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
        self._answered_at = time.perf_counter()
        return bytes(self._read[self._head_end : self._end])

    def _read_head(self) -> bool:
        """Whether the head is complete; where the answer ends is then known."""
        end = self._read.find(b"\r\n\r\n")
        if end < 0:
            if len(self._read) > _LARGEST_HEAD:
                raise BadAnswerError("the head of the answer does not end")
            return False
        head = bytes(self._read[: end + 2]).lower()
        status = _STATUS.match(head)
        if status is None:
            raise BadAnswerError(f"it is no HTTP answer: {bytes(self._read[:end]).partition(_LINE)[0][:80]!r}")
        length = _LENGTH.search(head)
        if length is None:
            raise BadAnswerError("the answer does not tell its length")
        self.status, self.keeps_open = int(status[1]), _CLOSE.search(head) is None
        self._head_end, self._end = end + 4, end + 4 + int(length[1])
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
