"""Popularity overall, by segment and by age, against plain sums."""

import json
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from source_world import audience_of, catalogue_of, expected_list, interactions_of, lists_of, queries_of, random_pairs
from tamis.errors import DataError, NotFittedError, SettingError, UnknownColumnError
from tamis.recommender.sources.popular import Popular

# item 2 three times, items 0 and 4 twice, item 1 once, item 3 never
PAIRS = [(0, 0), (1, 2), (0, 2), (2, 4), (2, 0), (1, 4), (2, 2), (0, 1)]


def fitted(source: Popular, pairs=PAIRS, num_items: int = 5, audience=None, times=None) -> Popular:
    source.fit(catalogue_of(num_items), interactions_of(pairs, times), audience or audience_of(3))
    return source


def test_the_most_frequent_come_first_and_the_untouched_last() -> None:
    found = fitted(Popular()).search(queries_of([[], [1]]), 6)
    assert lists_of(found) == [[2, 0, 4, 1, 3]] * 2
    assert found.scores[0].tolist() == pytest.approx([3 / 8, 2 / 8, 2 / 8, 1 / 8, 0, -np.inf])


def test_everybody_is_answered() -> None:
    assert fitted(Popular()).can_answer(queries_of([[], [1]], known=False)).tolist() == [True, True]


def test_what_must_not_come_back_does_not() -> None:
    found = fitted(Popular()).search(
        queries_of([[], [], []]), 2, exclude=[[2], [], [0, 99, -1]], allow=np.array([0, 2, 3, 77])
    )
    assert lists_of(found) == [[0, 3], [2, 0], [2, 3]]


def test_an_interaction_loses_half_of_its_weight_per_half_life_of_rows() -> None:
    """Two old ones are worth less than a new one as soon as the half life is short."""
    pairs = [(0, 0), (1, 0), (0, 2), (1, 1)]
    assert lists_of(fitted(Popular(), pairs, 3).search(queries_of([[]]), 3)) == [[0, 1, 2]]
    found = fitted(Popular(half_life=1), pairs, 3).search(queries_of([[]]), 3)
    assert lists_of(found) == [[1, 2, 0]]
    assert found.scores[0].tolist() == pytest.approx(np.array([1, 1 / 2, 1 / 8 + 1 / 4])[[0, 1, 2]] / 1.875)


@pytest.mark.parametrize(
    "times",
    [
        pl.Series([0, 40, 60, 80]),
        pl.Series([0.0, 40.0, 60.0, 80.0]),
        pl.Series([datetime(2026, 1, 1) + timedelta(days=days) for days in (0, 40, 60, 80)]),
        pl.Series([datetime(2026, 1, 1) + timedelta(days=days) for days in (0, 40, 60, 80)]).dt.date(),
        pl.Series([datetime(2026, 1, 1) + timedelta(days=days) for days in (0, 40, 60, 80)]).dt.replace_time_zone(
            "UTC"
        ),
    ],
    ids=["whole", "fraction", "datetime", "date", "zoned"],
)
def test_half_lives_run_over_the_time_column(times) -> None:
    """In its own unit, or in days: with 20, the weights are 1/16, 1/4, 1/2 and 1."""
    found = fitted(Popular(half_life=20), [(0, 0), (1, 0), (0, 2), (1, 1)], 3, times=times).search(queries_of([[]]), 3)
    assert lists_of(found) == [[1, 2, 0]]
    assert found.scores[0].tolist() == pytest.approx(np.array([1, 0.5, 0.3125]) / 1.8125)


def test_a_segment_has_its_own_list_and_little_data_leans_on_all() -> None:
    """Overall shares 3/6, 1/6, 2/6; the young took item 1 once and item 2 twice, the old item 0 three times."""
    pairs = [(0, 1), (0, 2), (1, 2), (2, 0), (2, 0), (3, 0)]
    audience = audience_of(4, age=[1, 1, 2, 2])
    queries = queries_of([[]] * 4, pl.DataFrame({"age": [1, 2, 7, 1]}), known=[True, True, True, False])
    found = fitted(Popular(by="age", shrinkage=3), pairs, 3, audience).search(queries, 3)
    assert lists_of(found) == [[2, 0, 1], [0, 2, 1], [0, 2, 1], [0, 2, 1]]
    young = np.array([2 + 3 * 2 / 6, 0 + 3 * 3 / 6, 1 + 3 * 1 / 6]) / 6
    assert found.scores[0].tolist() == pytest.approx(young)
    assert (
        found.scores[2].tolist() == found.scores[3].tolist() == pytest.approx([3 / 6, 2 / 6, 1 / 6])
    )  # the list of all


def test_a_segment_without_interactions_gets_the_list_of_all_even_without_shrinkage() -> None:
    audience = audience_of(3, age=[1, 1, 2])
    source = fitted(Popular(by="age", shrinkage=0), [(0, 1), (1, 1), (0, 0)], 3, audience)
    queries = queries_of([[], []], pl.DataFrame({"age": [2, 1]}))
    assert lists_of(source.search(queries, 3)) == [[1, 0, 2]] * 2


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    by=st.sampled_from([(), ("age",), ("age", "city")]),
    half_life=st.sampled_from([None, 30.0]),
    shrinkage=st.sampled_from([0, 10]),
    k=st.sampled_from([1, 4, 40]),
    limited=st.booleans(),
)
def test_lists_are_those_of_the_plain_shares(seed, by, half_life, shrinkage, k, limited) -> None:
    generator = np.random.default_rng(seed)
    num_users, num_items = 12, 15
    pairs = random_pairs(num_users, num_items, 80, seed=seed)
    ages, cities = (
        generator.integers(0, 3, num_users),
        [[None, "x", "y"][i] for i in generator.integers(0, 3, num_users)],
    )
    audience = audience_of(num_users, age=ages, city=cities)
    source = fitted(Popular(by=by, half_life=half_life, shrinkage=shrinkage), pairs, num_items, audience)
    users = generator.integers(0, num_users, 6)
    known = generator.random(6) < 0.7
    exclude = [generator.permutation(num_items)[: generator.integers(0, num_items)].tolist() for _ in users]
    allow = generator.permutation(num_items)[:9].tolist()
    limits = {"exclude": exclude, "allow": np.array(allow)} if limited else {}
    found = source.search(queries_of([[]] * 6, audience.features[users], known), k, **limits)
    segment = lambda user: [[ages, cities][["age", "city"].index(name)][user] for name in by]  # noqa: E731
    for row, user in enumerate(users):
        overall, own = np.zeros(num_items), np.zeros(num_items)
        for place, (who, item) in enumerate(pairs):
            weight = 1 if half_life is None else 0.5 ** ((79 - place) / half_life)
            overall[item] += weight
            own[item] += weight * (segment(who) == segment(user))
        scores = overall / overall.sum()
        if by and known[row] and own.sum() + shrinkage:
            scores = (shrinkage * scores + own) / (own.sum() + shrinkage)
        expected = expected_list(scores, k, exclude=exclude[row] if limited else (), allow=allow if limited else None)
        assert lists_of(found)[row] == expected
        assert found.scores[row, : len(expected)].tolist() == pytest.approx(scores[expected].tolist())


def test_a_loaded_source_answers_like_the_saved_one(tmp_path) -> None:
    audience = audience_of(3, age=[1, 2, None])
    source = fitted(Popular(quota=4, by=["age"], half_life=5.0, shrinkage=2.0, name="trend"), audience=audience)
    source.save(tmp_path)
    again = Popular.load(tmp_path, json.loads(json.dumps(source.settings())))
    assert again.settings() == source.settings()
    queries = queries_of([[]] * 4, pl.DataFrame({"age": [1, 2, None, 9]}))
    assert again.search(queries, 4).ids.tolist() == source.search(queries, 4).ids.tolist()
    assert again.search(queries, 4).scores.tolist() == source.search(queries, 4).scores.tolist()


def test_a_misspelt_or_unfit_column_is_refused() -> None:
    audience = audience_of(3, gender=[1, 2, 1], history=[[1], [2], []])
    with pytest.raises(
        UnknownColumnError, match=r"popular: the data has no user column 'gendr'\. Did you mean 'gender'\?"
    ):
        fitted(Popular(by="gendr"), audience=audience)
    with pytest.raises(SettingError, match=r"popular: 'history' holds lists, which make no segments\."):
        fitted(Popular(by="history"), audience=audience)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(SettingError, match=r"Popular: half_life is 0\. Give a number above 0, or None"):
        Popular(half_life=0)
    with pytest.raises(SettingError, match=r"Popular: shrinkage is -1\. Give a number from 0 on\."):
        Popular(shrinkage=-1)
    with pytest.raises(SettingError, match=r"Popular: the quota is -2\. Give 1 candidate or more\."):
        Popular(quota=-2)
    with pytest.raises(NotFittedError, match=r"popular: it has counted nothing yet\. Call Recommender\.fit first\."):
        Popular().search(queries_of([[]]), 1)
    with pytest.raises(DataError, match=r"popular: there are no interactions to learn from\."):
        fitted(Popular(), [])


def test_a_quota_above_the_catalogue_is_refused_when_the_recommender_is_fitted() -> None:
    with pytest.raises(SettingError, match=r"'popular' has a quota of 6, but the catalogue has 5 items\."):
        Popular(quota=6).settle_quota(5)
