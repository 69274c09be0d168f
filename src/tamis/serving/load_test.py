"""A whole load test: the schedule, the sending, and the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tamis.progress import progress
from tamis.serving.load_connection import address_of, request_bytes
from tamis.serving.load_report import summary
from tamis.serving.load_run import LoadRun, OnAnswer
from tamis.serving.load_schedule import send_times


def load_test(
    url: str,
    bodies: Sequence[bytes],
    *,
    rate: float = 100.0,
    duration_s: float = 10.0,
    arrivals: str = "poisson",
    connections: int = 64,
    timeout_s: float = 10.0,
    headers: Mapping[str, str] | None = None,
    warm_up_s: float = 0.0,
    seed: int = 0,
    on_answer: OnAnswer | None = None,
    verbose: bool = True,
) -> dict[str, Any]:
    """Send requests at a fixed rate and measure how long each takes from when it was due; see `load_run`.

    Args:
        url: `http://` host and port, and a path, which is `/v1/recommend` if there is none.
        bodies: JSON; each request has the next one.
        rate: requests a second.
        duration_s: of the sending, after the warm-up.
        arrivals: see `send_times`.
        connections: at most, see `LoadRun`.
        timeout_s: after which a request is given up.
        headers: besides those of HTTP itself, a key say.
        warm_up_s: requests that are sent before, at the same rate, and not counted.
        seed: of the schedule.
        on_answer: see `LoadRun`.
        verbose: a progress bar on stderr.

    Returns: what `summary` says.

    Raises:
        SettingError: nobody listens there, or more than a load test may do.
    """
    address, path = address_of(url)
    due = send_times(rate, duration_s + warm_up_s, arrivals=arrivals, seed=seed)
    requests = [request_bytes(address, path, body, headers or {}) for body in bodies[: len(due)]]
    with progress("load test", len(due), unit="requests", verbose=verbose) as advance:
        told = [0]

        def show(done: int) -> None:
            advance(done - told[0])
            told[0] = done

        run = LoadRun(
            address,
            due,
            requests,
            connections=connections,
            timeout_s=timeout_s,
            on_answer=on_answer,
            on_progress=show,
        )
        measured = run.run()
        show(len(due))
    return {**summary(measured, rate=rate, warm_up_s=warm_up_s), "url": url, "arrivals": arrivals}
