"""What every request passes through: its id, its log line, the size of its body and its key."""

from __future__ import annotations

import hmac
import logging
import re
import secrets
import time
from collections.abc import Mapping, MutableMapping
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tamis.serving.logs import REQUEST_ID
from tamis.serving.serving_metrics import ServingMetrics

_LOG = logging.getLogger("tamis.requests")
_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_HEADER = b"x-request-id"
TOO_LARGE = "too_large"
# probes bring no key, nor does a browser that loads the page; what the page shows needs one
OPEN_PATHS, PAGE = frozenset({"/", "/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"}), "/page/"
# in a request's state: when it came, by `time.perf_counter`; its route, where no framework says it; what its log line
# says besides
RECEIVED, ROUTE, _TOLD = "received", "route", "told"


def tell(state: MutableMapping[str, Any], **facts: Any) -> None:
    """Let the log line of a request say more."""
    state.setdefault(_TOLD, {}).update(facts)


class BodyTooLargeError(HTTPException):
    """A request brought more than it may."""

    def __init__(self, max_body_bytes: int) -> None:
        super().__init__(413, f"The body is larger than {max_body_bytes:,} bytes. Send less at once.")


class RequestFrame:
    """Gives each request an id, measures and logs it, and refuses what is too large or has no key.

    Args:
        app: what answers.
        metrics: where requests are counted.
        max_body_bytes: larger bodies are refused.
        api_key: None asks for none.
        log_requests: false writes no line for requests.
    """

    def __init__(
        self, app: ASGIApp, metrics: ServingMetrics, *, max_body_bytes: int, api_key: str | None, log_requests: bool
    ) -> None:
        self._app, self._metrics = app, metrics
        self._max_body_bytes, self._api_key, self._log_requests = max_body_bytes, api_key, log_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        frame = _Frame(scope, send, self._max_body_bytes, receive)
        token = REQUEST_ID.set(frame.request_id)
        try:
            await self._answer(scope, frame)
        finally:
            self._count(scope, frame)
            REQUEST_ID.reset(token)

    async def _answer(self, scope: Scope, frame: _Frame) -> None:
        refusal = self._refusal(scope, frame.headers)
        if refusal is not None:
            await frame.refuse(*refusal)
            return
        try:
            await self._app(scope, frame.receive, frame.send)
        except Exception:
            _LOG.exception("a request failed")
            if frame.status:  # the answer has begun
                raise
            await frame.refuse(500, "internal_error", "server", "The request failed. The server's log says more.")

    def _refusal(self, scope: Scope, headers: Mapping[bytes, bytes]) -> tuple[int, str, str, str] | None:
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self._max_body_bytes:
            return self._too_large()
        if self._api_key is None or _is_open(scope["path"]) or scope["method"] == "OPTIONS":
            return None
        given = headers.get(b"x-api-key") or headers.get(b"authorization", b"").removeprefix(b"Bearer ")
        if hmac.compare_digest(given, self._api_key.encode()):
            return None
        return 401, "unauthorized", "header.authorization", "Give the key of this server: Authorization: Bearer KEY."

    def _too_large(self) -> tuple[int, str, str, str]:
        return 413, TOO_LARGE, "body", BodyTooLargeError(self._max_body_bytes).detail

    def _count(self, scope: Scope, frame: _Frame) -> None:
        took = time.perf_counter() - frame.started
        state = scope["state"]
        route = state.get(ROUTE) or getattr(scope.get("route"), "path", "other")  # no path: anybody can make those up
        self._metrics.requested(route, frame.status, took)
        if self._log_requests:
            facts = {"method": scope["method"], "path": scope["path"], "status": frame.status}
            _LOG.info("request", extra={**facts, "ms": round(took * 1000, 2), **state.get(_TOLD, {})})


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(PAGE)


class _Frame:
    """One request's way through."""

    def __init__(self, scope: Scope, send: Send, max_body_bytes: int, receive: Receive) -> None:
        self.started, self.status = time.perf_counter(), 0
        self.headers = dict(reversed(scope["headers"]))  # of those given twice, the first
        given = self.headers.get(_HEADER, b"")
        self.request_id = given.decode() if _ID.fullmatch(given) else secrets.token_hex(16)
        scope.setdefault("state", {})[RECEIVED] = self.started
        self._send, self._receive = send, receive
        self._is_v2 = scope["path"].startswith("/v2/")  # that protocol has errors of its own form
        self._left = self._max_body_bytes = max_body_bytes

    async def receive(self) -> Message:
        """The next part of the body."""
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise BodyTooLargeError(self._max_body_bytes)
        return message

    async def send(self, message: Message) -> None:
        """The next part of the answer; its head gets the request's id."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message["headers"], (_HEADER, self.request_id.encode())]}
        await self._send(message)

    async def refuse(self, status: int, code: str, where: str, text: str) -> None:
        """An answer that says why there is none."""
        told = (
            {"error": f"{where}: {text}"} if self._is_v2 else error_body(code, where, text, request_id=self.request_id)
        )
        body = orjson.dumps(told)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


def error_body(
    code: str, where: str, message: str, *, request_id: str | None, details: list[Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """What all errors look like."""
    error = {"code": code, "where": where, "message": message, "details": details or []}
    return {"error": error, "request_id": request_id}
