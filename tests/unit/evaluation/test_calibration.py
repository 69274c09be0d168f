"""Curves from score to probability: against brute force, and where the truth is planted."""

import itertools
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import UnknownNameError
from tamis.evaluation.calibration import (
    METHODS,
    Calibrator,
    Isotonic,
    Platt,
    PlattOfOrder,
    calibration_method,
    described_calibrator,
    fit_calibrator,
    pool_adjacent_violators,
)

often = settings(max_examples=60, deadline=None, derandomize=True)
any_rows = st.lists(st.tuples(st.integers(0, 7), st.integers(0, 1)), min_size=2, max_size=40)
either = pytest.mark.parametrize("kind", METHODS.values(), ids=METHODS)


def fitted(kind: type[Calibrator], scores: list[float], labels: list[int]) -> Calibrator:
    schema = {"score": pl.Float32, "label": pl.Float32}
    return fit_calibrator(pl.LazyFrame({"score": scores, "label": labels}, schema=schema), kind)


def applied(curve: Calibrator, *scores: float) -> list[float]:
    return curve.apply(np.array(scores, np.float32)).tolist()


def planted(num_rows: int = 20_000) -> tuple[list[float], list[int]]:
    """Scores whose truth is sigmoid(2 * logit - 1)."""
    generator = np.random.default_rng(1)
    scores = generator.uniform(0.02, 0.98, num_rows)
    truth = true_rate(scores)
    return scores.tolist(), (generator.random(num_rows) < truth).astype(int).tolist()


def true_rate(scores: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(1 - 2 * np.log(scores / (1 - scores))))


def best_by_trying(means: list[float], counts: list[float]) -> list[float]:
    """The best of all ways to cut the sequence into level blocks that rise."""
    best, best_cost = [], math.inf
    for cuts in itertools.product([False, True], repeat=len(means) - 1):
        starts = [0, *(i + 1 for i, cut in enumerate(cuts) if cut), len(means)]
        level: list[float] = []
        for a, b in itertools.pairwise(starts):
            level += [np.average(means[a:b], weights=counts[a:b])] * (b - a)
        cost = sum(n * (m - v) ** 2 for n, m, v in zip(counts, means, level, strict=True))
        if all(x <= y + 1e-12 for x, y in itertools.pairwise(level)) and cost < best_cost:
            best, best_cost = level, cost
    return best


@often
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3)), min_size=1, max_size=9))
def test_pooling_finds_the_least_squares(pairs: list[tuple[int, int]]) -> None:
    counts = [float(count) for _, count in pairs]
    means = [total / count for total, count in pairs]
    first, last, level = pool_adjacent_violators(np.array([float(total) for total, _ in pairs]), np.array(counts))
    assert np.repeat(level, last - first + 1) == pytest.approx(best_by_trying(means, counts))
    assert (np.diff(level) > 0).all()
    assert first[0] == 0
    assert last[-1] == len(pairs) - 1
    assert (first[1:] == last[:-1] + 1).all()


def test_one_late_low_value_pulls_all_before_it_down() -> None:
    """Many rounds of pooling, one block at a time."""
    total = np.array([*np.arange(1.0, 60.0), -10_000.0])
    first, last, level = pool_adjacent_violators(total, np.ones(60))
    assert (first.tolist(), last.tolist()) == ([0], [59])
    assert level[0] == pytest.approx(total.mean())


def test_isotonic_by_hand() -> None:
    """Scores 1/4 and 1/2 violate, so they share 1/2; 6 rows keep rates 1/8 away from 0 and 1."""
    curve = fitted(Isotonic, [0.125, 0.25, 0.25, 0.5, 0.5, 0.75], [0, 1, 0, 0, 1, 1])
    assert curve == Isotonic((0.125, 0.25, 0.5, 0.75), (1 / 8, 1 / 2, 1 / 2, 7 / 8))
    assert applied(curve, 0.0, 0.125, 0.1875, 0.3, 0.625, 0.75, 1.0) == pytest.approx(
        [1 / 8, 1 / 8, 5 / 16, 1 / 2, 11 / 16, 7 / 8, 7 / 8]
    )


def test_tied_scores_share_their_rate() -> None:
    assert applied(fitted(Isotonic, [0.5] * 4, [1, 0, 0, 0]), 0.1, 0.5, 0.9) == pytest.approx([0.25] * 3)


@often
@given(rows=any_rows)
def test_isotonic_says_the_share_of_positives_on_the_rows_that_it_learned_from(rows: list[tuple[int, int]]) -> None:
    """Pooling keeps the mean; only the blocks of nothing but one class are drawn in, by 1 / (rows + 2) at most."""
    scores, labels = [score / 8 for score, _ in rows], [label for _, label in rows]
    found = applied(fitted(Isotonic, scores, labels), *scores)
    assert abs(np.mean(found) - np.mean(labels)) <= 1 / (len(rows) + 2) + 1e-6


@either
@often
@given(rows=any_rows)
def test_no_curve_ever_falls(kind: type[Calibrator], rows: list[tuple[int, int]]) -> None:
    curve = fitted(kind, [score / 8 for score, _ in rows], [label for _, label in rows])
    found = applied(curve, *np.linspace(0, 1, 400))
    assert (np.diff(found) >= 0).all()
    assert 0 < found[0] <= found[-1] < 1


@either
def test_a_planted_curve_is_found(kind: type[Calibrator]) -> None:
    curve = fitted(kind, *planted())
    at = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    assert applied(curve, *at) == pytest.approx(true_rate(at), abs=0.06 if kind is Isotonic else 0.01)


def test_platt_finds_the_planted_numbers() -> None:
    curve = fitted(Platt, *planted())
    assert isinstance(curve, Platt)
    assert (curve.slope, curve.intercept) == pytest.approx((2, -1), abs=0.07)


@often
@given(rows=any_rows)
def test_no_other_slope_or_intercept_has_a_smaller_loss(rows: list[tuple[int, int]]) -> None:
    x = np.log(np.array([score + 1 for score, _ in rows]) / np.array([8 - score for score, _ in rows]))
    labels = np.array([label for _, label in rows])
    curve = fitted(Platt, [(score + 1) / 9 for score, _ in rows], labels.tolist())
    target = np.where(labels == 1, (labels.sum() + 1) / (labels.sum() + 2), 1 / ((1 - labels).sum() + 2))

    def loss(slope: float, intercept: float) -> float:
        z = slope * x + intercept
        return float((np.logaddexp(0, z) - target * z).sum())

    assert isinstance(curve, Platt)
    for slope, intercept in itertools.product((-1e-2, 0, 1e-2), repeat=2):
        if curve.slope + slope >= 0:
            assert loss(curve.slope, curve.intercept) <= loss(curve.slope + slope, curve.intercept + intercept) + 1e-7


def test_where_higher_scores_mean_fewer_positives_platt_says_one_thing_to_all() -> None:
    curve = fitted(Platt, [0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0])
    assert applied(curve, 0.1, 0.9) == pytest.approx([0.5, 0.5])


def test_platt_stands_scores_of_zero_and_one() -> None:
    found = applied(fitted(Platt, [0.0, 0.0, 1.0, 1.0], [0, 1, 0, 1]), 0.0, 1.0)
    assert found == pytest.approx([0.5, 0.5], abs=1e-6)


@either
def test_a_described_curve_is_the_same(kind: type[Calibrator]) -> None:
    curve = fitted(kind, *planted(500))
    assert described_calibrator(curve.describe()) == curve


def test_an_unknown_method_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"calibrate: there is no method 'plat'\. Did you mean 'platt'\?"):
        calibration_method("plat")


def test_a_curve_of_an_order_is_that_of_its_scores_taken_for_logits() -> None:
    """Scores of any size, and the same folder: the usual curve of their sigmoid is the same curve."""
    generator = np.random.default_rng(2)
    scores = np.sort(generator.normal(0.5, 2.0, 500))
    positive, count = (generator.random(500) < 0.5 + scores / 20).astype(float), np.ones(500)
    order, usual = PlattOfOrder.fit(scores, positive, count), Platt.fit(1 / (1 + np.exp(-scores)), positive, count)
    assert (order.slope, order.intercept) == pytest.approx((usual.slope, usual.intercept), rel=1e-6)
    assert isinstance(order, PlattOfOrder) and described_calibrator(order.describe()) == order
    assert calibration_method("platt", of_order=True) is PlattOfOrder
    assert calibration_method("isotonic", of_order=True) is Isotonic
    far = order.apply(np.array([-1e4, 40.0, 1e4], np.float32))
    assert np.isfinite(far).all() and far[0] < far[1] <= far[2]
