"""What a load test found, as JSON and in words."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.serving.load_run import BROKEN, TIMED_OUT, Measured

_NAMES = {TIMED_OUT: "timed out", BROKEN: "connection broke"}
_PERCENTILES = (50, 90, 99, 99.9)
_OWN_FAULT_MS = 1.0  # a load test that is later than this by itself says little about the server


def summary(measured: Measured, *, rate: float, warm_up_s: float = 0.0) -> dict[str, Any]:
    """The figures as JSON holds them.

    Args:
        measured: what became of each request.
        rate: that was asked for, in requests a second.
        warm_up_s: requests that were due before are not counted.
    """
    counted = measured.due_s >= warm_up_s
    status = measured.status[counted]
    is_good = (status >= 200) & (status < 300)
    good = measured.latency_s[counted][is_good]
    told = {str(_NAMES.get(int(one), int(one))): count for one, count in sorted(Counter(status.tolist()).items())}
    span_s = max(measured.took_s - warm_up_s, 1e-9)
    return {
        "requests": int(counted.sum()),
        "rate": rate,
        "achieved_rate": round(float(is_good.sum()) / span_s, 2),
        "took_s": round(measured.took_s, 2),
        "latency_ms": _percentiles(good),
        "service_ms": _percentiles(measured.service_s[counted][is_good]),
        "statuses": told,
        "errors": int((~is_good).sum()),
        "first_errors": measured.errors,
        "degraded": measured.degraded,
        "sent_late_p99_ms": _ms(np.percentile(measured.late_s[counted], 99)) if counted.any() else None,
    }


def _percentiles(seconds: NDArray[np.float64]) -> dict[str, float | None]:
    names = [f"p{one:g}" for one in _PERCENTILES]
    if not len(seconds):
        return dict.fromkeys([*names, "max", "mean"])
    found = dict(zip(names, map(_ms, np.percentile(seconds, _PERCENTILES)), strict=True))
    return {**found, "max": _ms(seconds.max()), "mean": _ms(seconds.mean())}


def _ms(seconds: Any) -> float:
    return round(float(seconds) * 1000, 3)


def table(found: dict[str, Any]) -> str:
    """The figures for people."""
    latency, service = found["latency_ms"], found["service_ms"]
    lines = [
        f"{'':24}{'p50':>9}{'p90':>9}{'p99':>9}{'p99.9':>9}{'max':>9}",
        _line("from when it was due", latency),
        _line("from when it was sent", service),
        f"{found['requests']:,} requests in {found['took_s']:g} s; answered {found['achieved_rate']:g} a second of the "
        f"{found['rate']:g} asked for",
        "by status: " + ", ".join(f"{count:,} x {name}" for name, count in found["statuses"].items()),
    ]
    if found["degraded"]:
        lines.append(f"{found['degraded']:,} answers were simpler than they should be, for lack of time")
    lines += [f"an error: {one}" for one in found["first_errors"]]
    if (found["sent_late_p99_ms"] or 0) > _OWN_FAULT_MS:
        lines.append(
            f"this load test was late itself, by {found['sent_late_p99_ms']:g} ms in the 99th percentile: part of the "
            "latency is its own. Give it a core, or a lower rate."
        )
    return "\n".join(lines)


def _line(name: str, found: dict[str, float | None]) -> str:
    values = "".join(
        f"{'-' if found[p] is None else f'{found[p]:.1f}':>9}" for p in ("p50", "p90", "p99", "p99.9", "max")
    )
    return f"{name + ', ms':24}{values}"
