"""Values of scores of single rows, by hand and by counting pairs."""

import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import UnknownNameError
from tamis.evaluation.ranking_metrics import measure_rows


def measured(scores: list[float], labels: list[int], *metrics: str) -> dict[str, float]:
    rows = pl.LazyFrame({"score": scores, "label": labels}, schema={"score": pl.Float32, "label": pl.Float32})
    return measure_rows(rows, metrics)


def test_a_right_order_is_one_a_turned_one_zero_and_a_tie_half() -> None:
    assert measured([0.1, 0.9], [0, 1], "auc") == {"auc": 1.0}
    assert measured([0.9, 0.1], [0, 1], "auc") == {"auc": 0.0}
    assert measured([0.5, 0.5, 0.5], [0, 1, 1], "auc") == {"auc": 0.5}


def test_without_both_classes_there_is_no_auc() -> None:
    assert math.isnan(measured([0.1, 0.9], [1, 1], "auc")["auc"])


@settings(max_examples=50, deadline=None, derandomize=True)
@given(rows=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1)), min_size=1, max_size=40))
def test_auc_agrees_with_counting_pairs(rows) -> None:
    positive = [score for score, label in rows if label]
    negative = [score for score, label in rows if not label]
    wins = [1.0 if p > n else 0.5 if p == n else 0.0 for p in positive for n in negative]
    found = measured([score / 8 for score, _ in rows], [label for _, label in rows], "auc")["auc"]
    assert found == pytest.approx(sum(wins) / len(wins)) if wins else math.isnan(found)


def test_log_loss_is_the_mean_surprise_and_stays_finite() -> None:
    found = measured([0.25, 0.5], [1, 0], "log_loss")["log_loss"]
    assert found == pytest.approx((math.log(4) + math.log(2)) / 2)
    assert measured([0.0], [1], "log_loss")["log_loss"] == pytest.approx(-math.log(1e-7), rel=1e-6)


def test_rmse_is_the_root_of_the_mean_square() -> None:
    assert measured([1.0, 2.0], [4, 6], "rmse")["rmse"] == pytest.approx(math.sqrt((9 + 16) / 2))


def test_an_unknown_metric_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"there is no metric 'logloss'\. Did you mean 'log_loss'"):
        measured([0.5], [1], "logloss")
