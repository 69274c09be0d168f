"""What the order of scores is worth. Rows with the same score are taken together, so no metric depends on luck."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

import polars as pl

from tamis.errors import SettingError
from tamis.evaluation.row_metric import GROUP, LABEL, SCORE, RankingMetric, counts_by

POSITIVE, NEGATIVE, COUNT = pl.col("positive"), pl.col("negative"), pl.col("count")


@dataclass(frozen=True)
class AUC(RankingMetric):
    """The probability that a positive row has a higher score than a negative one; a tie counts half.

    Source: Hanley and McNeil, The Meaning and Use of the Area under a ROC Curve, Radiology 1982.
    """

    short_name: ClassVar[str] = "auc"
    reads_order: ClassVar[bool] = True
    needs_binary: ClassVar[bool] = True

    def value(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Null where one of the classes is missing."""
        pairs = POSITIVE.sum() * NEGATIVE.sum()
        below = NEGATIVE.cum_sum() - NEGATIVE / 2
        wins = (POSITIVE * below).sum()
        return counts_by(rows, SCORE).sort(SCORE).select(pl.when(pairs > 0).then(wins / pairs))


@dataclass(frozen=True)
class GAUC(RankingMetric):
    """The mean of the groups' AUC, each weighted by its rows: how well every user's own rows are ordered.

    A group with one class only has no AUC and is left out; `gauc_groups_left_out` counts these.
    Source: Zhou et al., Deep Interest Network, KDD 2018, eq. 7.
    """

    short_name: ClassVar[str] = "gauc"
    reads_order: ClassVar[bool] = True
    needs_group: ClassVar[bool] = True
    needs_binary: ClassVar[bool] = True

    def value(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Null where no group has both classes."""
        # One running sum goes through all groups; what stood before a group is taken off it afterwards. The sums are
        # whole numbers and halves, so this is exact, and unlike a window over groups it streams.
        through = NEGATIVE.cum_sum()
        ordered = counts_by(rows, GROUP, SCORE).sort(GROUP, SCORE)
        groups = (
            ordered.with_columns(before=through - NEGATIVE, below=through - NEGATIVE / 2)
            .group_by(GROUP)
            .agg(
                POSITIVE.sum(),
                NEGATIVE.sum(),
                COUNT.sum(),
                wins=(POSITIVE * pl.col("below")).sum() - POSITIVE.sum() * pl.col("before").min(),
            )
        )
        pairs = POSITIVE * NEGATIVE
        weight = pl.when(pairs > 0).then(COUNT)
        weighted = (weight * pl.col("wins") / pairs).sum()
        return groups.select(
            pl.when(weight.sum() > 0).then(weighted / weight.sum()), weight.null_count().alias("groups_left_out")
        )


@dataclass(frozen=True)
class PRAUC(RankingMetric):
    """Average precision: the precision at each score that some row has, weighted by the recall gained there.

    Source: Boyd, Eng and Page, Area under the Precision-Recall Curve, ECML PKDD 2013.
    """

    short_name: ClassVar[str] = "pr_auc"
    reads_order: ClassVar[bool] = True
    needs_binary: ClassVar[bool] = True

    def value(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Null where there is no positive row."""
        precision = POSITIVE.cum_sum() / COUNT.cum_sum()
        area = (POSITIVE * precision).sum()
        ordered = counts_by(rows, SCORE).sort(SCORE, descending=True)
        return ordered.select(pl.when(POSITIVE.sum() > 0).then(area / POSITIVE.sum()))


@dataclass(frozen=True)
class NDCGByGroup(RankingMetric):
    """The discounted gain of each group's first `k` rows by score beside that of its best order, mean over groups.

    A row's gain is its label, a 0, a 1 or a grade of 0 or more. Rows with the same score share the places that they
    fill: each counts with the mean of their discounts, the value expected of a random order among them. A group
    without gain is left out; `ndcg_by_group_at_<k>_groups_left_out` counts these.
    Source: Jaervelin and Kekaelaeinen, TOIS 2002; ties as McSherry and Najork, ECIR 2008.

    Raises:
        SettingError: `k` is below 1.
    """

    k: int = 10
    short_name: ClassVar[str] = "ndcg_by_group"
    reads_order: ClassVar[bool] = True
    needs_group: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.k < 1:
            raise SettingError(f"NDCGByGroup: k is {self.k}. Give a length of 1 or more.")

    @property
    def name(self) -> str:
        """For example `ndcg_by_group_at_10`."""
        return f"{self.short_name}_at_{self.k}"

    def value(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Null where no group has gain."""
        ideal = self._gain(rows.with_columns(pl.col(LABEL).alias("order"))).rename({"gain": "ideal"})
        found = self._gain(rows.with_columns(pl.col(SCORE).alias("order"))).join(ideal, on=GROUP, nulls_equal=True)
        share = pl.when(pl.col("ideal") > 0).then(pl.col("gain") / pl.col("ideal"))
        return found.select(share.mean(), share.null_count().alias("groups_left_out"))

    def _gain(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """The discounted gain of each group where its rows stand by falling `order`."""
        ties = counts_by(rows, GROUP, "order").sort(GROUP, "order", descending=True)
        through = ties.with_columns(through=COUNT.cum_sum())
        start = through.group_by(GROUP).agg(start=(pl.col("through") - COUNT).min())
        last = pl.col("through") - pl.col("start")
        gain = POSITIVE / COUNT * (self._discounts_to(last) - self._discounts_to(last - COUNT))
        placed = through.join(start, on=GROUP, nulls_equal=True)
        return placed.with_columns(gain=gain).group_by(GROUP).agg(pl.col("gain").sum())

    def _discounts_to(self, place: pl.Expr) -> pl.Expr:
        """The sum of the discounts of all places up to this one; those behind `k` are 0."""
        sums = [0.0, *accumulate(1 / math.log2(place + 1) for place in range(1, self.k + 1))]
        return pl.lit(sums).list.get(place.cast(pl.Int64).clip(upper_bound=self.k))
