"""Which status and which words an exception is answered with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from tamis.errors import DataError, DiskFullError, SettingError, UnknownColumnError, UnknownNameError
from tamis.serving.admission import TooBusyError
from tamis.serving.logs import REQUEST_ID
from tamis.serving.middleware import TOO_LARGE, BodyTooLargeError, error_body
from tamis.serving.service import UpdatesOffError

_CALLERS_FAULT = (DataError, SettingError, UnknownColumnError, UnknownNameError)
_MOST_DETAILS, _MOST_LETTERS, _LONGEST_MESSAGE = 10, 200, 2000  # what a caller made up is not sent back whole
_CODES = {404: "not_found", 405: "method_not_allowed"}


def answer_errors(app: FastAPI) -> None:
    """Let an app answer all exceptions in one form."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(TooBusyError, _busy)
    app.add_exception_handler(UpdatesOffError, _updates_off)
    app.add_exception_handler(DiskFullError, _disk_full)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(BodyTooLargeError, _too_large)
    for kind in _CALLERS_FAULT:
        app.add_exception_handler(kind, _refused)


def _answer(
    status: int,
    code: str,
    where: str,
    message: str,
    *,
    details: list[Mapping[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    where, message = _short(where, _MOST_LETTERS), _short(message, _LONGEST_MESSAGE)
    body = error_body(code, where, message, request_id=REQUEST_ID.get(), details=details)
    return Response(orjson.dumps(body), status, dict(headers or {}), "application/json")


async def _invalid(request: Request, error: Exception) -> Response:
    """What the models refuse: where, and what stood there."""
    assert isinstance(error, RequestValidationError)
    found = list(error.errors())
    if found[0]["type"] == "json_invalid":
        reason = found[0].get("ctx", {}).get("error", "")
        return _answer(400, "invalid_json", "body", f"The body is no JSON: {reason}.")
    details = [_detail(one) for one in found[:_MOST_DETAILS]]
    text = f"{details[0]['message']}, but got {details[0]['input']}."
    return _answer(422, "invalid_request", str(details[0]["where"]), text, details=list(details))


def _detail(error: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "where": _short(".".join(map(str, error["loc"])), _MOST_LETTERS),
        "message": _short(error["msg"], _LONGEST_MESSAGE),
        "input": _short(repr(error.get("input")), _MOST_LETTERS),
    }


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


async def _refused(request: Request, error: Exception) -> Response:
    """What the recommender refuses. Its messages begin with where."""
    where, _, _ = str(error).partition(": ")
    return _answer(422, "invalid_request", where, str(error))


async def _busy(request: Request, error: Exception) -> Response:
    assert isinstance(error, TooBusyError)
    return _answer(429, "too_busy", "server", str(error), headers={"Retry-After": str(error.retry_after_s)})


async def _updates_off(request: Request, error: Exception) -> Response:
    return _answer(503, "updates_off", "server", str(error))


async def _disk_full(request: Request, error: Exception) -> Response:
    return _answer(507, "disk_full", "server", str(error))


async def _too_large(request: Request, error: Exception) -> Response:
    assert isinstance(error, BodyTooLargeError)
    return _answer(error.status_code, TOO_LARGE, "body", error.detail)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "http_error")
    text = f"There is no {request.method} {request.url.path}: {error.detail}."
    return _answer(error.status_code, code, "path", text, headers=error.headers)
