"""A small world for both stages: a user likes one category; cheap items are clicked more, in the evening everything is.

Who likes what can be counted by hand, so what a good list looks like is known.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl

from tamis import Dataset, DCNModel, EmbeddingOptions, MLPBlock, Recommender, Tags, TwoTowerModel, Workflow, ops
from tamis.recommender.source import Source
from tamis.recommender.sources.retrieval_source import Retrieval

NUM_USERS, NUM_ITEMS = 60, 40
CATEGORIES = ["books", "games", "music", "tools"]


def category_of(item: int) -> str:
    """Items 0, 4, 8, ... are books, 1, 5, ... games, and so on."""
    return CATEGORIES[item % 4]


def price_of(item: int) -> float:
    """The tens of items cost 5, 15, 25 and 35."""
    return 5.0 + 10.0 * (item // 10)


def taste_of(user: int) -> str:
    """The category that a user likes."""
    return CATEGORIES[user % 4]


def impressions(num_rows: int = 6000, seed: int = 0) -> pl.DataFrame:
    """Raw rows in order of time: user `u<number>` with an age, item with category and price, hour, click."""
    generator = np.random.default_rng(seed)
    users, items = generator.integers(0, NUM_USERS, num_rows), generator.integers(0, NUM_ITEMS, num_rows)
    hours = generator.integers(0, 24, num_rows)
    likes = np.array([taste_of(user) == category_of(item) for user, item in zip(users, items, strict=True)])
    cheap = np.array([price_of(item) < 20 for item in items])
    chance = 0.02 + likes * (0.35 + 0.3 * cheap) + 0.2 * (hours >= 18) * likes
    return pl.DataFrame(
        {
            "user": [f"u{user}" for user in users],
            "age": (20.0 + users % 4 * 10).astype(np.float32),
            "item": items.astype(np.int64),
            "category": [category_of(item) for item in items],
            "price": np.array([price_of(item) for item in items], np.float32),
            "hour": hours.astype(np.int64),
            "click": (generator.random(num_rows) < chance).astype(np.int8),
            "time": np.arange(num_rows, dtype=np.int64),
        }
    )


def raw_items() -> pl.DataFrame:
    """One row per item with what is shown and filtered by."""
    items = list(range(NUM_ITEMS))
    return pl.DataFrame(
        {
            "item": items,
            "title": [f"{category_of(item)} {item}" for item in items],
            "category": [category_of(item) for item in items],
            "price": [price_of(item) for item in items],
            "in_stock": [item % 7 != 0 for item in items],
        }
    )


def graph() -> object:
    """Features of users, items and context; the click stays a target."""
    user = (["user"] >> ops.Categorify() >> ops.TagAsUserID()) + (["age"] >> ops.Normalize() >> ops.TagAsUserFeatures())
    item = (
        (["item"] >> ops.Categorify() >> ops.TagAsItemID())
        + (["category"] >> ops.Categorify() >> ops.TagAsItemFeatures())
        + (["price"] >> ops.Normalize() >> ops.TagAsItemFeatures())
    )
    context = ["hour"] >> ops.Categorify() >> ops.AddTags([Tags.CONTEXT])
    click = ["click"] >> ops.AddTags([Tags.TARGET, Tags.BINARY_CLASSIFICATION])
    return user + item + context + click


@cache
def fitted() -> tuple[Workflow, Dataset, TwoTowerModel, DCNModel]:
    """Workflow, encoded impressions, a retrieval model of the clicks and a ranker of all rows."""
    raw = Dataset(impressions())
    workflow = Workflow(graph()).fit(raw)
    rows = Dataset(workflow.transform(raw).compute(), schema=workflow.output_schema)
    clicks = rows.filter(pl.col("click") == 1)
    towers = TwoTowerModel(
        rows.schema.select_by_tag([Tags.USER, Tags.ITEM]),
        query_tower=MLPBlock([16, 8], no_activation_last_layer=True),
        embedding_options=EmbeddingOptions(embedding_dim_default=8),
    )
    towers.compile(learning_rate=0.02)
    towers.fit(clicks, epochs=8, batch_size=256, verbose=False)
    ranker = DCNModel(rows.schema, embedding_options=EmbeddingOptions(embedding_dim_default=8))
    ranker.compile(learning_rate=0.01)
    ranker.fit(rows, epochs=4, batch_size=256, verbose=False)
    return workflow, rows, towers, ranker


def clicks() -> Dataset:
    """The encoded rows in which somebody clicked."""
    rows = fitted()[1]
    return Dataset(rows.compute().filter(pl.col("click") == 1), schema=rows.schema)


def two_stages(sources: list[Source] | None = None, **settings: object) -> Recommender:
    """A fitted recommender of both stages; the hour is noon unless said otherwise."""
    workflow, _, towers, ranker = fitted()
    settings = {"ranker": ranker, "context": {"hour": 12}} | settings
    recommender = Recommender(sources or [Retrieval(towers, quota=20)], **settings)  # type: ignore[arg-type]
    return recommender.fit(workflow, clicks(), items=raw_items())
