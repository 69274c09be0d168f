"""The HTTP interface of a service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp

from tamis.serving import routes_answers, routes_page, routes_state, routes_updates
from tamis.serving.admission import Admission
from tamis.serving.app_parts import Parts
from tamis.serving.direct_route import DirectRoute
from tamis.serving.http_errors import answer_errors
from tamis.serving.middleware import RequestFrame
from tamis.serving.routes_v2 import v2_routes
from tamis.serving.service import Service
from tamis.serving.short_work import ShortWork

_UPDATE_QUEUE = 64  # updates wait for the disk, one after the other


class TamisApp(FastAPI):
    """The framework, inside of what every request passes through."""

    def build_middleware_stack(self) -> ASGIApp:
        """From the outside in: the frame, CORS, the short way, errors, the framework's routes."""
        parts: Parts = self.state.parts
        settings = parts.service.settings
        routes = ExceptionMiddleware(AsyncExitStackMiddleware(self.router), handlers=self.exception_handlers)
        stack: ASGIApp = DirectRoute(routes, parts, self.exception_handlers)
        if settings.cors_origins:
            stack = CORSMiddleware(
                stack,
                allow_origins=list(settings.cors_origins),
                allow_methods=["*"],
                allow_headers=["*"],
                expose_headers=["X-Request-ID", "Retry-After"],
            )
        return RequestFrame(
            stack,
            metrics=parts.service.metrics,
            max_body_bytes=settings.max_body_bytes,
            api_key=settings.api_key,
            log_requests=settings.log_requests,
        )


def create_app(service: Service) -> TamisApp:
    """An app that answers with this service, and closes it at its end."""
    settings = service.settings
    app = TamisApp(
        title="Tamis",
        version=version("tamis"),
        summary="Recommendations out of a bundle.",
        lifespan=_lifespan,
        docs_url=None,
    )
    answering = Admission(settings.threads, settings.queue, name="answer")
    app.state.parts = Parts(
        service,
        answering,
        Admission(2, _UPDATE_QUEUE, name="update"),
        ShortWork(answering, service.recommend_together),
    )
    for module in (routes_answers, routes_updates, routes_state):
        app.include_router(module.router)
    if settings.page:
        app.include_router(routes_page.router)
    app.router.routes.extend(v2_routes(service, app.state.parts.answering))
    answer_errors(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    parts: Parts = app.state.parts
    parts.answering.close()
    parts.updating.close()
    parts.service.close()
