"""Catalogues, interactions and requests as the sources of a recommender see them, and what they give back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from tamis.index import SearchResult
from tamis.recommender.audience import Audience
from tamis.recommender.catalogue import Catalogue
from tamis.recommender.interactions import Interactions
from tamis.recommender.queries import Queries

FIRST = 3  # codes 0 to 2 are padding, null and out of vocabulary


def catalogue_of(num_items: int) -> Catalogue:
    """Items with the raw ids "i0", "i1", ... and the codes from 3 on."""
    features = pl.DataFrame({"item_id": np.arange(num_items, dtype=np.int32) + FIRST})
    ids = pl.Series([f"i{row}" for row in range(num_items)], dtype=pl.String)
    return Catalogue(ids, features, pl.DataFrame(), np.ones(num_items, np.int64))


def interactions_of(pairs: Sequence[tuple[int, int]], times: pl.Series | None = None) -> Interactions:
    """Pairs of user row and item row, oldest first."""
    users, items = np.array(pairs, np.int64).reshape(-1, 2).T
    return Interactions(users.copy(), items.copy(), times)


def audience_of(num_users: int, **features: Any) -> Audience:
    """Users with these features."""
    frame = pl.DataFrame({"user_id": np.arange(num_users, dtype=np.int32) + FIRST, **features})
    return Audience(pl.Series([f"u{row}" for row in range(num_users)], dtype=pl.String), frame)


def queries_of(seen: Sequence[Sequence[int]], features: pl.DataFrame | None = None, known: Any = True) -> Queries:
    """Requests of users who have seen these items."""
    count = len(seen)
    histories = [np.array(items, np.int64) for items in seen]
    frame = pl.DataFrame({"user_id": np.zeros(count, np.int32)}) if features is None else features
    return Queries(np.full(count, -1), frame, np.broadcast_to(np.array(known), count), histories)


def random_pairs(num_users: int, num_items: int, num_pairs: int, *, seed: int = 0) -> list[tuple[int, int]]:
    """Popular items more often; some pairs more than once."""
    generator = np.random.default_rng(seed)
    items = (num_items * generator.random(num_pairs) ** 2).astype(int)
    return list(zip(generator.integers(0, num_users, num_pairs).tolist(), items.tolist(), strict=True))


def lists_of(found: SearchResult) -> list[list[int]]:
    """The items of each list, after its end was found to be empty."""
    lists = []
    for ids, scores in zip(found.ids.tolist(), found.scores.tolist(), strict=True):
        filled = [item for item in ids if item >= 0]
        assert ids == filled + [-1] * (len(ids) - len(filled))
        assert scores[len(filled) :] == [-np.inf] * (len(ids) - len(filled))
        lists.append(filled)
    return lists


def expected_list(
    scores: Any, k: int, *, exclude: Sequence[int] = (), allow: Sequence[int] | None = None, above: float = -np.inf
) -> list[int]:
    """The plain rule: all items that may come back, best first, equal ones by the smaller row."""
    may = [
        item
        for item, score in enumerate(scores)
        if score > above and item not in exclude and (allow is None or item in allow)
    ]
    return sorted(may, key=lambda item: (-scores[item], item))[:k]
