"""Metrics of scores of single rows, by name and together."""

import math

import polars as pl
import pytest

from tamis.errors import SettingError, UnknownNameError
from tamis.evaluation.ranking_metrics import (
    ECE,
    RANKING_METRICS,
    NDCGByGroup,
    describe_ranking_metric,
    described_ranking_metric,
    measure_rows,
    resolve_ranking_metrics,
)
from tamis.evaluation.row_metric import RankingMetric

SCHEMA = {"score": pl.Float32, "label": pl.Float32, "group": pl.Int32}
ROWS = pl.LazyFrame({"score": [0.25, 0.5, 0.75], "label": [0, 1, 1], "group": [1, 1, 2]}, schema=SCHEMA)


class MeanScore(RankingMetric):
    """A user's own."""

    short_name = "mean_score"

    def value(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.select(pl.col("score").mean(), pl.len().alias("rows"))


def test_every_metric_goes_by_its_name() -> None:
    found = measure_rows(ROWS, RANKING_METRICS)
    assert set(RANKING_METRICS) - {"ndcg_by_group"} < set(found)
    assert {"ndcg_by_group_at_10", "gauc_groups_left_out", "ndcg_by_group_at_10_groups_left_out"} < set(found)
    assert all(math.isfinite(value) for value in found.values())


@pytest.mark.parametrize("name", RANKING_METRICS)
def test_nothing_of_no_rows_is_a_number(name: str) -> None:
    value, *counts = measure_rows(ROWS.filter(pl.lit(False)), [name]).values()
    assert math.isnan(value)
    assert counts in ([], [0.0])


def test_a_length_may_be_in_the_name() -> None:
    assert resolve_ranking_metrics(["ndcg_by_group_at_3"]) == [NDCGByGroup(3)]
    with pytest.raises(SettingError, match=r"NDCGByGroup: k is 0\. Give a length of 1 or more"):
        resolve_ranking_metrics(["ndcg_by_group_at_0"])


def test_a_metric_of_ones_own_is_measured_with_its_counts() -> None:
    assert measure_rows(ROWS, [MeanScore()]) == {"mean_score": 0.5, "mean_score_rows": 3.0}
    assert describe_ranking_metric(MeanScore()) is None


def test_a_described_metric_keeps_its_settings() -> None:
    for metric in (*resolve_ranking_metrics(RANKING_METRICS), ECE(5, equal_width=True), NDCGByGroup(3)):
        assert described_ranking_metric(describe_ranking_metric(metric) or {}) == metric


def test_an_unknown_metric_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"there is no metric 'logloss'\. Did you mean 'log_loss'"):
        measure_rows(ROWS, ["logloss"])
