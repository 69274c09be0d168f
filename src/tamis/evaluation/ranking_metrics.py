"""All metrics of scores of single rows by name, and how they are measured together."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from tamis.errors import UnknownNameError
from tamis.evaluation.order_metrics import AUC, GAUC, PRAUC, NDCGByGroup
from tamis.evaluation.probability_metrics import ECE, RMSE, Brier, LogLoss, NormalizedEntropy
from tamis.evaluation.row_metric import GROUP, LABEL, SCORE, RankingMetric

__all__ = [
    "AUC",
    "ECE",
    "GAUC",
    "GROUP",
    "LABEL",
    "PRAUC",
    "RANKING_METRICS",
    "RMSE",
    "SCORE",
    "Brier",
    "LogLoss",
    "NDCGByGroup",
    "NormalizedEntropy",
    "RankingMetric",
    "describe_ranking_metric",
    "described_ranking_metric",
    "measure_rows",
    "resolve_ranking_metrics",
]

_ALL = (AUC, GAUC, PRAUC, LogLoss, NormalizedEntropy, Brier, ECE, NDCGByGroup, RMSE)
RANKING_METRICS: dict[str, type[RankingMetric]] = {metric.short_name: metric for metric in _ALL}


def resolve_ranking_metrics(metrics: Iterable[str | RankingMetric]) -> list[RankingMetric]:
    """Metrics given by name, such as `"auc"` or `"ndcg_by_group_at_5"`, or as they are.

    Raises:
        UnknownNameError: no metric of this name.
        SettingError: a length below 1.
    """
    return [_by_name(metric) if isinstance(metric, str) else metric for metric in metrics]


def _by_name(name: str) -> RankingMetric:
    at = re.fullmatch(rf"{NDCGByGroup.short_name}_at_(\d+)", name)
    return NDCGByGroup(int(at[1])) if at else _kind(name)()


def _kind(name: str) -> type[RankingMetric]:
    if name not in RANKING_METRICS:
        raise UnknownNameError(name, RANKING_METRICS, where="metrics", what="metric")
    return RANKING_METRICS[name]


def describe_ranking_metric(metric: RankingMetric) -> dict[str, Any] | None:
    """A metric as JSON can hold it; None for one of a user's own."""
    if type(metric) not in _ALL:
        return None
    return {"metric": metric.short_name, **dataclasses.asdict(metric)}  # type: ignore[call-overload]


def described_ranking_metric(described: Mapping[str, Any]) -> RankingMetric:
    """The metric that `describe_ranking_metric` described.

    Raises:
        UnknownNameError: no metric of this name.
    """
    return _kind(described["metric"])(**{name: value for name, value in described.items() if name != "metric"})


def measure_rows(rows: pl.LazyFrame, metrics: Iterable[str | RankingMetric]) -> dict[str, float]:
    """All metrics of the same rows, by name, with their counts; NaN where one is not defined."""
    resolved = resolve_ranking_metrics(metrics)
    found = pl.collect_all([metric.value(rows) for metric in resolved], engine="streaming")
    measured: dict[str, float] = {}
    for metric, frame in zip(resolved, found, strict=True):
        value, *counts = frame.row(0)
        # Threads add up in any order, so the last digits differ from run to run: they are left out.
        measured[metric.name] = float("nan") if value is None else float(f"{value:.12g}")
        measured |= {f"{metric.name}_{column}": float(n) for column, n in zip(frame.columns[1:], counts, strict=True)}
    return measured
