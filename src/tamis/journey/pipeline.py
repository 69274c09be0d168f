"""From raw interaction logs to a saved recommender: what `tamis train` and `tamis demo` do, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from tamis.data.dataset import Dataset, check_ids
from tamis.data.split import leave_last_out, split_by_time
from tamis.errors import DataError, UnknownColumnError
from tamis.evaluation.metrics import NDCGAt, RecallAt
from tamis.evaluation.report import write_report
from tamis.features.node import Node
from tamis.features.ops import (
    Categorify,
    FillMissing,
    Normalize,
    TagAsItemFeatures,
    TagAsItemID,
    TagAsUserFeatures,
    TagAsUserID,
)
from tamis.features.workflow import Workflow
from tamis.folders import saving, write_json
from tamis.journey.config import DataConfig, ModelConfig, TrainConfig, TrainingConfig
from tamis.models.matrix_factorization import MatrixFactorizationModel
from tamis.models.retrieval import RetrievalModel
from tamis.models.two_tower import TwoTowerModel
from tamis.nn.embeddings import EmbeddingOptions
from tamis.nn.mlp import MLPBlock
from tamis.recommender.recommender import Recommender
from tamis.schema import Schema
from tamis.training.callbacks import EarlyStopping
from tamis.training.history import History

Say = Callable[[str], None]
MONITOR = "val_ndcg_at_10"
KIND, VERSION = "training", 1


@dataclass(frozen=True)
class Trained:
    """What a training left behind: its folder, the recommender in it, metrics on the test rows, the history."""

    folder: Path
    recommender: Recommender
    metrics: dict[str, float]
    history: History


@contextmanager
def stage(say: Say, title: str, num_rows: int = 0) -> Iterator[Callable[[str], None]]:
    """Says what a stage did, how long it took and at how many rows a second; the yielded function takes the words."""
    start = time.perf_counter()
    told: list[str] = []
    yield told.append
    seconds = time.perf_counter() - start
    rate = f", {num_rows / seconds:,.0f} rows/s" if num_rows else ""
    say(f"{title:<10} {'; '.join(told)} ({seconds:.1f} s{rate})")


def train(config: TrainConfig, *, say: Say, verbose: bool = True) -> Trained:
    """Run the whole way and write `config.output`: `recommender/`, `model/`, `metrics.json`, `report.html`.

    The folder appears as a whole at the end; when anything fails, an older one stays as it was.

    Args:
        config: what to train on, and how.
        say: called with one line per stage.
        verbose: progress bars on stderr.

    Raises:
        TamisError: whatever is wrong with data or settings, with place, value and way out.
    """
    with saving(config.output, kind=KIND, version=VERSION) as folder, TemporaryDirectory() as work:
        with stage(say, "data") as told:
            parts = _parts(config.data, Path(work) / "raw")
            sizes = {name: part.num_rows for name, part in parts.items()}
            told(f"{sizes['fit']:,} rows to train, {sizes['valid']:,} to validate, {sizes['test']:,} to test")
        with stage(say, "features") as told:
            workflow = Workflow(graph(parts["train"].schema, config.data)).fit(parts["train"])
            coded = {
                name: workflow.transform(part).to_parquet(Path(work) / "coded" / name) for name, part in parts.items()
            }
            told(f"{len(workflow.output_schema)} columns encoded")
        with stage(say, "model") as told:
            model = build_model(workflow.output_schema, config.model, seed=config.training.seed)
            history = fit(model, config.training, coded, verbose=verbose)
            rate = history.last()["rows_per_s"]
            told(f"{type(model).__name__}, {history.num_epochs} epochs, {rate:,.0f} rows/s")
        with stage(say, "index") as told:
            seen = Dataset([*coded["train"].files, *coded["valid"].files], schema=coded["train"].schema)
            shown = Dataset(config.data.items) if config.data.items else None
            kind, target = config.index.kind, config.index.target_recall
            built = Recommender.build(model, workflow, seen, items=shown, index=kind, target_recall=target)
            told(f"{built.num_items:,} items in {type(built.index).__name__}, recall {built.index.recall:.3f}")
        with stage(say, "evaluate") as told:
            metrics = built.evaluate(parts["test"])
            told(compared(metrics))
        built.save(folder / "recommender")
        model.save(folder / "model")
        write_json(folder / "metrics.json", metrics)
        write_json(folder / "config.json", asdict(config))
        facts = [("model", type(model).__name__), ("items", f"{built.num_items:,}"), ("users", f"{len(built.users):,}")]
        write_report(
            folder / "report.html",
            "Training report",
            history=curves(history),
            bars=bars(metrics),
            facts=facts,
            tables={},
        )
    return Trained(Path(config.output), built, metrics, history)


def _parts(config: DataConfig, folder: Path) -> dict[str, Dataset]:
    """The split rows, written once: `train`, `valid`, `test`, and `fit`, the part of `train` that is trained on."""
    rows = joined(config)
    if config.split == "time":
        split = split_by_time(rows, config.order, (0.8, 0.1, 0.1))
    else:
        split = leave_last_out(rows, user=config.user_id, order=config.order or None)
    parts = {name: part.to_parquet(folder / name) for name, part in zip(("train", "valid", "test"), split, strict=True)}
    for name in ("valid", "test"):
        if not parts[name].num_rows:
            raise DataError(f"{config.interactions}: no rows are left for {name}. Users need three rows or more.")
    parts["fit"] = parts["train"]
    if config.latest:
        order = pl.col(config.order) if config.order else pl.int_range(pl.len())
        from_end = order.rank("ordinal", descending=True).over(config.user_id)
        parts["fit"] = parts["train"].filter(from_end <= config.latest).to_parquet(folder / "fit")
    return parts


def joined(config: DataConfig) -> Dataset:
    """The positive interactions with the columns of users and items beside them, in their order.

    Raises:
        DataError: no positive row, a filter column with one value only, or ids with nulls or fractions.
        UnknownColumnError: a column is missing.
    """
    interactions = Dataset(config.interactions)
    for name in (config.user_id, config.item_id, *filter(None, (config.positive_column, config.order))):
        if name not in interactions.schema:
            raise UnknownColumnError(name, interactions.column_names, where=config.interactions)
    check_ids(interactions, [config.user_id, config.item_id], where=config.interactions)
    rows = interactions.scan()
    if config.positive_column:
        rows = _positives(rows, config)
    for path, key in ((config.users, config.user_id), (config.items, config.item_id)):
        if path:
            rows = _with_table(rows, Dataset(path), key, where=path)
    found = Dataset(rows)
    for name in (*config.user_features, *config.item_features):
        if name not in found.schema:
            raise UnknownColumnError(name, found.column_names, where=config.interactions)
    return found.select([*dict.fromkeys(_used(config))])


def _used(config: DataConfig) -> list[str]:
    columns = [config.user_id, config.item_id, *config.user_features, *config.item_features]
    return [*columns, config.order] if config.order else columns


def _positives(rows: pl.LazyFrame, config: DataConfig) -> pl.LazyFrame:
    column = pl.col(config.positive_column)
    asked = rows.select(
        kinds=column.n_unique(), positive=(column >= config.positive_min).sum(), low=column.min(), high=column.max()
    )
    found = asked.collect(engine="streaming").row(0, named=True)
    where = f"{config.interactions}: the column {config.positive_column!r}"
    if found["kinds"] < 2:
        raise DataError(
            f"{where} holds only the value {found['low']!r}, so it cannot tell positives from the rest. Name another "
            "column, or leave positive_column out when every row is a positive."
        )
    if not found["positive"]:
        raise DataError(
            f"{where} goes from {found['low']!r} to {found['high']!r}, so no row reaches {config.positive_min}. Lower "
            "positive_min."
        )
    return rows.filter(column >= config.positive_min)


def _with_table(rows: pl.LazyFrame, table: Dataset, key: str, *, where: str) -> pl.LazyFrame:
    if key not in table.schema:
        raise UnknownColumnError(key, table.column_names, where=where)
    counts = table.scan().select(pl.len(), ids=pl.col(key).n_unique()).collect(engine="streaming")
    if counts["len"].item() != counts["ids"].item():
        raise DataError(f"{where}: {key!r} is not unique, so rows would double. Keep one row per id.")
    have = rows.collect_schema().names()
    others = table.scan().drop([name for name in table.column_names if name in have and name != key])
    return rows.join(others, on=key, how="left", maintain_order="left")


def graph(schema: Schema, config: DataConfig) -> Node:
    """The feature graph of a table: ids and categories encoded, fractional numbers filled and normalised."""
    result = ([config.user_id] >> Categorify() >> TagAsUserID()) + ([config.item_id] >> Categorify() >> TagAsItemID())
    for names, tag in ((config.user_features, TagAsUserFeatures()), (config.item_features, TagAsItemFeatures())):
        numbers = [name for name in names if schema[name].dtype.startswith("float") and not schema[name].is_list]
        categories = [name for name in names if name not in numbers]
        if categories:
            result += categories >> Categorify() >> tag
        if numbers:
            result += numbers >> FillMissing() >> Normalize() >> tag
    return result


def build_model(schema: Schema, config: ModelConfig, *, seed: int) -> RetrievalModel:
    """The untrained model of a configuration."""
    shared: dict[str, Any] = {
        "l2_normalization": config.l2_normalization,
        "logits_temperature": config.temperature,
        "seed": seed,
    }
    if config.kind == "matrix-factorization":
        return MatrixFactorizationModel(schema, config.dim or 64, init_std=config.init_std, **shared)
    dims = {"embedding_dim_default": config.dim} if config.dim else {"infer_embedding_sizes": True}
    return TwoTowerModel(
        schema,
        MLPBlock(config.layers, no_activation_last_layer=True, dropout=config.dropout),
        embedding_options=EmbeddingOptions(init_std=config.init_std, **dims),
        **shared,
    )


def fit(model: RetrievalModel, config: TrainingConfig, coded: dict[str, Dataset], *, verbose: bool) -> History:
    """Train with early stopping on the validation rows; lists leave out what was seen in training."""
    model.compile(config.optimizer, learning_rate=config.learning_rate, metrics=[RecallAt(10), NDCGAt(10)])
    stopping = [EarlyStopping(MONITOR, patience=config.patience)] if config.patience >= 0 else []
    return model.fit(
        coded["fit"],
        coded["valid"],
        items=coded["train"],
        exclude=coded["train"],
        batch_size=config.batch_size,
        epochs=config.epochs,
        callbacks=stopping,
        device=config.device,
        seed=config.seed,
        verbose=verbose,
    )


def compared(metrics: dict[str, float]) -> str:
    """The metrics in words, each beside the popularity list's."""
    names = [name for name in metrics if f"popularity_{name}" in metrics]
    told = [f"{name} {metrics[name]:.4f} (popularity {metrics['popularity_' + name]:.4f})" for name in names]
    return ", ".join(told)


def curves(history: History) -> dict[str, list[float]]:
    """What is worth a curve; the popularity list's metrics are the same in every epoch."""
    return {name: values for name, values in history.history.items() if "popularity_" not in name}


def bars(metrics: dict[str, float], oracle: dict[str, float] | None = None) -> dict[str, dict[str, float]]:
    """The metrics as groups of bars: model, popularity and, where known, oracle."""
    groups = {}
    for name in metrics:
        if f"popularity_{name}" in metrics:
            groups[name] = {"model": metrics[name], "popularity": metrics[f"popularity_{name}"]}
            if oracle and name in oracle:
                groups[name]["oracle"] = oracle[name]
    return groups
