"""Our ranking models on Frappe."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

import polars as pl
import torch

from frappe_data import EPOCHS, LABEL, PATIENCE, read
from tamis import (
    Adam,
    AutoIntModel,
    Dataset,
    DCNModel,
    DeepFMModel,
    EarlyStopping,
    EmbeddingOptions,
    FinalMLPModel,
    FMModel,
    LogisticRegressionModel,
    MLPBlock,
    Tags,
    WeightAverage,
    Workflow,
)
from tamis.ops import AddTags, Categorify

Settings = dict[str, Any]


@cache
def data() -> dict[str, Dataset]:
    """The three parts, encoded; values that only `held_out` or `test` have share the code of the unknown."""
    parts = {name: pl.DataFrame(part) for name, part in read().items()}
    names = [name for name in parts["fit"].columns if name != LABEL]
    graph = (names >> Categorify()) + ([LABEL] >> AddTags([Tags.TARGET]))
    workflow = Workflow(graph).fit(Dataset(parts["fit"]))
    return {name: _in_memory(workflow.transform(Dataset(part))) for name, part in parts.items()}


def _in_memory(dataset: Dataset) -> Dataset:
    return Dataset(dataset.compute(), schema=dataset.schema)


def trial(name: str, settings: Settings, seed: int, *, test: bool) -> dict[str, Any]:
    """Train with early stopping, and judge the best weights."""
    settings = {key: None if value == "none" else value for key, value in settings.items()}  # TOML has no null
    torch.set_num_threads(1)
    start = time.perf_counter()
    parts = data()
    model = build(name, settings, seed)
    decay = settings["average"]
    model.compile(
        Adam(settings["learning_rate"], row_wise=False),  # small tables that every batch touches
        embedding_l2=2 * settings["embedding_l2"],  # half of it is the factor of the squares
        average=None if decay is None else WeightAverage(decay),
        metrics=["auc"],
        precision="float32",
    )
    fitting: Settings = {"batch_size": settings["batch_size"], "epochs": EPOCHS, "seed": seed, "verbose": False}
    history = model.fit(parts["fit"], parts["held_out"], callbacks=[EarlyStopping("val_auc", PATIENCE)], **fitting)
    aucs = history.history["val_auc"]
    best = max(aucs)
    answer = {"valid_auc": round(best, 5), "best_epoch": aucs.index(best) + 1}
    if test:
        answer["test_auc"] = round(model.evaluate(parts["test"])["auc"], 5)
    return {**answer, "fit_s": round(time.perf_counter() - start, 1)}


def build(name: str, settings: Settings, seed: int) -> Any:
    """The model of a row of the table, untrained."""
    schema = data()["fit"].schema
    if name == "LR":
        return LogisticRegressionModel(schema, seed=seed)
    options = EmbeddingOptions(embedding_dim_default=settings["embedding_dim"], init_std=settings["init_std"])
    common: Settings = {"embedding_options": options, "seed": seed}
    if name == "FM":
        return FMModel(schema, **common)
    dense = _dense(settings)
    if name == "DeepFM":
        return DeepFMModel(schema, dense, **common)
    if name == "DCN-v2":
        return DCNModel(schema, settings["depth"], dense, stacked=settings["structure"] == "stacked", **common)
    if name == "AutoInt":
        shape: Settings = {
            "num_heads": settings["num_heads"],
            "head_dim": settings["embedding_dim"] // settings["num_heads"],
        }
        return AutoIntModel(schema, settings["depth"], deep_block=dense, **shape, **common)
    return FinalMLPModel(schema, dense, num_heads=settings["pieces"], **_gates(settings), **common)


def _dense(settings: Settings) -> MLPBlock | None:
    if not settings["hidden"]:
        return None
    return MLPBlock(settings["hidden"], dropout=settings["dropout"], normalization=settings["normalization"])


def _gates(settings: Settings) -> Settings:
    return {"first_context": ["user"], "second_context": ["item"]} if settings["gates"] else {}
