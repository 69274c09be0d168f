"""A request for lists: who works on it, and what its log line says."""

from __future__ import annotations

from collections.abc import MutableMapping
from functools import partial
from typing import Any

from tamis.serving.app_parts import Parts
from tamis.serving.middleware import RECEIVED, tell
from tamis.serving.read_write_lock import WouldWaitError
from tamis.serving.request_models import RecommendRequest
from tamis.serving.service import alike

RECOMMEND = "/v1/recommend"


async def recommended(parts: Parts, asked: RecommendRequest, state: MutableMapping[str, Any]) -> dict[str, Any]:
    """Lists for users, as JSON can hold them.

    Args:
        parts: of the server.
        asked: what for.
        state: of the request, with the time at which it came.

    Raises:
        TooBusyError: there is no place for another request.
    """
    received = state[RECEIVED]
    told = await _short(parts, asked, received) if parts.service.is_short(asked) else None
    if told is None:
        told = await parts.answering.run(partial(parts.service.recommend, asked, received=received))
    tell(state, version=told["results"][0]["version"], degraded=told["degraded"], stage_ms=told["stage_ms"])
    return told


async def _short(parts: Parts, asked: RecommendRequest, received: float) -> dict[str, Any] | None:
    try:
        return await parts.short.run((asked, received), alike(asked))
    except WouldWaitError:
        return None
