"""What scores of single rows are worth. Each metric is a query over rows, so that it streams in bounded memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from tamis.errors import UnknownNameError

SCORE, LABEL, GROUP = "score", "label", "group"


class RankingMetric(ABC):
    """A number about rows with a `score` (a probability, for binary targets) and a `label`.

    Rows also have a `group`, the query that they belong to, where the metric `needs_group`.
    """

    name: ClassVar[str]
    needs_group: ClassVar[bool] = False

    @abstractmethod
    def value(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """A query for the one value, in a column of any name; null where it is not defined."""


@dataclass(frozen=True)
class AUC(RankingMetric):
    """The probability that a positive row has a higher score than a negative one; a tie counts half.

    Source: Hanley and McNeil, The Meaning and Use of the Area under a ROC Curve, Radiology 1982.
    """

    name: ClassVar[str] = "auc"

    def value(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Null where one of the classes is missing."""
        label = pl.col(LABEL)
        by_score = rows.group_by(SCORE).agg(positive=label.sum().cast(pl.Float64), count=pl.len().cast(pl.Float64))
        negative = (pl.col("count") - pl.col("positive")).alias("negative")
        sorted_ = by_score.with_columns(negative).sort(SCORE)
        below = pl.col("negative").cum_sum() - pl.col("negative") / 2
        pairs = pl.col("positive").sum() * pl.col("negative").sum()
        wins = (pl.col("positive") * below).sum()
        return sorted_.select(pl.when(pairs > 0).then(wins / pairs))


@dataclass(frozen=True)
class LogLoss(RankingMetric):
    """The mean cross-entropy of the labels under the scores, in nats."""

    name: ClassVar[str] = "log_loss"
    epsilon: float = 1e-7

    def value(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Probabilities are kept `epsilon` away from 0 and 1."""
        score = pl.col(SCORE).cast(pl.Float64).clip(self.epsilon, 1 - self.epsilon)
        label = pl.col(LABEL)
        return rows.select(-(label * score.log() + (1 - label) * (1 - score).log()).mean())


@dataclass(frozen=True)
class RMSE(RankingMetric):
    """The root of the mean squared difference of score and label."""

    name: ClassVar[str] = "rmse"

    def value(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Of all rows alike."""
        return rows.select((pl.col(SCORE).cast(pl.Float64) - pl.col(LABEL)).pow(2).mean().sqrt())


RANKING_METRICS: dict[str, type[RankingMetric]] = {metric.name: metric for metric in (AUC, LogLoss, RMSE)}


def resolve_ranking_metrics(metrics: Iterable[str | RankingMetric]) -> list[RankingMetric]:
    """Metrics given by name or as they are.

    Raises:
        UnknownNameError: no metric of this name.
    """
    resolved = []
    for metric in metrics:
        if isinstance(metric, str):
            if metric not in RANKING_METRICS:
                raise UnknownNameError(metric, RANKING_METRICS, where="metrics", what="metric")
            resolved.append(RANKING_METRICS[metric]())
        else:
            resolved.append(metric)
    return resolved


def measure_rows(rows: pl.LazyFrame, metrics: Iterable[str | RankingMetric]) -> dict[str, float]:
    """All metrics of the same rows, by name; NaN where one is not defined."""
    resolved = resolve_ranking_metrics(metrics)
    found = pl.collect_all([metric.value(rows) for metric in resolved], engine="streaming")
    values = [frame.item() for frame in found]
    return {m.name: float("nan") if v is None else float(v) for m, v in zip(resolved, values, strict=True)}
