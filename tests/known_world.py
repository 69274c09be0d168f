"""A world whose best answers are known: fans of cats choose cat items, fans of dogs dog items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

NUM_USERS, NUM_ITEMS = 60, 24  # half of each are of cats


def kind_of(number: int) -> str:
    return "cats" if number % 2 == 0 else "dogs"


def interactions(*, rows_per_user: int = 8, seed: int = 0) -> pl.DataFrame:
    """Each user chooses distinct items of their own kind, in order of `time`; ids are text."""
    generator = np.random.default_rng(seed)
    rows = []
    for user in range(NUM_USERS):
        own = np.arange(user % 2, NUM_ITEMS, 2)
        for time, item in enumerate(generator.permutation(own)[:rows_per_user]):
            rows.append((f"u{user}", f"i{item}", time, 1.0))
    return pl.DataFrame(rows, schema=["user", "item", "time", "liked"], orient="row").sample(
        fraction=1, shuffle=True, seed=seed
    )


def users() -> pl.DataFrame:
    return pl.DataFrame(
        {"user": [f"u{i}" for i in range(NUM_USERS)], "pet": [kind_of(i) for i in range(NUM_USERS)]}
    ).with_columns(age=pl.int_range(pl.len()) * 0.5)


def items() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "item": [f"i{i}" for i in range(NUM_ITEMS)],
            "tags": [[kind_of(i), "toy"] for i in range(NUM_ITEMS)],
            "title": [f"A toy for {kind_of(i)}, no. {i}" for i in range(NUM_ITEMS)],
        }
    )


TOML = """
output = "out"
[data]
interactions = "interactions.parquet"
users = "users.parquet"
items = "items.parquet"
user_id = "user"
item_id = "item"
user_features = ["pet", "age"]
item_features = ["tags"]
order = "time"
[model]
layers = [16, 8]
dim = 8
[training]
epochs = 12
batch_size = 64
learning_rate = 0.02
patience = -1
"""


def write_world(folder: Path, toml: str = TOML) -> Path:
    """The tables and the TOML file; the path of the latter."""
    interactions().write_parquet(folder / "interactions.parquet")
    users().write_parquet(folder / "users.parquet")
    items().write_parquet(folder / "items.parquet")
    (folder / "train.toml").write_text(toml)
    return folder / "train.toml"
