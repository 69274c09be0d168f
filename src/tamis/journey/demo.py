"""The whole journey on synthetic Ali-CCP, both stages on one page: what `tamis demo` does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from tamis import (
    Adam,
    Dataset,
    DLRMModel,
    EarlyStopping,
    EmbeddingOptions,
    MLPBlock,
    NDCGAt,
    RecallAt,
    Recommender,
    Tags,
    TwoTowerModel,
    Workflow,
    datasets,
)
from tamis.features.node import Node
from tamis.folders import saving, write_json
from tamis.journey.config import TrainingConfig
from tamis.journey.console import Say, stage
from tamis.journey.demo_report import METRICS, figures, goodbye, show_lists, write_demo_report
from tamis.journey.pipeline import KIND, VERSION, in_words, mix_in_words
from tamis.journey.stages import MONITOR, RANKING_MONITOR
from tamis.ops import AddTags, Categorify, Filter, TagAsItemFeatures, TagAsItemID, TagAsUserFeatures, TagAsUserID
from tamis.recommender.sources.retrieval_source import Retrieval
from tamis.recommender.stage_mix import choose_mix
from tamis.training.history import History

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
TARGET = "click"
# Chosen on the validation rows of the default world.
RETRIEVAL_TRAINING = TrainingConfig(epochs=6, batch_size=1024, learning_rate=0.005, patience=1)
RANKER_TRAINING = TrainingConfig(epochs=3, batch_size=2048, learning_rate=0.003, embedding_l2=3e-5, patience=0)


def seed_graph() -> Node:
    """The feature graph of the seed notebook: ids and features encoded, clicks kept."""
    clicks: Node = (_features() + TARGET) >> Filter(lambda df: df[TARGET] == 1)
    return clicks


def impression_graph() -> Node:
    """The same features of all rows, with the click as what is to be predicted."""
    return _features() + ([TARGET] >> AddTags([Tags.TARGET, Tags.BINARY_CLASSIFICATION]))


def _features() -> Node:
    user = (["user_id"] >> Categorify() >> TagAsUserID()) + (USER_FEATURES >> Categorify() >> TagAsUserFeatures())
    item = (["item_id"] >> Categorify() >> TagAsItemID()) + (ITEM_FEATURES >> Categorify() >> TagAsItemFeatures())
    return user + item


def synthetic_demo(num_rows: int, output: Path, *, epochs: int | None, seed: int, say: Say) -> dict[str, float]:
    """Synthetic Ali-CCP with a planted truth: the test metrics, popularity's, the first stage's and the oracle's.

    The chance that a user's next click is on an item is the chance to meet it times the chance to click it once met.
    So retrieval learns what users meet, from all impressions, the ranker which of it they click, and the order of what
    is served is a product of both.
    """
    with saving(output, kind=KIND, version=VERSION) as folder:
        with stage(say, "generate") as told:
            raw = datasets.generate_data("aliccp-raw", num_rows, (0.7, 0.1, 0.2), seed=seed, path=folder / "data")
            assert isinstance(raw, tuple)
            told(f"{num_rows:,} rows of synthetic Ali-CCP into {str(output).rstrip('/')}/data", num_rows)
        with stage(say, "features") as told:
            workflow = Workflow(impression_graph()).fit(raw[0])
            train, valid = (_in_memory(workflow, part) for part in raw[:2])
            clicks = train.filter(pl.col(TARGET) == 1)
            told(f"{len(workflow.output_schema)} columns encoded, {clicks.num_rows:,} of the rows are clicks", num_rows)
        with stage(say, "retrieval") as told:
            model, history = retrieval(train, valid, epochs=epochs, seed=seed)
            told(f"two towers of what users meet, {_rate(history)}")
        with stage(say, "ranker") as told:
            ranker, ranked = click_ranker(train, valid, epochs=epochs, seed=seed)
            gauc = max(ranked.history[RANKING_MONITOR])
            told(f"DLRM of what they click of it, {_rate(ranked)}, GAUC {gauc:.4f} on validation rows")
        shown = raw[0].select(["item_id", *ITEM_FEATURES])
        with stage(say, "mix") as told:
            both = Recommender(Retrieval(model, seed=seed), ranker=ranker).fit(workflow, clicks, items=shown)
            mix = choose_mix(both, raw[1], exclude_seen=False)
            told(mix_in_words(mix))
        with stage(say, "index", unit="items") as told:
            source = Retrieval(model, seed=seed)
            recommender = Recommender(source, ranker=ranker, ordering=mix.ordering).fit(workflow, clicks, items=shown)
            told(f"{recommender.num_items:,} items, recall {source.index.recall:.3f} of exact search")
        with stage(say, "funnel", unit="users") as told:
            world = datasets.oracle_of("aliccp-raw", num_rows, seed=seed)
            funnel = recommender.funnel(
                raw[2],
                metrics=METRICS,
                exclude_seen=False,
                oracle=lambda users: world.best_items(np.asarray(users), 10),
                verbose=False,
            )
            told(f"{funnel.num_users:,} users x {recommender.num_items:,} items", funnel.num_users)
        for line in in_words(funnel):
            say(f"  {line}")
        users = raw[2].head(1000)["user_id"].unique(maintain_order=True).head(3).to_list()
        lists = show_lists(recommender, users, ITEM_FEATURES[:1])
        metrics = figures(funnel)
        recommender.save(folder / "recommender", metrics=metrics)
        model.save(folder / "model")
        ranker.save(folder / "ranker")
        write_json(folder / "metrics.json", metrics)
        write_demo_report(
            folder,
            "Two stages on synthetic Ali-CCP",
            funnel,
            histories={"retrieval": history, "ranker": ranked},
            facts=[
                ("rows", f"{num_rows:,}"),
                ("clicks trained on", f"{clicks.num_rows:,}"),
                ("items", f"{recommender.num_items:,}"),
                ("index", f"{type(source.index).__name__}, recall {source.index.recall:.3f}"),
                ("order", mix.name),
                ("metrics over", "all items, each test user once, seen items allowed"),
            ],
            tables={"Orders tried on validation rows": mix.table, **lists},
        )
    goodbye(output, users[0], say, show="item_category", held_out="data/test")
    return metrics


def retrieval(train: Dataset, valid: Dataset, *, epochs: int | None, seed: int) -> tuple[TwoTowerModel, History]:
    """Two towers that learn which items users meet."""
    settings = RETRIEVAL_TRAINING
    model = TwoTowerModel(
        train.schema.select_by_tag([Tags.USER, Tags.ITEM]),
        query_tower=MLPBlock([128, 64], no_activation_last_layer=True),
        embedding_options=EmbeddingOptions(infer_embedding_sizes=True),
        seed=seed,
    )
    model.compile(learning_rate=settings.learning_rate, metrics=[RecallAt(10), NDCGAt(10)])
    history = model.fit(
        train,
        validation_data=valid,
        batch_size=settings.batch_size,
        epochs=epochs or settings.epochs,
        callbacks=[EarlyStopping(MONITOR, patience=settings.patience)],
        seed=seed,
    )
    return model, history


def click_ranker(train: Dataset, valid: Dataset, *, epochs: int | None, seed: int) -> tuple[DLRMModel, History]:
    """A DLRM that learns which of the items met users click."""
    settings = RANKER_TRAINING
    ranker = DLRMModel(
        train.schema,
        embedding_options=EmbeddingOptions(embedding_dim_default=16, init_std=0.05),
        top_block=MLPBlock([64, 32]),
        seed=seed,
    )
    ranker.compile(Adam(settings.learning_rate), embedding_l2=settings.embedding_l2, metrics=["gauc", "auc"])
    history = ranker.fit(
        train,
        valid,
        batch_size=settings.batch_size,
        epochs=epochs or settings.epochs,
        callbacks=[EarlyStopping(RANKING_MONITOR, patience=settings.patience)],
        seed=seed,
    )
    return ranker, history


def _in_memory(workflow: Workflow, rows: Dataset) -> Dataset:
    return Dataset(workflow.transform(rows).compute(), schema=workflow.output_schema)


def _rate(history: History) -> str:
    return f"{history.num_epochs} epochs at {history.last()['rows_per_s']:,.0f} rows/s"
