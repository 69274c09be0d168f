"""What routes find in their app."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import Request

from tamis.serving.admission import Admission
from tamis.serving.service import Asked, Service
from tamis.serving.short_work import ShortWork


@dataclass(frozen=True)
class Parts:
    """The service, and the threads that it works in.

    Args:
        service: what is done.
        answering: threads for questions.
        updating: threads for updates, which wait for the disk.
        short: for questions whose answers take no time.
    """

    service: Service
    answering: Admission
    updating: Admission
    short: ShortWork[Asked, dict[str, Any]]


def parts_of(request: Request) -> Parts:
    """The parts of the app that a request came to."""
    parts: Parts = request.app.state.parts
    return parts
