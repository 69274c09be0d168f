"""Seen items per user, by brute force."""

import numpy as np
import polars as pl

from tamis.recommender.seen import SeenItems


def test_each_user_gets_the_own_items_and_strangers_none() -> None:
    generator = np.random.default_rng(0)
    frame = pl.DataFrame({"user": generator.integers(0, 20, 200) * 3, "item": generator.integers(0, 9, 200)})
    seen = SeenItems.of(frame.lazy(), "user", "item")
    asked = [0, 57, 1, -4, 1000, 3]
    expected = [sorted(set(frame.filter(pl.col("user") == user)["item"])) for user in asked]
    assert [items.tolist() for items in seen.of_users(asked)] == expected


def test_nothing_seen_by_anybody_is_fine() -> None:
    seen = SeenItems(pl.DataFrame({"user": [], "item": []}, schema={"user": pl.Int32, "item": pl.Int32}))
    assert [len(items) for items in seen.of_users([1, 2])] == [0, 0]
