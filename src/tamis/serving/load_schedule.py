"""When requests of a load test are sent: fixed before the first of them, whatever the server does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tamis.errors import SettingError, UnknownNameError

MAX_RATE, MAX_DURATION_S, MAX_REQUESTS = 20_000.0, 7200.0, 5_000_000
ARRIVALS = ("poisson", "even")


def send_times(rate: float, duration_s: float, *, arrivals: str = "poisson", seed: int = 0) -> NDArray[np.float64]:
    """Seconds from the start at which each request is due, ascending.

    Args:
        rate: requests a second.
        duration_s: seconds; at least one request is sent.
        arrivals: `"poisson"`: independent users, so gaps are drawn from an exponential distribution; `"even"`: all gaps
            alike.
        seed: of the draw.

    Raises:
        SettingError: more than a load test may do, or nothing at all.
        UnknownNameError: no such kind of arrivals.
    """
    _check(rate, duration_s)
    if arrivals not in ARRIVALS:
        raise UnknownNameError(arrivals, ARRIVALS, where="loadtest", what="kind of arrivals")
    count = max(round(rate * duration_s), 1)
    if arrivals == "even":
        return np.arange(count) / rate
    # of so many independent users, each comes at any time alike; the first is there at once
    times: NDArray[np.float64] = np.sort(np.random.default_rng(seed).uniform(0, duration_s, count))
    times -= times[0]
    return times


def _check(rate: float, duration_s: float) -> None:
    if not 0 < rate <= MAX_RATE:
        raise SettingError(f"loadtest: rate is {rate:g} requests a second. Give more than 0 and up to {MAX_RATE:,.0f}.")
    if not 0 < duration_s <= MAX_DURATION_S:
        raise SettingError(
            f"loadtest: duration is {duration_s:g} seconds. Give more than 0 and up to {MAX_DURATION_S:,.0f}."
        )
    if rate * duration_s > MAX_REQUESTS:
        raise SettingError(
            f"loadtest: {rate:g} requests a second for {duration_s:g} seconds are {rate * duration_s:,.0f}, more than "
            f"the {MAX_REQUESTS:,} of one test. Lower one of them."
        )
