"""How the server is: for probes, and for Prometheus."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tamis.serving.app_parts import parts_of
from tamis.serving.json_route import answered
from tamis.serving.serving_metrics import CONTENT_TYPE

router = APIRouter(tags=["state"])


@router.get("/healthz")
async def healthz() -> dict[str, Any]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(request: Request) -> Response:
    """A version answered the requests of its bundle as it did when it was saved; and what is served."""
    return answered(parts_of(request).service.readiness())


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """What was counted and measured, as Prometheus reads it."""
    parts = parts_of(request)
    service = parts.service
    for part, is_up in service.outside.are_up.items():
        service.metrics.outside_up.labels(part).set(is_up)
    service.metrics.in_work.set(parts.answering.num_inside + parts.updating.num_inside)
    return Response(service.metrics.page(service.live.served), media_type=CONTENT_TYPE)
