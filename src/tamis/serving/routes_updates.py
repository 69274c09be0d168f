"""What changes: items, users and events. An answer means that the update is on the disk and live."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import Field

from tamis.serving.answer_models import ErrorAnswer, UpdateAnswer
from tamis.serving.app_parts import parts_of
from tamis.serving.json_route import JsonRoute, answered
from tamis.serving.request_models import MAX_ITEMS, EventsRequest, PutItemsRequest, PutUserRequest

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer} for status in (400, 401, 413, 422, 429, 503, 507)
}
router = APIRouter(route_class=JsonRoute, tags=["updates"])


@router.put("/v1/items", response_model=UpdateAnswer, responses=ERRORS)
async def put_items(asked: PutItemsRequest, request: Request) -> Response:
    """New items, or what changed of known ones: they can be recommended when this is answered."""
    parts = parts_of(request)
    return answered(await parts.updating.run(partial(parts.service.put_items, asked)))


@router.delete("/v1/items", response_model=UpdateAnswer, responses=ERRORS)
async def delete_items(
    id: Annotated[
        list[Annotated[str, Field(max_length=500)]],
        Query(min_length=1, max_length=MAX_ITEMS, description="Raw ids; may be given several times."),
    ],
    request: Request,
) -> Response:
    """Offer these items no more; unknown ids are ignored until they come."""
    parts = parts_of(request)
    return answered(await parts.updating.run(partial(parts.service.remove_items, id)))


@router.put("/v1/users/{user}", response_model=UpdateAnswer, responses=ERRORS)
async def put_user(user: Annotated[str, Path(max_length=500)], asked: PutUserRequest, request: Request) -> Response:
    """A user's raw features, in place of those that were put before."""
    parts = parts_of(request)
    return answered(await parts.updating.run(partial(parts.service.put_user, user, asked)))


@router.post("/v1/events", response_model=UpdateAnswer, responses=ERRORS)
async def post_events(asked: EventsRequest, request: Request) -> Response:
    """What users just saw or chose: it is seen, and their next lists know of it."""
    parts = parts_of(request)
    return answered(await parts.updating.run(partial(parts.service.put_events, asked)))
