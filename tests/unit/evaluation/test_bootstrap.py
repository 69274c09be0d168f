"""Intervals over users against a bootstrap written out in numpy, and against what theory says of a mean."""

import numpy as np
import pytest

from tamis.errors import SettingError
from tamis.evaluation.bootstrap import Bootstrap, Estimate, difference_interval, mean_interval


def values(num_users: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(num_users)


def by_hand(statistic, *columns, seed: int, num_samples: int) -> tuple[float, float, float]:
    """Draw users, compute the statistic of the drawn columns, take the quantiles."""
    generator, size = np.random.default_rng(seed), len(columns[0])
    drawn = []
    for _ in range(num_samples):
        rows = generator.integers(0, size, size)
        drawn.append(statistic(*(column[rows] for column in columns)))
    return (statistic(*columns), *np.quantile(drawn, [0.025, 0.975]))


def as_tuple(found: Estimate) -> tuple[float, float, float]:
    return found.value, found.low, found.high


def test_a_mean_has_the_interval_of_the_drawn_means() -> None:
    some = values(80, 1)
    expected = by_hand(np.mean, some, seed=5, num_samples=300)
    assert as_tuple(mean_interval(some, seed=5, num_samples=300)) == pytest.approx(expected)


def test_a_difference_draws_both_values_of_a_user_together() -> None:
    a = values(80, 1)
    b = a - 0.1 + 0.01 * values(80, 2)  # users differ a lot, the two systems by a little for each of them
    expected = by_hand(lambda x, y: x.mean() - y.mean(), a, b, seed=5, num_samples=300)
    found = difference_interval(a, b, seed=5, num_samples=300)
    assert as_tuple(found) == pytest.approx(expected)
    assert found.excludes_zero
    assert mean_interval(b).high > mean_interval(a).low  # unpaired intervals overlap, the paired one tells


def test_a_share_is_the_ratio_of_the_drawn_means() -> None:
    a, b = values(50, 1), values(50, 2) + 0.5
    expected = by_hand(lambda x, y: x.mean() / y.mean(), a, b, seed=2, num_samples=200)
    assert as_tuple(Bootstrap({"a": a, "b": b}, seed=2, num_samples=200).share("a", "b")) == pytest.approx(expected)


def test_weights_are_drawn_with_their_users() -> None:
    a, weight = values(50, 1), np.arange(1.0, 51.0)
    expected = by_hand(lambda x, w: (x * w).sum() / w.sum(), a, weight, seed=2, num_samples=200)
    assert as_tuple(Bootstrap({"a": a}, weights=weight, seed=2, num_samples=200).mean("a")) == pytest.approx(expected)


def test_the_interval_is_that_of_the_normal_distribution_where_there_are_many() -> None:
    halves = np.tile([0.0, 1.0], 1000)
    assert mean_interval(halves).high - 0.5 == pytest.approx(1.96 * 0.5 / 2000**0.5, rel=0.1)


def test_equal_values_leave_no_doubt_and_one_user_says_nothing_of_others() -> None:
    assert as_tuple(mean_interval([0.25] * 9)) == (0.25, 0.25, 0.25)
    assert as_tuple(mean_interval([0.75])) == (0.75, 0.75, 0.75)
    assert not difference_interval([1.0, 2.0], [1.0, 2.0]).excludes_zero


def test_nothing_to_draw_from_is_not_a_number() -> None:
    assert np.isnan(as_tuple(mean_interval([]))).all()
    ratio = Bootstrap({"a": [1.0, 1.0], "b": [0.0, 0.0]}).share("a", "b")
    assert np.isnan(as_tuple(ratio)).all()


def test_draws_without_a_value_to_divide_by_are_left_out() -> None:
    found = Bootstrap({"a": [1.0, 0.0], "b": [1.0, 0.0]}).share("a", "b")  # a quarter of the draws holds user 1 only
    assert as_tuple(found) == (1.0, 1.0, 1.0)


def test_an_estimate_reads_as_a_value_with_its_interval() -> None:
    assert str(Estimate(0.12344, 0.1, 0.15)) == "0.1234 [0.1000, 0.1500]"


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(SettingError, match=r"num_samples is 0. Give 1 or more"):
        Bootstrap({"a": [1.0]}, num_samples=0)
    with pytest.raises(SettingError, match=r"columns of \[1, 2\] users. Give each one value per user"):
        Bootstrap({"a": [1.0], "b": [1.0, 2.0]})
