"""Questions: lists for users, items like others, a caller's candidates in order."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tamis.serving.answer_models import ErrorAnswer, RankAnswer, RecommendAnswer, SimilarItemsAnswer
from tamis.serving.app_parts import parts_of
from tamis.serving.json_route import JsonRoute, answered
from tamis.serving.recommending import RECOMMEND, recommended
from tamis.serving.request_models import RankRequest, RecommendRequest, SimilarItemsRequest

ERRORS: dict[int | str, dict[str, Any]] = {status: {"model": ErrorAnswer} for status in (400, 401, 413, 422, 429)}
router = APIRouter(route_class=JsonRoute, tags=["answers"])


@router.post(RECOMMEND, response_model=RecommendAnswer, responses=ERRORS)
async def recommend(asked: RecommendRequest, request: Request) -> Response:
    """The `k` best items for each user, best first."""
    return answered(await recommended(parts_of(request), asked, request.scope["state"]))


@router.post("/v1/similar-items", response_model=SimilarItemsAnswer, responses=ERRORS)
async def similar_items(asked: SimilarItemsRequest, request: Request) -> Response:
    """The `k` items most like each of these."""
    parts = parts_of(request)
    return answered(await parts.answering.run(partial(parts.service.similar, asked)))


@router.post("/v1/rank", response_model=RankAnswer, responses=ERRORS)
async def rank(asked: RankRequest, request: Request) -> Response:
    """Your own candidates, best first for this user; no filter applies."""
    parts = parts_of(request)
    return answered(await parts.answering.run(partial(parts.service.rank, asked)))
