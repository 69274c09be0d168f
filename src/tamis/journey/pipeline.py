"""From raw interaction logs to a saved recommender: what `tamis train` and `tamis demo` do, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tamis.data.dataset import Dataset
from tamis.evaluation.metrics import NDCGAt, RecallAt
from tamis.evaluation.report import write_report
from tamis.features.node import Node
from tamis.features.ops import (
    Categorify,
    FillMissing,
    Filter,
    Normalize,
    TagAsItemFeatures,
    TagAsItemID,
    TagAsUserFeatures,
    TagAsUserID,
)
from tamis.features.workflow import Workflow
from tamis.folders import saving, write_json
from tamis.journey.config import DataConfig, ModelConfig, TrainConfig, TrainingConfig
from tamis.journey.tables import is_positive, item_columns, split_rows
from tamis.models.matrix_factorization import MatrixFactorizationModel
from tamis.models.retrieval import RetrievalModel
from tamis.models.two_tower import TwoTowerModel
from tamis.nn.embeddings import EmbeddingOptions
from tamis.nn.mlp import MLPBlock
from tamis.recommender.recommender import Recommender
from tamis.recommender.sources.retrieval_source import Retrieval
from tamis.schema import Schema
from tamis.training.callbacks import EarlyStopping
from tamis.training.history import History

Say = Callable[[str], None]
Tell = Callable[..., None]
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
def stage(say: Say, title: str, *, unit: str = "rows") -> Iterator[Tell]:
    """Says what a stage did, how long it took and at what rate; the yielded function takes the words and the count."""
    start = time.perf_counter()
    told: list[tuple[str, float]] = []
    yield lambda words, count=0: told.append((words, count))
    seconds = time.perf_counter() - start
    for words, count in told:
        rate = f", {count / seconds:,.0f} {unit}/s" if count else ""
        say(f"{title:<10} {words} ({seconds:.1f} s{rate})")


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
            shown = item_columns(config.data)
            parts = split_rows(config.data, Path(work) / "raw")
            sizes = {name: part.num_rows for name, part in parts.items()}
            count = sizes["train"] + sizes["valid"] + sizes["test"]
            told(f"{sizes['fit']:,} rows to train, {sizes['valid']:,} to validate, {sizes['test']:,} to test", count)
        with stage(say, "features") as told:
            workflow = Workflow(graph(parts["train"].schema, config.data)).fit(parts["train"])
            coded = {
                name: workflow.transform(part).to_parquet(Path(work) / "coded" / name) for name, part in parts.items()
            }
            told(f"{len(workflow.output_schema)} columns encoded", count)
        with stage(say, "model") as told:
            model = build_model(workflow.output_schema, config.model, seed=config.training.seed)
            history = fit(model, config.training, coded, verbose=verbose)
            rate = history.last()["rows_per_s"]
            told(f"{type(model).__name__}, {history.num_epochs} epochs, {rate:,.0f} rows/s")
        with stage(say, "index", unit="items") as told:
            seen = Dataset([*coded["train"].files, *coded["valid"].files], schema=coded["train"].schema)
            kind, target = config.index.kind, config.index.target_recall
            source = Retrieval(model, index=kind, target_recall=target)
            built = Recommender(source).fit(workflow, seen, items=shown)
            index = source.index
            told(f"{built.num_items:,} items in {type(index).__name__}, recall {index.recall:.3f}", built.num_items)
        with stage(say, "evaluate", unit="users") as told:
            metrics = built.evaluate(parts["test"])
            told(f"{metrics['num_users']:,.0f} users x {built.num_items:,} items", metrics["num_users"])
        say(f"  {compared(metrics)}")
        built.save(folder / "recommender")
        model.save(folder / "model")
        write_json(folder / "metrics.json", metrics)
        write_json(folder / "config.json", asdict(config))
        facts = [("model", type(model).__name__), ("items", f"{built.num_items:,}"), ("users", f"{len(built.audience):,}")]
        write_report(
            folder / "report.html",
            "Training report",
            history=curves(history),
            bars=bars(metrics),
            facts=facts,
            tables={},
        )
    return Trained(Path(config.output), built, metrics, history)


def graph(schema: Schema, config: DataConfig) -> Node:
    """The feature graph of a table: ids and categories encoded, fractional numbers filled and normalised.

    It also keeps the positive rows only, so that what is evaluated later means the same.
    """
    result = ([config.user_id] >> Categorify() >> TagAsUserID()) + ([config.item_id] >> Categorify() >> TagAsItemID())
    for names, tag in ((config.user_features, TagAsUserFeatures()), (config.item_features, TagAsItemFeatures())):
        numbers = [name for name in names if schema[name].dtype.startswith("float") and not schema[name].is_list]
        categories = [name for name in names if name not in numbers]
        if categories:
            result += categories >> Categorify() >> tag
        if numbers:
            result += numbers >> FillMissing() >> Normalize() >> tag
    if not config.positive_column:
        return result
    outcome = [config.positive_column]
    return (result + outcome >> Filter(is_positive(config))) - outcome


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
