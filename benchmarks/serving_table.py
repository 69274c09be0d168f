"""The tables of the serving benchmarks, out of the rows that they printed."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]
_KINDS = {"retrieval": "retrieval alone", "two-stage": "two stages"}
_SYSTEMS = {"tamis": "`tamis serve`", "naive": "naive server"}
HEAD = (
    "one user a request",
    "at a fixed rate: p50 / p99",
    "at saturation",
    "of the models alone",
    "private memory",
)
STEADY_HEAD = ("steady load", "p50 / p99", "swaps", "errors", "simpler answers", "mixed answers", "memory slope")


def serving_lines(rows: list[Row]) -> list[tuple[str, ...]]:
    """A line for each system and kind of request."""
    return [_line(row) for row in rows if row["benchmark"] == "serving"]


def _line(row: Row) -> tuple[str, ...]:
    processes = f", {row['workers']} processes" if row.get("workers", 1) > 1 else ""
    ranked = f", {row['ranked']} ranked by DLRM" if row["ranked"] else ""
    what = f"{_KINDS[row['kind']]}{ranked}, {_SYSTEMS[row['system']]}{processes}"
    most = row["saturation"]
    at_most = f"{most['requests_per_s']:,.0f}/s, p99 {most['ms']['p99']:.0f} ms"
    return what, _fixed(row["at_rate"]), at_most, _share(row), f"{row['private_memory_mb']:,} MB"


def _fixed(found: Row) -> str:
    """Latency at the rate, or how much of it was answered at all."""
    rate, latency = found["rate"], found["latency_ms"]
    if found["errors"] or found["achieved_rate"] < 0.95 * rate:
        return f"{rate:,.0f}/s: only {found['achieved_rate']:,.0f}/s were answered"
    simpler = f", {found['degraded']:,} simpler ones" if found["degraded"] else ""
    return f"{rate:,.0f}/s: {latency['p50']:.1f} / {latency['p99']:.1f} ms{simpler}"


def _share(row: Row) -> str:
    if "models_alone" not in row:
        return ""
    return f"{row['share_of_models_alone']:.0%} of {row['models_alone']['requests_per_s']:,.0f}/s"


def steady_lines(rows: list[Row]) -> list[tuple[str, ...]]:
    """A line for each run under steady load."""
    return [
        (
            f"{row['minutes']:g} minutes at {row['rate']:,.0f}/s, {row['items']:,} items",
            f"{row['latency_ms']['p50']:.1f} / {row['latency_ms']['p99']:.1f} ms",
            f"{row['swaps']}",
            f"{row['errors']}",
            f"{row['degraded']:,} of {sum(row['statuses'].values()):,}",
            f"{row['mixed_answers']}",
            f"{row['memory_slope_mb_per_min']:+.2f} MB/min",
        )
        for row in rows
        if row["benchmark"] == "serving_steady"
    ]


def words(rows: list[Row]) -> str:
    """What the figures are of."""
    row = next((one for one in rows if one["benchmark"] == "serving" and one["system"] == "tamis"), None)
    if row is None:
        return ""
    return (
        f"Serving over HTTP: {row['items']:,} items, {row['users']:,} users, {row['retrieved']} candidates retrieved "
        f"(recall@100 {row['models_alone']['recall_at_100']}), server and load generator on the same {row['cores']} "
        "cores, made-up data. Latency counts from when a request was due. The models alone: tower, index and ranker "
        f"called in {row['cores']} threads of one process, without a server. The naive server is FastAPI with the same "
        "models in torch, an exact search and look-ups in pandas, in one process (`benchmarks/naive_server.py`)."
    )
