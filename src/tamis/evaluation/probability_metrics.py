"""What scores are worth as probabilities, and as amounts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from tamis.errors import SettingError
from tamis.evaluation.row_metric import LABEL, SCORE, RankingMetric, counts_by


def _log_loss(epsilon: float) -> pl.Expr:
    score, label = pl.col(SCORE).cast(pl.Float64).clip(epsilon, 1 - epsilon), pl.col(LABEL)
    return -(label * score.log() + (1 - label) * (1 - score).log()).mean()


def _squared_error() -> pl.Expr:
    return (pl.col(SCORE).cast(pl.Float64) - pl.col(LABEL)).pow(2).mean()


@dataclass(frozen=True)
class LogLoss(RankingMetric):
    """The mean cross-entropy of the labels under the scores, in nats."""

    short_name: ClassVar[str] = "log_loss"
    needs_binary: ClassVar[bool] = True
    epsilon: float = 1e-7

    def value(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Probabilities are kept `epsilon` away from 0 and 1."""
        return rows.select(_log_loss(self.epsilon))


@dataclass(frozen=True)
class NormalizedEntropy(RankingMetric):
    """The log loss beside that of always saying the share of positives of these rows: below 1 is better than that.

    Source: He et al., Practical Lessons from Predicting Clicks on Ads at Facebook, ADKDD 2014, eq. 1.
    """

    short_name: ClassVar[str] = "normalized_entropy"
    needs_binary: ClassVar[bool] = True
    epsilon: float = 1e-7

    def value(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Null where one of the classes is missing; probabilities are kept `epsilon` away from 0 and 1."""
        rate = pl.col(LABEL).cast(pl.Float64).mean()
        entropy = -(rate * rate.log() + (1 - rate) * (1 - rate).log())
        return rows.select(pl.when((rate > 0) & (rate < 1)).then(_log_loss(self.epsilon) / entropy))


@dataclass(frozen=True)
class Brier(RankingMetric):
    """The mean squared difference of probability and label.

    Source: Brier, Verification of Forecasts Expressed in Terms of Probability, 1950.
    """

    short_name: ClassVar[str] = "brier"
    needs_binary: ClassVar[bool] = True

    def value(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Of all rows alike."""
        return rows.select(_squared_error())


@dataclass(frozen=True)
class RMSE(RankingMetric):
    """The root of the mean squared difference of score and label."""

    short_name: ClassVar[str] = "rmse"

    def value(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Of all rows alike."""
        return rows.select(_squared_error().sqrt())


@dataclass(frozen=True)
class ECE(RankingMetric):
    """Expected calibration error: how far mean score and share of positives lie apart in a bin, mean over the rows.

    Bins hold as many rows each, since the scores of rare events crowd near 0, where bins of equal width would put
    nearly all rows into the first; rows with the same score stay together, in the bin of the middle one.
    `equal_width=True` cuts 0 to 1 into bins of one width, as most papers do.
    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, eq. 3; equal counts as Nguyen and
    O'Connor, EMNLP 2015.

    Raises:
        SettingError: fewer than one bin.
    """

    bins: int = 15
    equal_width: bool = False
    short_name: ClassVar[str] = "ece"
    needs_binary: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_bins(self.bins, where="ECE")

    @property
    def name(self) -> str:
        """`ece`, or `equal_width_ece`."""
        return f"{'equal_width_' if self.equal_width else ''}{self.short_name}"

    def value(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Null where there are no rows."""
        count = pl.col("rows")
        apart = (count * (pl.col("score") - pl.col("rate")).abs()).sum()
        bins = reliability(rows, self.bins, equal_width=self.equal_width)
        return bins.select(pl.when(count.sum() > 0).then(apart / count.sum()))


def reliability(rows: pl.LazyFrame, bins: int = 15, *, equal_width: bool = False) -> pl.LazyFrame:
    """How often the label was 1 where the score said so: a row per bin that is not empty, by rising score.

    Returns: a query for the columns `low` and `high` (the bin's smallest and largest score), `rows`, `score` (the
        mean) and `rate` (the share of positives). The bins are those of `ECE`.

    Raises:
        SettingError: fewer than one bin.
    """
    _check_bins(bins, where="reliability")
    score, count = pl.col(SCORE).cast(pl.Float64), pl.col("count")
    number = score * bins if equal_width else (count.cum_sum() - count / 2) * bins / count.sum()
    by_score = counts_by(rows, SCORE).sort(SCORE)
    numbered = by_score.with_columns(score, bin=number.floor().clip(0, bins - 1).cast(pl.Int64))
    in_bin = numbered.group_by("bin").agg(
        low=score.min(),
        high=score.max(),
        rows=count.sum().cast(pl.Int64),
        mean=(score * count).sum() / count.sum(),
        rate=pl.col("positive").sum() / count.sum(),
    )
    return in_bin.sort("bin").select("low", "high", "rows", pl.col("mean").alias("score"), "rate")


def _check_bins(bins: int, *, where: str) -> None:
    if bins < 1:
        raise SettingError(f"{where}: bins is {bins}. Give 1 or more, for example 15.")
