"""A small made-up world of impressions whose truth is known, for tests of ranking models."""

from __future__ import annotations

import numpy as np
import polars as pl

from tamis.data.dataset import Dataset
from tamis.schema import ColumnSchema, Schema, Tags

NUM_USERS, NUM_ITEMS = 30, 20


def _categorical(name: str, num_codes: int, *tags: str, is_list: bool = False) -> ColumnSchema:
    return ColumnSchema(name, "int32", is_list=is_list).with_tags([Tags.CATEGORICAL, *tags]).with_domain(num_codes - 1)


USER = _categorical("user_id", 3 + NUM_USERS, Tags.USER_ID)
ITEM = _categorical("item_id", 3 + NUM_ITEMS, Tags.ITEM_ID)
GENRES = _categorical("genres", 8, Tags.ITEM, is_list=True)
AGE = ColumnSchema("age", "float32").with_tags([Tags.CONTINUOUS, Tags.USER])
PHOTO = ColumnSchema("photo", pl.Array(pl.Float32, 2)).with_tags([Tags.ITEM, Tags.EMBEDDING])
CLICK = ColumnSchema("click", "float32").with_tags([Tags.TARGET, Tags.BINARY_CLASSIFICATION])
DWELL = ColumnSchema("dwell", "float32").with_tags([Tags.TARGET, Tags.REGRESSION])
INPUTS = Schema([USER, ITEM, GENRES, AGE, PHOTO])
SCHEMA = INPUTS + Schema([CLICK])
TWO_TARGETS = SCHEMA + Schema([DWELL])


def impressions(num_rows: int = 2000, *, seed: int = 0) -> Dataset:
    """A click is likely where user and item are both even or both odd, so only their product tells it."""
    generator = np.random.default_rng(seed)
    user, item = generator.integers(0, NUM_USERS, num_rows), generator.integers(0, NUM_ITEMS, num_rows)
    chance = np.where(user % 2 == item % 2, 0.9, 0.1)
    click = (generator.random(num_rows) < chance).astype(np.float32)
    frame = pl.DataFrame(
        {
            "user_id": user + 3,
            "item_id": item + 3,
            "genres": [[3 + i % 5, 3 + i % 3][: i % 3] for i in item.tolist()],
            "age": generator.random(num_rows),
            "photo": generator.random((num_rows, 2)),
            "click": click,
            "dwell": 2.0 * click + generator.random(num_rows),
        },
        schema_overrides={
            "user_id": pl.Int32,
            "item_id": pl.Int32,
            "genres": pl.List(pl.Int32),
            "age": pl.Float32,
            "photo": pl.Array(pl.Float32, 2),
            "click": pl.Float32,
            "dwell": pl.Float32,
        },
    )
    return Dataset(frame, schema=TWO_TARGETS)
