"""Values of orders of rows, by hand and by counting."""

import itertools
import math
from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.evaluation.order_metrics import NDCGByGroup
from tamis.evaluation.ranking_metrics import measure_rows
from tamis.evaluation.row_metric import RankingMetric

SCHEMA = {"score": pl.Float32, "label": pl.Float32, "group": pl.Int32}
Rows = Sequence[tuple[float, float, int | None]]
often = settings(max_examples=50, deadline=None, derandomize=True)
any_rows = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1), st.integers(0, 3)), min_size=1, max_size=30)


def measured(rows: Rows, metric: str | RankingMetric) -> list[float]:
    return list(measure_rows(pl.LazyFrame(rows, schema=SCHEMA, orient="row"), [metric]).values())


def value(scores: Sequence[float], labels: Sequence[float], metric: str | RankingMetric) -> float:
    """Of rows of one group."""
    return measured([(score, label, 1) for score, label in zip(scores, labels, strict=True)], metric)[0]


def same(found: float, expected: float) -> bool:
    return math.isnan(expected) if math.isnan(found) else found == pytest.approx(expected)


def auc_by_counting(rows: Rows) -> float:
    positive = [score for score, label, _ in rows if label]
    negative = [score for score, label, _ in rows if not label]
    wins = [1.0 if p > n else 0.5 if p == n else 0.0 for p in positive for n in negative]
    return sum(wins) / len(wins) if wins else math.nan


def test_a_right_order_is_one_a_turned_one_zero_and_a_tie_half() -> None:
    assert value([0.1, 0.9], [0, 1], "auc") == 1
    assert value([0.9, 0.1], [0, 1], "auc") == 0
    assert value([0.5, 0.5, 0.5], [0, 1, 1], "auc") == 0.5


def test_without_both_classes_there_is_no_auc() -> None:
    assert math.isnan(value([0.1, 0.9], [1, 1], "auc"))
    assert math.isnan(value([0.1, 0.9], [1, 1], "gauc"))


@often
@given(rows=any_rows)
def test_auc_agrees_with_counting_pairs(rows: Rows) -> None:
    assert same(measured(rows, "auc")[0], auc_by_counting(rows))


def test_gauc_weighs_users_by_their_rows_and_counts_those_left_out() -> None:
    """User 1: AUC 1 of 2 rows; user 2: AUC 0 of 3 rows; users 3 and 4 have one class only."""
    first, second = [(0.1, 0, 1), (0.2, 1, 1)], [(0.9, 0, 2), (0.3, 1, 2), (0.4, 1, 2)]
    assert measured([*first, *second, (0.5, 1, 3), (0.5, 0, 4)], "gauc") == [pytest.approx(2 / 5), 2]


@often
@given(rows=any_rows)
def test_gauc_agrees_with_counting_pairs_user_by_user(rows: Rows) -> None:
    users = [[row for row in rows if row[2] == user] for user in {row[2] for row in rows}]
    judged = [(len(own), auc_by_counting(own)) for own in users if not math.isnan(auc_by_counting(own))]
    weight = sum(size for size, _ in judged)
    expected = sum(size * auc for size, auc in judged) / weight if weight else math.nan
    found, left_out = measured(rows, "gauc")
    assert same(found, expected)
    assert left_out == len(users) - len(judged)


def test_average_precision_is_the_precision_where_recall_grows() -> None:
    assert value([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0], "pr_auc") == pytest.approx((1 / 1 + 2 / 3) / 2)


def test_average_precision_of_one_score_for_all_is_the_share_of_positives() -> None:
    assert value([0.5] * 4, [0, 1, 0, 0], "pr_auc") == pytest.approx(1 / 4)
    assert value([0.9, 0.5, 0.5], [1, 1, 0], "pr_auc") == pytest.approx((1 + 2 / 3) / 2)


def test_without_a_positive_there_is_no_average_precision() -> None:
    assert math.isnan(value([0.5, 0.6], [0, 0], "pr_auc"))


@often
@given(rows=any_rows)
def test_average_precision_agrees_with_cutting_at_every_score(rows: Rows) -> None:
    num_positive, before, expected = sum(label for _, label, _ in rows), 0.0, 0.0
    for cut in sorted({score for score, _, _ in rows}, reverse=True):
        kept = [label for score, label, _ in rows if score >= cut]
        expected += (sum(kept) - before) * sum(kept) / len(kept)
        before = sum(kept)
    assert same(measured(rows, "pr_auc")[0], expected / num_positive if num_positive else math.nan)


def test_ndcg_discounts_by_the_place_and_grades_by_the_label() -> None:
    found = value([0.9, 0.8, 0.7], [1, 0, 2], NDCGByGroup())
    assert found == pytest.approx((1 + 2 / 2) / (2 + 1 / math.log2(3)))


def test_places_behind_k_give_nothing() -> None:
    assert value([0.9, 0.8, 0.7], [1, 0, 2], NDCGByGroup(1)) == pytest.approx(1 / 2)
    assert value([0.9, 0.8], [0, 1], NDCGByGroup(1)) == 0


def test_ndcg_is_the_mean_over_groups_that_have_gain() -> None:
    rows = [(0.9, 1, 1), (0.1, 0, 1), (0.1, 1, 2), (0.9, 0, 2), (0.5, 0, 3)]
    assert measured(rows, NDCGByGroup(5)) == [pytest.approx((1 + 1 / math.log2(3)) / 2), 1]


def test_rows_whose_query_is_null_are_one_group() -> None:
    assert measured([(0.9, 0, None), (0.1, 1, None)], NDCGByGroup()) == [pytest.approx(1 / math.log2(3)), 0]


def dcg(labels: Sequence[float], k: int) -> float:
    return sum(label / math.log2(place + 1) for place, label in enumerate(labels[:k], 1))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 1)), min_size=1, max_size=6),
    k=st.integers(1, 7),
)
def test_ties_count_as_the_mean_of_all_orders_that_they_allow(rows: Rows, k: int) -> None:
    shares = []
    for group in {row[2] for row in rows}:
        own = [row for row in rows if row[2] == group]
        ideal = dcg(sorted((label for _, label, _ in own), reverse=True), k)
        orders = [p for p in itertools.permutations(own) if list(p) == sorted(p, key=lambda row: -row[0])]
        if ideal > 0:
            shares.append(sum(dcg([label for _, label, _ in order], k) for order in orders) / len(orders) / ideal)
    assert same(measured(rows, NDCGByGroup(k))[0], sum(shares) / len(shares) if shares else math.nan)
