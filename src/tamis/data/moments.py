"""Times kept as whole numbers: which unit they count in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST, _LATEST = 631_152_000, 4_102_444_800  # 1990 and 2100, in seconds since 1970
PER_SECOND = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}


def unit_of(value: Any) -> str | None:
    """The unit in which a number is a time between 1990 and 2100; the four ranges do not meet."""
    if not isinstance(value, int | float):
        return None
    return next((unit for unit, per in PER_SECOND.items() if _EARLIEST <= value / per < _LATEST), None)


def as_datetime(value: float, unit: str) -> datetime:
    """A number of that unit since 1970 as a time."""
    return _EPOCH + timedelta(seconds=value / PER_SECOND[unit])
