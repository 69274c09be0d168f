"""The newest items first, by when each was met for the first time."""

import json
from datetime import datetime

import numpy as np
import polars as pl
import pytest

from source_world import audience_of, catalogue_of, expected_list, interactions_of, lists_of, queries_of, random_pairs
from tamis.errors import DataError, NotFittedError, SettingError
from tamis.recommender.sources.recent import Recent

PAIRS = [(0, 3), (1, 0), (0, 3), (1, 2), (2, 3), (2, 0)]  # 3 entered first, then 0, then 2; nobody met 1 and 4


def fitted(pairs=PAIRS, num_items: int = 5, times=None, source: Recent | None = None) -> Recent:
    source = source or Recent()
    source.fit(catalogue_of(num_items), interactions_of(pairs, times), audience_of(3))
    return source


def test_the_item_met_first_most_recently_comes_first() -> None:
    found = fitted().search(queries_of([[], [2]]), 4)
    assert lists_of(found) == [[2, 0, 3]] * 2
    assert found.scores[0].tolist() == pytest.approx([1, 2 / 3, 1 / 3, -np.inf])


def test_everybody_is_answered() -> None:
    assert fitted().can_answer(queries_of([[], [1]], known=False)).all()


@pytest.mark.parametrize(
    "times",
    [
        pl.Series([5, 7, 7, 7, 8, 9]),
        pl.Series([5, 7, 7, 7, 8, 9]).map_elements(lambda day: datetime(2026, 1, day), pl.Datetime),
    ],
    ids=["numbers", "datetimes"],
)
def test_items_that_entered_at_one_moment_come_in_the_order_of_their_rows(times) -> None:
    found = fitted(times=times).search(queries_of([[]]), 3)
    assert lists_of(found) == [[0, 2, 3]]
    assert found.scores[0].tolist() == [1, 1, 0.5]


def test_what_must_not_come_back_does_not() -> None:
    found = fitted().search(queries_of([[], [], []]), 2, exclude=[[2], [], [0, 99, -1]], allow=np.array([0, 1, 2, 77]))
    assert lists_of(found) == [[0], [2, 0], [2]]


@pytest.mark.parametrize("seed", range(5))
def test_lists_are_those_of_the_plain_rule(seed) -> None:
    generator = np.random.default_rng(seed)
    pairs, num_items = random_pairs(3, 30, 60, seed=seed), 30
    first = [next((place for place, (_, item) in enumerate(pairs) if item == row), -np.inf) for row in range(num_items)]
    exclude = [generator.permutation(num_items)[:size].tolist() for size in (0, 5, 25)]
    allow = generator.permutation(num_items)[:20].tolist()
    found = fitted(pairs, num_items).search(queries_of([[]] * 3), 7, exclude=exclude, allow=np.array(allow))
    assert lists_of(found) == [expected_list(first, 7, exclude=hidden, allow=allow) for hidden in exclude]


def test_added_items_are_the_newest_and_changed_ones_stay_where_they_are() -> None:
    source = fitted()
    source.upsert(catalogue_of(7), np.array([3, 6, 5]))
    assert lists_of(source.search(queries_of([[]]), 9)) == [[5, 6, 2, 0, 3]]
    source.upsert(catalogue_of(8), np.array([7]))
    assert lists_of(source.search(queries_of([[]]), 9)) == [[7, 5, 6, 2, 0, 3]]
    source.upsert(catalogue_of(8), np.array([0]))
    assert lists_of(source.search(queries_of([[]]), 2)) == [[7, 5]]


def test_a_loaded_source_answers_like_the_saved_one(tmp_path) -> None:
    source = fitted(source=Recent(quota=3, name="new"))
    source.save(tmp_path)
    again = Recent.load(tmp_path, json.loads(json.dumps(source.settings())))
    assert again.settings() == source.settings() == {"quota": 3, "name": "new"}
    assert again.search(queries_of([[]]), 4).ids.tolist() == source.search(queries_of([[]]), 4).ids.tolist()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(SettingError, match=r"Recent: the quota is 0\. Give 1 candidate or more\."):
        Recent(quota=0)
    with pytest.raises(NotFittedError, match=r"recent: it knows no items yet\. Call Recommender\.fit first\."):
        Recent().search(queries_of([[]]), 1)
    with pytest.raises(DataError, match=r"recent: there are no interactions to learn from\."):
        fitted([])
