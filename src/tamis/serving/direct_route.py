"""The shortest way for what a server is asked most: a list for users, as JSON that nothing is wrong with.

The framework takes longer over a request than the models over its answer. What is asked otherwise, or wrongly, goes
through the framework all the same, so that it is answered and refused in one way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tamis.serving.app_parts import Parts
from tamis.serving.json_route import answer_bytes
from tamis.serving.middleware import ROUTE
from tamis.serving.recommending import RECOMMEND, recommended
from tamis.serving.request_models import RecommendRequest

_JSON, _ERROR = b"application/json", "error"


class DirectRoute:
    """Answers lists for users, and hands all else on.

    Args:
        app: the framework, with a route of the same path, and what answers exceptions.
        parts: of the server.
        handlers: what each exception is answered with.
    """

    def __init__(self, app: ASGIApp, parts: Parts, handlers: Mapping[Any, Any]) -> None:
        self._app, self._parts = app, parts
        self._errors = ExceptionMiddleware(_raise, handlers=handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI call."""
        if scope["type"] != "http" or scope["path"] != RECOMMEND or scope["method"] != "POST" or not _is_json(scope):
            await self._app(scope, receive, send)
            return
        scope["state"][ROUTE] = RECOMMEND
        try:
            messages = [await receive()]
            while messages[-1].get("more_body", False):
                messages.append(await receive())
            asked = _read(messages)
            body = None if asked is None else answer_bytes(await recommended(self._parts, asked, scope["state"]))
        except Exception as error:
            scope["state"][_ERROR] = error
            await self._errors(scope, receive, send)
            return
        if body is None:
            await self._app(scope, _again(messages, receive), send)
            return
        headers = [(b"content-type", _JSON), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _raise(scope: Scope, receive: Receive, send: Send) -> None:
    raise scope["state"].pop(_ERROR)


def _is_json(scope: Scope) -> bool:
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    return bool(kind == _JSON or kind.partition(b";")[0].strip() == _JSON)


def _read(messages: list[Message]) -> RecommendRequest | None:
    """What is asked, if that can be said."""
    try:
        asked: Any = orjson.loads(b"".join(message["body"] for message in messages))
        return RecommendRequest.model_validate(asked)
    except (KeyError, orjson.JSONDecodeError, ValidationError):  # without a body: the caller has gone away
        return None


def _again(messages: list[Message], receive: Receive) -> Receive:
    """Receives once more what was received already."""
    left = iter(messages)

    async def again() -> Message:
        for message in left:
            return message
        return await receive()

    return again
