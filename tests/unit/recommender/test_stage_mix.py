"""Which order of the same candidates is best on held-out interactions, against the funnel of each."""

import numpy as np
import polars as pl
import pytest

from tamis import Dataset, Recommender
from tamis.errors import SettingError
from tamis.recommender.candidates import Candidates
from tamis.recommender.ordering import ByScore, Weighted
from tamis.recommender.stage_mix import _orderings, _spread, choose_mix
from two_stage_world import fitted, impressions, two_stages


@pytest.fixture(scope="module")
def held_out() -> Dataset:
    return Dataset(impressions(1200, seed=5))


def test_each_ordering_is_worth_what_a_recommender_with_it_is(held_out: Dataset) -> None:
    mix = choose_mix(two_stages(), held_out, strengths=[2.0, 0.5], exclude_seen=False)
    assert mix.table.columns == ["ordering", "ndcg_at_10"]
    names = mix.table["ordering"].to_list()
    assert names[:2] == ["retrieval", "ranker"]
    assert len(names) == 4
    by_value = dict(mix.table.rows())
    alone = {"retrieval": Weighted({"retrieval": 1.0, "click": 0.0}), "ranker": ByScore()}
    for name, step in alone.items():
        served = two_stages(ordering=step).evaluate(held_out, exclude_seen=False)
        assert by_value[name] == pytest.approx(served["ndcg_at_10"])
    assert by_value[mix.name] == max(by_value.values())
    served = two_stages(ordering=mix.ordering).evaluate(held_out, exclude_seen=False)
    assert served["ndcg_at_10"] == pytest.approx(by_value[mix.name])


def test_the_weight_makes_the_spreads_of_both_stages_differ_by_the_strength() -> None:
    items = np.arange(6).reshape(2, 3)
    retrieval = np.array([[4.0, 2.0, 0.0], [2.0, 1.0, 0.0]], np.float32)  # spreads 2 and 1 times sqrt(2 / 3)
    chances = np.exp(np.array([[-1.0, -1.5, -2.0], [-1.0, -1.5, -2.0]], np.float32))[:, :, None]  # logs spread by 0.5
    candidates = Candidates(items, retrieval, np.ones_like(items), retrieval, chances)
    tried = _orderings(candidates, "click", [3.0])
    assert list(tried) == ["retrieval", "ranker", "click and 1 x retrieval"]
    (step,) = tried["click and 1 x retrieval"]
    assert step == Weighted({"click": 1.0, "retrieval": 1.0}, "product")


def test_the_exponential_of_a_small_score_with_a_large_weight_stays_within_32_bits() -> None:
    items, scores = np.array([[0, 1]]), np.array([[0.0501, 0.05]], np.float32)  # logs of the chances spread by 1
    chances = np.exp(np.array([[-3.0, -1.0]], np.float32))[:, :, None]
    tried = _orderings(Candidates(items, scores, items, scores, chances), "click", [1.0])
    ((step,),) = list(tried.values())[2:]
    weights = step.weights
    assert weights["retrieval"] * 0.0501 == pytest.approx(10)
    assert weights["retrieval"] / weights["click"] == pytest.approx(20_000, rel=0.01)


def test_scores_that_are_no_probabilities_are_summed() -> None:
    items, scores = np.array([[0, 1]]), np.array([[1.0, 0.0]], np.float32)
    candidates = Candidates(items, scores, np.ones_like(items), scores, np.array([[[-2.0], [2.0]]], np.float32))
    (step,) = list(_orderings(candidates, "taken", [0.5]).values())[-1]
    assert step == Weighted({"taken": 1.0, "retrieval": 2.0}, "sum")


def test_without_any_difference_in_a_stage_there_is_nothing_to_mix() -> None:
    items, scores = np.array([[0, 1, -1]]), np.array([[1.0, 1.0, -np.inf]], np.float32)
    predictions = np.array([[[0.5], [0.2], [np.nan]]], np.float32)
    assert list(_orderings(Candidates(items, scores, items, scores, predictions), "taken", [1.0])) == [
        "retrieval",
        "ranker",
    ]


def test_the_spread_is_the_mean_standard_deviation_of_what_is_finite() -> None:
    assert _spread(np.array([[1.0, 3.0, -np.inf], [5.0, 5.0, np.nan], [np.nan, np.nan, np.nan]])) == pytest.approx(
        1 / 3
    )


def test_of_equal_orderings_the_first_stages_is_named(held_out: Dataset) -> None:
    one = Dataset(held_out.compute().filter(pl.col("click") == 1).head(1))
    mix = choose_mix(two_stages(), one, metric="recall_at_20", exclude_seen=False)  # quota 20, so order does not matter
    assert mix.name == "retrieval"


def test_what_cannot_be_mixed_is_said(held_out: Dataset) -> None:
    workflow, rows, towers, _ = fitted()
    alone = Recommender(towers).fit(workflow, rows)
    with pytest.raises(SettingError, match=r"choose_mix: there is no ranker, so there is nothing to mix"):
        choose_mix(alone, held_out)
    with pytest.raises(SettingError, match=r"choose_mix: a strength is -1.0. Give numbers above 0"):
        choose_mix(two_stages(), held_out, strengths=[-1.0])
    with pytest.raises(SettingError, match=r"choose_mix: .*popularity_bias"):
        choose_mix(two_stages(), held_out, metric="popularity_bias_at_10")
