"""The page at `/`, for people who look at a server, and what it has to know of it."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from tamis.serving.answer_models import ErrorAnswer, HistoryAnswer, VersionsAnswer
from tamis.serving.app_parts import parts_of
from tamis.serving.json_route import JsonRoute, answered
from tamis.serving.page_files import START, page_files
from tamis.serving.request_models import MAX_COLUMNS, MAX_K, ColumnName
from tamis.serving.showing import history_told, versions_told

ERRORS: dict[int | str, dict[str, Any]] = {status: {"model": ErrorAnswer} for status in (401, 422, 429)}
router = APIRouter(route_class=JsonRoute, tags=["page"])


@router.get("/", include_in_schema=False)
async def page(request: Request) -> Response:
    """The page."""
    return _sent(START, request)


@router.get("/page/{name}", include_in_schema=False)
async def page_file(name: str, request: Request) -> Response:
    """What the page loads."""
    return _sent(name, request)


def _sent(name: str, request: Request) -> Response:
    found = page_files().get(name)
    if found is None:
        raise HTTPException(404, "The page has no such file")
    if request.headers.get("if-none-match") == found.tag:
        return Response(status_code=304, headers=found.headers)
    return Response(found.content, headers=found.headers)


@router.get("/v1/versions", response_model=VersionsAnswer, responses=ERRORS)
async def versions(request: Request) -> Response:
    """The versions that are loaded, what each is made of, and what can be tried with it."""
    parts = parts_of(request)
    return answered(await parts.answering.run(partial(versions_told, parts.service.live.served)))


@router.get("/v1/history", response_model=HistoryAnswer, responses=ERRORS)
async def history(
    request: Request,
    user: Annotated[str, Query(max_length=500, description="Raw user id.")],
    k: Annotated[int, Query(ge=1, le=MAX_K, description="The most items to list.")] = 50,
    show: Annotated[list[ColumnName], Query(max_length=MAX_COLUMNS, description="Item columns to add.")] = [],  # noqa: B006 - FastAPI copies it
    version: Annotated[str | None, Query(max_length=200, description="A version by its name.")] = None,
) -> Response:
    """What a user has met, latest first: of the bundle, and of events since."""
    parts = parts_of(request)
    service = parts.service
    told = partial(history_told, service.live.served, user, k=k, show=show, version=version, log=service.log)
    return answered(await parts.answering.run(told))
