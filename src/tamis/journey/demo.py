"""The whole journey on one page: what `tamis demo` does."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
import torch

import tamis
from tamis import Dataset, EarlyStopping, MLPBlock, NDCGAt, RecallAt, Recommender, Tags, Workflow, datasets
from tamis.evaluation.list_judging import Pairs, judge_lists
from tamis.evaluation.report import write_report
from tamis.features.node import Node
from tamis.folders import saving, write_json
from tamis.index import Index
from tamis.journey.config import DataConfig, ModelConfig, TrainConfig, TrainingConfig
from tamis.journey.console import Say, print_recommended, stage
from tamis.journey.pipeline import KIND, VERSION, bars, compared, curves, train
from tamis.journey.stages import MONITOR
from tamis.ops import Categorify, Filter, TagAsItemFeatures, TagAsItemID, TagAsUserFeatures, TagAsUserID
from tamis.recommender.sources.retrieval_source import Retrieval

METRICS = (RecallAt(10), NDCGAt(10))
ITEM_FEATURES = ("item_category", "item_shop", "item_brand")
USER_FEATURES = (
    "user_shops",
    "user_profile",
    "user_group",
    "user_gender",
    "user_age",
    "user_consumption_2",
    "user_is_occupied",
    "user_geography",
    "user_intentions",
    "user_brands",
    "user_categories",
)
SYNTHETIC_TRAINING = TrainingConfig(epochs=6, batch_size=1024, learning_rate=0.01, patience=0)
# Chosen on each user's second last rating: taste at the end of a log is not the taste years ago.
MOVIELENS_LATEST = 10
MOVIELENS_SHOWN = ("title", "year", "genres")
MOVIELENS_MODEL = ModelConfig(layers=(256, 128), dim=128, l2_normalization=True, temperature=0.1, init_std=0.05)
MOVIELENS_TRAINING = TrainingConfig(epochs=20, batch_size=4096, learning_rate=0.003, patience=3)


def seed_graph() -> Node:
    """The feature graph of the seed notebook: ids and features encoded, clicks kept."""
    user = (["user_id"] >> Categorify() >> TagAsUserID()) + (USER_FEATURES >> Categorify() >> TagAsUserFeatures())
    item = (["item_id"] >> Categorify() >> TagAsItemID()) + (ITEM_FEATURES >> Categorify() >> TagAsItemFeatures())
    clicks: Node = user + item + ["click"] >> Filter(lambda df: df["click"] == 1)
    return clicks


def synthetic_demo(num_rows: int, output: Path, *, epochs: int | None, seed: int, say: Say) -> dict[str, float]:
    """Synthetic Ali-CCP with a planted truth: the test metrics, popularity's and the oracle's."""
    settings = SYNTHETIC_TRAINING
    with saving(output, kind=KIND, version=VERSION) as folder:
        with stage(say, "generate") as told:
            raw = datasets.generate_data("aliccp-raw", num_rows, (0.7, 0.1, 0.2), seed=seed, path=folder / "data")
            assert isinstance(raw, tuple)
            told(f"{num_rows:,} rows of synthetic Ali-CCP into {_typed(output)}/data", num_rows)
        with stage(say, "features") as told, TemporaryDirectory() as work:
            workflow = Workflow(seed_graph()).fit(raw[0])
            fitting, valid, test = (
                workflow.transform(part).to_parquet(Path(work) / name)
                for part, name in zip(raw, ("train", "valid", "test"), strict=True)
            )
            told(
                f"{len(workflow.output_schema) - 1} columns encoded, {fitting.num_rows:,} clicks to train on", num_rows
            )
            fitting, valid, test = (Dataset(part.compute(), schema=part.schema) for part in (fitting, valid, test))
        with stage(say, "train") as told:
            model = tamis.TwoTowerModel(
                fitting.schema.select_by_tag([Tags.USER, Tags.ITEM]),
                query_tower=MLPBlock([128, 64], no_activation_last_layer=True),
                embedding_options=tamis.EmbeddingOptions(infer_embedding_sizes=True),
                seed=seed,
            )
            model.compile(learning_rate=settings.learning_rate, metrics=METRICS)
            history = model.fit(
                fitting,
                validation_data=valid,
                batch_size=settings.batch_size,
                epochs=epochs or settings.epochs,
                callbacks=[EarlyStopping(MONITOR, patience=settings.patience)],
                seed=seed,
            )
            told(f"two towers, {history.num_epochs} epochs at {history.last()['rows_per_s']:,.0f} rows/s")
        with stage(say, "index", unit="items") as told:
            shown = pl.concat([part.compute() for part in raw]).select("item_id", *ITEM_FEATURES)
            source = Retrieval(model, seed=seed)
            recommender = Recommender(source).fit(workflow, fitting, items=shown)
            recall = f"recall {source.index.recall:.3f} of exact search"
            told(f"{recommender.num_items:,} items, {recall}", recommender.num_items)
        with stage(say, "evaluate", unit="users") as told:
            metrics = recommender.evaluate(raw[2], metrics=METRICS, exclude_seen=False)
            oracle = oracle_metrics(datasets.oracle_of("aliccp-raw", num_rows, seed=seed), raw[2])
            told(f"{metrics['num_users']:,.0f} users x {recommender.num_items:,} items", metrics["num_users"])
        say(f"  {compared(metrics)}")
        reached = ", ".join(f"{metrics[name] / oracle[name]:.0%} of the best possible {name}" for name in oracle)
        say(f"  {reached} ({', '.join(f'{value:.4f}' for value in oracle.values())})")
        users = raw[2].head(1000)["user_id"].unique(maintain_order=True).head(3).to_list()
        recommended = _show(recommender, users, ITEM_FEATURES)
        recommender.save(folder / "recommender", metrics=metrics)
        model.save(folder / "model")
        write_json(folder / "metrics.json", {**metrics, **{f"oracle_{name}": v for name, v in oracle.items()}})
        write_report(
            folder / "report.html",
            "Two towers on synthetic Ali-CCP",
            history=curves(history),
            bars=bars(metrics, oracle),
            facts=_facts(recommender, source.index, num_rows, fitting.num_rows),
            tables=recommended,
        )
    _goodbye(output, users[0], say, held_out="data/test")
    return metrics


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
    _show(recommender, users, MOVIELENS_SHOWN)
    _goodbye(output, users[0], say, show="title")
    return trained.metrics


def movielens_config(data: Path, work: Path, output: Path, *, epochs: int | None, seed: int) -> TrainConfig:
    """How MovieLens-1M is trained on; its tables, movies with five ratings or more, are written into `work`."""
    tables = datasets.movielens("1m", data)
    often = pl.len().over("movie_id") >= 5
    tables.interactions.filter(often).to_parquet(work / "interactions")
    tables.users.to_parquet(work / "users")
    tables.items.to_parquet(work / "items")
    training = {**vars(MOVIELENS_TRAINING), "seed": seed, "epochs": epochs or MOVIELENS_TRAINING.epochs}
    columns = DataConfig(
        interactions=str(work / "interactions"),
        users=str(work / "users"),
        items=str(work / "items"),
        user_id="user_id",
        item_id="movie_id",
        user_features=("gender", "age", "occupation"),
        item_features=("genres", "year"),
        order="position",
        latest=MOVIELENS_LATEST,
        show=MOVIELENS_SHOWN,
    )
    return TrainConfig(columns, MOVIELENS_MODEL, TrainingConfig(**training), output=str(output))


def oracle_metrics(world: Any, held_out: Dataset) -> dict[str, float]:
    """Metrics of the best possible lists for the held-out clicks: what no model can be expected to beat."""
    clicks = held_out.filter(pl.col("click") == 1).scan().select("user_id", "item_id").unique().collect()
    users = clicks["user_id"].unique(maintain_order=True)
    rows = clicks.join(users.to_frame().with_row_index("row"), on="user_id")["row"].to_numpy()
    relevant = Pairs.from_arrays(rows, np.searchsorted(world.item_ids, clicks["item_id"].to_numpy()), len(users))
    lists = torch.from_numpy(np.searchsorted(world.item_ids, world.best_items(users.to_numpy(), 10)))
    return judge_lists(lists, relevant, len(world.item_ids), metrics=METRICS).values


def _typed(path: Path) -> str:
    return str(path).rstrip("/")


def _show(recommender: Recommender, users: list[Any], columns: tuple[str, ...]) -> dict[str, Any]:
    found = recommender.recommend(users, 10, show=columns)
    tables = {}
    for user in users:
        one = found.filter(pl.col(recommender.user_id) == user).drop(recommender.user_id)
        tables[f"Ten items for user {user}"] = one
        print_recommended(one, f"Ten items for user {user}")
    return tables


def _facts(recommender: Recommender, index: Index, num_rows: int, num_clicks: int) -> list[tuple[str, str]]:
    return [
        ("rows", f"{num_rows:,}"),
        ("clicks trained on", f"{num_clicks:,}"),
        ("users", f"{len(recommender.audience):,}"),
        ("items", f"{recommender.num_items:,}"),
        ("index", f"{type(index).__name__}, recall {index.recall:.3f}"),
        ("metrics over", "all items, each test user once, seen items allowed"),
    ]


def _goodbye(output: Path, user: Any, say: Say, *, show: str = "item_category", held_out: str = "") -> None:
    name = _typed(output)
    say(f"Wrote {name}: the recommender, the model, metrics.json and report.html. Next:")
    say(f"  open {name}/report.html")
    say(f"  tamis recommend {name} --user {user} --k 5 --show {show}")
    if held_out:
        say(f"  tamis evaluate {name} {name}/{held_out} --include-seen")
