"""What one column alone tells of the target."""

import numpy as np
import polars as pl
import pytest

from tamis.data.leaks import auc, single_column_power

N = 4000
RANDOM = np.random.default_rng(0)
TARGET = RANDOM.random(N) < 0.3


def power(values, target=TARGET) -> float | None:
    return single_column_power(pl.Series("x", values), pl.Series("y", target))


def test_auc_counts_pairs() -> None:
    score, positive = np.array([1.0, 2, 2, 3, 0]), np.array([True, False, True, True, False])
    pairs = [(p > n) + 0.5 * (p == n) for p in score[positive] for n in score[~positive]]
    assert auc(score, positive) == pytest.approx(sum(pairs) / len(pairs))  # (1 + 2 * .5 + ...) by hand: 4.5 / 6
    assert auc(score, positive) == 0.75


@pytest.mark.parametrize(
    "values",
    [
        TARGET,
        np.where(TARGET, "bought", "left"),
        np.where(TARGET, None, 5.0),  # null exactly where it was bought
        np.where(TARGET, 10, 0) + RANDOM.random(N),
        np.abs(np.where(TARGET, 0, 5)) * RANDOM.choice([-1.0, 1.0], N) + RANDOM.random(N),  # high and low are negative
    ],
    ids=["itself", "text", "null", "number", "not monotone"],
)
def test_a_column_that_tells_the_answer_is_near_one(values) -> None:
    found = power(pl.Series(list(values)))
    assert found is not None and found > 0.999


@pytest.mark.parametrize(
    "values", [np.arange(N), RANDOM.random(N), RANDOM.integers(0, 5, N)], ids=["id", "float", "kind"]
)
def test_a_column_that_tells_nothing_is_near_a_half(values) -> None:
    """An id of its own per row, too: a mean per value over all rows would be perfect."""
    assert power(values) == pytest.approx(0.5, abs=0.05)


def test_amounts_are_judged_by_r_squared() -> None:
    price = RANDOM.integers(0, 50, N) * 1.0
    assert power(price * 2 + 1, price) == pytest.approx(1, abs=0.001)
    assert abs(power(RANDOM.random(N), price) or 0) < 0.1


def test_classes_are_judged_by_the_most_frequent_one() -> None:
    label = np.where(TARGET, "yes", "no")
    assert (power(TARGET, label) or 0) > 0.999


@pytest.mark.parametrize("target", [[True] * 100, [True] * 95 + [False] * 5, []], ids=["one class", "few", "none"])
def test_too_few_rows_say_nothing(target: list[bool]) -> None:
    assert power(pl.Series(range(len(target)), dtype=pl.Int64), pl.Series(target, dtype=pl.Boolean)) is None
