"""Rows of the serving benchmarks become tables."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import tables


def row(system: str, kind: str, **more: Any) -> dict[str, Any]:
    of_all = {"items": 1_000_000, "users": 100_000, "retrieved": 500, "cores": 2, "private_memory_mb": 1234}
    return {
        "benchmark": "serving",
        "system": system,
        "kind": kind,
        "ranked": 200 if kind == "two-stage" else 0,
        "at_rate": {
            "rate": 100.0,
            "achieved_rate": 99.0,
            "errors": 0,
            "degraded": 0,
            "latency_ms": {"p50": 3.21, "p99": 9.87},
        },
        "saturation": {"requests_per_s": 512.4, "ms": {"p99": 33.3}},
        **of_all,
        **more,
    }


ALONE = {"models_alone": {"requests_per_s": 700.0, "recall_at_100": 0.96}, "share_of_models_alone": 0.732}
SLOW = {"rate": 100.0, "achieved_rate": 14.48, "errors": 185, "degraded": 0, "latency_ms": {"p50": 8000.0, "p99": 9e3}}


def test_a_server_stands_beside_the_models_alone_and_the_naive_one() -> None:
    found = tables.serving_table(
        [row("tamis", "two-stage", workers=2, **ALONE), row("naive", "two-stage", at_rate=SLOW)]
    )
    assert "1,000,000 items, 100,000 users, 500 candidates retrieved (recall@100 0.96)" in found
    assert (
        "| two stages, 200 ranked by DLRM, `tamis serve`, 2 processes | 100/s: 3.2 / 9.9 ms | 512/s, p99 33 ms | "
        "73% of 700/s | 1,234 MB |"
    ) in found
    assert "| naive server | 100/s: only 14/s were answered | 512/s" in found.replace(", naive", " | naive")
    assert tables.serving_table([]) == ""


def test_simpler_answers_are_told() -> None:
    fixed = row("tamis", "retrieval")["at_rate"] | {"degraded": 3}
    found = tables.serving_table([row("tamis", "retrieval", at_rate=fixed, **ALONE)])
    assert "| retrieval alone, `tamis serve` | 100/s: 3.2 / 9.9 ms, 3 simpler ones |" in found


def test_the_long_run_has_a_line() -> None:
    steady = {
        "benchmark": "serving_steady",
        "minutes": 30.0,
        "rate": 350.0,
        "items": 1_000_000,
        "latency_ms": {"p50": 4.0, "p99": 20.0},
        "swaps": 80,
        "errors": 0,
        "degraded": 12,
        "statuses": {"200": 600_000, "429": 30_000},
        "mixed_answers": 0,
        "memory_slope_mb_per_min": -0.123,
    }
    assert (
        "| 30 minutes at 350/s, 1,000,000 items | 4.0 / 20.0 ms | 80 | 0 | 12 of 630,000 | 0 | -0.12 MB/min |"
        in tables.serving_table([steady])
    )
