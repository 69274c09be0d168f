"""Routes that read and write JSON fast and strictly: no NaN, no half characters."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import orjson
from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from tamis.serving.logs import REQUEST_ID


class _StrictRequest(Request):
    async def json(self) -> Any:
        """The body; `orjson` refuses what Python's own reader lets pass."""
        if not hasattr(self, "_json"):
            self._json = orjson.loads(await self.body())
        return self._json


class JsonRoute(APIRoute):
    """A route whose requests are read by orjson."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, with another reader."""
        handler = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handler(_StrictRequest(request.scope, request.receive))

        return strict


def answered(told: Mapping[str, Any]) -> Response:
    """An answer with the request's id."""
    return Response(answer_bytes(told), media_type="application/json")


def answer_bytes(told: Mapping[str, Any]) -> bytes:
    """The body of such an answer."""
    return orjson.dumps({**told, "request_id": REQUEST_ID.get()})
