"""What users did: histories by user, oldest first, each item once."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tamis.recommender.interactions import Interactions

# In order of time: user 5 meets 1, 2 and then 1 again; user 0 meets 7; user 2 nothing.
MET = Interactions(np.array([5, 0, 5, 5]), np.array([1, 7, 2, 1]))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ([5], [[2, 1]]),  # item 1 was met last
        ([0, 5, 0], [[7], [2, 1], [7]]),
        ([2, -1, 99], [[], [], []]),
        ([], []),
    ],
)
def test_histories_hold_each_item_once_by_when_it_was_met_last(asked: list[int], expected: list[list[int]]) -> None:
    assert [items.tolist() for items in MET.history(np.array(asked, np.int64))] == expected


def test_nobody_met_anything() -> None:
    nothing = np.zeros(0, np.int64)
    assert [items.tolist() for items in Interactions(nothing, nothing).history(np.array([0, -1]))] == [[], []]


def test_random_histories_are_those_of_a_loop() -> None:
    generator = np.random.default_rng(0)
    users, items = generator.integers(0, 20, 500), generator.integers(0, 15, 500)
    expected: dict[int, list[int]] = {user: [] for user in range(20)}
    for user, item in zip(users.tolist(), items.tolist(), strict=True):
        expected[user] = [one for one in expected[user] if one != item] + [item]
    found = Interactions(users, items).history(np.arange(20))
    assert [one.tolist() for one in found] == [expected[user] for user in range(20)]


def test_they_come_back_from_their_file_with_their_times(tmp_path: Path) -> None:
    times = pl.Series("time", [1.5, 2.5, 3.5, 9.0])
    Interactions(MET.users, MET.items, times).save(tmp_path)
    loaded = Interactions.load(tmp_path)
    assert loaded.users.tolist() == [5, 0, 5, 5]
    assert loaded.items.tolist() == [1, 7, 2, 1]
    assert loaded.times is not None
    assert loaded.times.to_list() == times.to_list()
    assert [items.tolist() for items in loaded.history(np.array([5]))] == [[2, 1]]
