"""What routes find in their app."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from tamis.serving.admission import Admission
from tamis.serving.service import Service


@dataclass(frozen=True)
class Parts:
    """The service, and the threads that it works in.

    Args:
        service: what is done.
        answering: threads for questions.
        updating: threads for updates, which wait for the disk.
    """

    service: Service
    answering: Admission
    updating: Admission


def parts_of(request: Request) -> Parts:
    """The parts of the app that a request came to."""
    parts: Parts = request.app.state.parts
    return parts
