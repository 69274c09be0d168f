"""Values of probabilities, by hand."""

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from tamis.errors import SettingError
from tamis.evaluation.probability_metrics import ECE, reliability
from tamis.evaluation.ranking_metrics import measure_rows
from tamis.evaluation.row_metric import RankingMetric


def rows_of(scores: Sequence[float], labels: Sequence[float]) -> pl.LazyFrame:
    return pl.LazyFrame({"score": scores, "label": labels}, schema={"score": pl.Float32, "label": pl.Float32})


def value(scores: Sequence[float], labels: Sequence[float], metric: str | RankingMetric) -> float:
    (found,) = measure_rows(rows_of(scores, labels), [metric]).values()
    return found


def test_log_loss_is_the_mean_surprise_and_stays_finite() -> None:
    assert value([0.25, 0.5], [1, 0], "log_loss") == pytest.approx((math.log(4) + math.log(2)) / 2)
    assert value([0.0], [1], "log_loss") == pytest.approx(-math.log(1e-7), rel=1e-6)


def test_always_saying_the_share_of_positives_has_a_normalized_entropy_of_one() -> None:
    assert value([0.25] * 4, [1, 0, 0, 0], "normalized_entropy") == pytest.approx(1)


def test_normalized_entropy_is_the_log_loss_in_that_of_the_share() -> None:
    assert value([0.75, 0.25], [1, 0], "normalized_entropy") == pytest.approx(math.log(4 / 3) / math.log(2))


@pytest.mark.parametrize("label", [0, 1])
def test_with_one_class_there_is_no_normalized_entropy(label: int) -> None:
    assert math.isnan(value([0.5, 0.25], [label, label], "normalized_entropy"))


def test_brier_is_the_mean_square_and_rmse_its_root() -> None:
    assert value([0.5, 0.75], [0, 1], "brier") == pytest.approx((1 / 4 + 1 / 16) / 2)
    assert value([1.0, 2.0], [4, 6], "rmse") == pytest.approx(math.sqrt((9 + 16) / 2))


def test_bins_hold_as_many_rows_each() -> None:
    scores, labels = [0.125, 0.25, 0.5, 0.75, 0.8125, 0.875], [0, 0, 1, 0, 1, 1]
    table = reliability(rows_of(scores[::-1], labels[::-1]), 3).collect()
    assert table.to_dict(as_series=False) == {
        "low": [0.125, 0.5, 0.8125],
        "high": [0.25, 0.75, 0.875],
        "rows": [2, 2, 2],
        "score": [0.1875, 0.625, 0.84375],
        "rate": [0.0, 0.5, 1.0],
    }
    assert value(scores, labels, ECE(3)) == pytest.approx((0.1875 + 0.125 + 0.15625) / 3)


def test_rows_of_one_score_stay_together() -> None:
    table = reliability(rows_of([0.5, 0.5, 0.5, 0.75], [1, 0, 0, 1]), 4).collect()
    assert table["rows"].to_list() == [3, 1]
    assert value([0.5] * 4, [1, 0, 0, 0], ECE(15)) == pytest.approx(0.25)


def test_bins_of_equal_width_end_with_zero_and_one() -> None:
    table = reliability(rows_of([0.0, 0.25, 0.5, 1.0], [0, 1, 1, 1]), 2, equal_width=True).collect()
    assert table["rows"].to_list() == [2, 2]
    found = value([0.0, 0.25, 0.5, 1.0], [0, 1, 1, 1], ECE(2, equal_width=True))
    assert found == pytest.approx(((0.5 - 0.125) + (1 - 0.75)) / 2)
    assert ECE(equal_width=True).name == "equal_width_ece"


def test_scores_that_come_true_have_a_small_calibration_error_and_others_a_large_one() -> None:
    generator = np.random.default_rng(0)
    scores = generator.random(20_000)
    labels = (generator.random(20_000) < scores).astype(float)
    assert value(scores.tolist(), labels.tolist(), "ece") < 0.015
    assert value((scores / 2).tolist(), labels.tolist(), "ece") == pytest.approx(0.25, abs=0.015)


def test_fewer_than_one_bin_is_refused() -> None:
    with pytest.raises(SettingError, match=r"ECE: bins is 0\. Give 1 or more, for example 15\."):
        ECE(0)
    with pytest.raises(SettingError, match=r"reliability: bins is -1\. Give 1 or more"):
        reliability(rows_of([0.5], [1]), -1)
