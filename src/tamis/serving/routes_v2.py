"""`/v2`: the Open Inference Protocol, for clients that other inference servers are called with."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any, TypeAlias

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from tamis.errors import TamisError, UnreachableError
from tamis.serving.admission import Admission, TooBusyError
from tamis.serving.inference_protocol import EXTENSIONS, HEADER_LENGTH, read_request, write_answer
from tamis.serving.middleware import RECEIVED, tell
from tamis.serving.recommend_tensors import RecommendTensors
from tamis.serving.service import Service
from tamis.serving.tensors import ProtocolError
from tamis.serving.v2_models import V2Models

Handler: TypeAlias = Callable[[Request], Coroutine[Any, Any, Response]]
_MODEL = "/v2/models/{name}"
_ANY = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def v2_routes(service: Service, answering: Admission) -> list[BaseRoute]:
    """All routes of the protocol; what else is below `/v2` is told to be missing in its words.

    Args:
        service: what answers.
        answering: threads for questions.
    """
    own = _V2(service, answering)
    found = [Route(path, _framed(path, own.server), methods=["GET"]) for path in ("/v2", "/v2/")]
    for word in ("live", "ready"):
        path = f"/v2/health/{word}"
        found.append(Route(path, _framed(path, partial(own.health, word)), methods=["GET"]))
    for path in (_MODEL, _MODEL + "/versions/{version}"):
        for end, handler, method in (
            ("", own.model, "GET"),
            ("/ready", own.ready, "GET"),
            ("/infer", own.infer, "POST"),
        ):
            found.append(Route(path + end, _framed(path + end, handler), methods=[method]))
    return [*found, Route("/v2/{rest:path}", _framed("/v2/{rest}", _missing), methods=_ANY)]


class _V2:
    def __init__(self, service: Service, answering: Admission) -> None:
        self._answering, self._models = answering, V2Models(service)
        self._told = {"name": "tamis", "version": version("tamis"), "extensions": list(EXTENSIONS)}

    async def server(self, request: Request) -> Response:
        return _json(self._told)

    async def health(self, word: str, request: Request) -> Response:
        return _json({word: True})

    async def model(self, request: Request) -> Response:
        return _json(self._models.metadata(*_asked(request)))

    async def ready(self, request: Request) -> Response:
        name, number = _asked(request)
        self._models.find(name, number)
        return _json({"name": name, "ready": True})

    async def infer(self, request: Request) -> Response:
        name, number = _asked(request)
        self._models.find(name, number)  # before the body is read
        encoding = request.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise ProtocolError(f"header.Content-Encoding: it is {encoding!r:.80}. Send the body as it is.", 415)
        body, length = await request.body(), request.headers.get(HEADER_LENGTH)
        received = request.scope["state"][RECEIVED]
        content, headers, facts = await self._answering.run(partial(self._answer, name, number, body, length, received))
        tell(request.scope["state"], **facts)
        return Response(content, headers=headers)

    def _answer(
        self, name: str, number: str | None, body: bytes, length: str | None, received: float
    ) -> tuple[bytes, dict[str, str], dict[str, Any]]:
        """The body and headers of an answer, and what the log says of it."""
        model, live = self._models.find(name, number)
        asked = read_request(body, length, model.inputs, model.outputs)
        told, more = live.name, dict[str, Any]()
        if isinstance(model, RecommendTensors):
            outputs, told, more = self._models.recommend(model, asked, number, received)
        else:
            outputs = model.infer(asked.inputs)
        content, headers = write_answer(asked, outputs, model.outputs, model=name, version=told, parameters=more)
        return content, headers, {"model": name, "version": told, **more}


def _asked(request: Request) -> tuple[str, str | None]:
    return request.path_params["name"], request.path_params.get("version")


async def _missing(request: Request) -> Response:
    raise ProtocolError(f"path: there is no {request.method} {request.url.path!r:.200}.", 404)


def _framed(path: str, handler: Handler) -> Handler:
    """The handler, with its errors in the protocol's words, and its route named for metrics."""
    route = SimpleNamespace(path=path)

    async def framed(request: Request) -> Response:
        request.scope["route"] = route
        try:
            return await handler(request)
        except ProtocolError as error:
            return _json({"error": str(error)}, error.status)
        except TamisError as error:
            return _json({"error": str(error)}, 503 if isinstance(error, UnreachableError) else 400)
        except TooBusyError as error:
            return _json({"error": str(error)}, 429, {"Retry-After": str(error.retry_after_s)})
        except ClientDisconnect:  # nobody reads this, but it is no failure of the server's
            return _json({"error": "body: it ended before its end."}, 400)
        except HTTPException as error:  # of reading the body
            return _json({"error": f"body: {error.detail}"}, error.status_code)

    return framed


def _json(told: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(told), status, headers, "application/json")
