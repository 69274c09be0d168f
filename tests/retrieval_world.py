"""A small made-up world of users and items in clusters, for tests of retrieval models."""

from __future__ import annotations

import numpy as np
import polars as pl

from tamis.data.dataset import Dataset
from tamis.schema import ColumnSchema, Schema, Tags

FIRST = 3  # codes 0 to 2 are padding, null and out of vocabulary
NUM_USERS, NUM_ITEMS, NUM_CLUSTERS = 60, 40, 4


def categorical(
    name: str, num_codes: int, *tags: str, is_list: bool = False, domain: str | None = None
) -> ColumnSchema:
    column = ColumnSchema(name, "int32", is_list=is_list).with_tags([Tags.CATEGORICAL, *tags])
    return column.with_domain(num_codes - 1, name=domain)


USER = categorical("user_id", FIRST + NUM_USERS, Tags.USER_ID)
ITEM = categorical("item_id", FIRST + NUM_ITEMS, Tags.ITEM_ID)
AGE = ColumnSchema("age", "float32").with_tags([Tags.CONTINUOUS, Tags.USER])
HISTORY = categorical("history", FIRST + NUM_ITEMS, Tags.USER, is_list=True, domain="item_id")
HOUR = categorical("hour", FIRST + 5, Tags.CONTEXT)
GENRES = categorical("genres", FIRST + NUM_CLUSTERS, Tags.ITEM, is_list=True)
PRICE = ColumnSchema("price", "float32").with_tags([Tags.CONTINUOUS, Tags.ITEM])
CLICK = ColumnSchema("click", "uint8").with_tags(Tags.TARGET)
SCHEMA = Schema([USER, ITEM, AGE, HISTORY, HOUR, GENRES, PRICE, CLICK])
IDS = SCHEMA.select_by_name(["user_id", "item_id"])


def interactions(num_rows: int = 3000, *, seed: int = 0, loyalty: float = 0.85) -> Dataset:
    """Users choose items of their own cluster, popular ones more often; features tell the cluster."""
    generator = np.random.default_rng(seed)
    user = generator.integers(0, NUM_USERS, num_rows)
    popularity = 1.0 / np.arange(1, NUM_ITEMS // NUM_CLUSTERS + 1)
    place = generator.choice(len(popularity), num_rows, p=popularity / popularity.sum())
    is_loyal = generator.random(num_rows) < loyalty
    cluster = np.where(is_loyal, user % NUM_CLUSTERS, generator.integers(0, NUM_CLUSTERS, num_rows))
    item = place * NUM_CLUSTERS + cluster
    frame = pl.DataFrame(
        {
            "user_id": user + FIRST,
            "item_id": item + FIRST,
            "age": (user % 7) / 7.0,
            "history": [[FIRST + u % NUM_CLUSTERS + NUM_CLUSTERS * i for i in range(u % 3)] for u in user.tolist()],
            "hour": generator.integers(0, 5, num_rows) + FIRST,
            "genres": [[FIRST + i % NUM_CLUSTERS, FIRST][: 1 + i % 2] for i in item.tolist()],
            "price": (item % 5) / 5.0,
            "click": np.ones(num_rows, np.uint8),
        },
        schema_overrides={
            "user_id": pl.Int32,
            "item_id": pl.Int32,
            "age": pl.Float32,
            "history": pl.List(pl.Int32),
            "hour": pl.Int32,
            "genres": pl.List(pl.Int32),
            "price": pl.Float32,
        },
    )
    return Dataset(frame, schema=SCHEMA)
