"""The whole journey on MovieLens-1M: what `tamis demo --data` does."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from tamis import Dataset, datasets
from tamis.journey.config import DataConfig, ModelConfig, RankingConfig, SourcesConfig, TrainConfig, TrainingConfig
from tamis.journey.console import Say
from tamis.journey.demo_report import goodbye, show_lists
from tamis.journey.pipeline import train

# Chosen on each user's second last rating: taste at the end of a log is not the taste years ago.
LATEST = 10
SHOWN = ("title", "year", "genres")
MODEL = ModelConfig(layers=(256, 128), dim=128, l2_normalization=True, temperature=0.1, init_std=0.05)
TRAINING = TrainingConfig(epochs=20, batch_size=4096, learning_rate=0.003, patience=3)
SOURCES = SourcesConfig(retrieval=50, item_item=100, half_life=3.0, l2=1000.0)
RANKING = RankingConfig(kind="deep-fm", layers=(64, 32), dim=16, share=0.05, num_negatives=10, epochs=5)


def movielens_demo(data: Path, output: Path, *, epochs: int | None, seed: int, say: Say) -> dict[str, float]:
    """MovieLens-1M, leave-last-out, all movies ranked and the seen ones left out: the test metrics."""
    with TemporaryDirectory() as work:
        config = movielens_config(data, Path(work), output, epochs=epochs, seed=seed)
        trained = train(config, say=say)
        recommender = trained.recommender
        watched = Dataset(config.data.interactions).compute()
    known = watched["user_id"].unique(maintain_order=True)
    users = known.gather([0, len(known) // 6, len(known) // 3]).to_list()
    movies = recommender.catalogue.columns.hstack([recommender.catalogue.ids])
    for user in users:
        last = watched.filter(pl.col("user_id") == user).sort("position").tail(5)
        titles = last.join(movies, on="movie_id", how="left", maintain_order="left")["title"]
        say(f"  user {user} watched last: {'; '.join(titles.to_list())}")
    show_lists(recommender, users, ("title",))
    goodbye(output, users[0], say, show="title")
    return trained.metrics


def movielens_config(data: Path, work: Path, output: Path, *, epochs: int | None, seed: int) -> TrainConfig:
    """How MovieLens-1M is trained on; its tables, movies with five ratings or more, are written into `work`."""
    tables = datasets.movielens("1m", data)
    often = pl.len().over("movie_id") >= 5
    tables.interactions.filter(often).to_parquet(work / "interactions")
    tables.users.to_parquet(work / "users")
    tables.items.to_parquet(work / "items")
    columns = DataConfig(
        interactions=str(work / "interactions"),
        users=str(work / "users"),
        items=str(work / "items"),
        user_id="user_id",
        item_id="movie_id",
        user_features=("gender", "age", "occupation"),
        item_features=("genres", "year"),
        order="position",
        latest=LATEST,
        show=SHOWN,
    )
    training = TrainingConfig(**{**vars(TRAINING), "seed": seed, "epochs": epochs or TRAINING.epochs})
    ranking = RankingConfig(**{**vars(RANKING), "epochs": epochs or RANKING.epochs})
    return TrainConfig(columns, MODEL, training, sources=SOURCES, ranking=ranking, output=str(output))
