"""What a configuration means: the feature graph, the models of both stages, the sources, and how each is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from tamis.data.dataset import Dataset
from tamis.errors import DataError
from tamis.evaluation.metrics import NDCGAt, RecallAt
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
from tamis.journey.config import DataConfig, ModelConfig, RankingConfig, TrainConfig, TrainingConfig
from tamis.journey.console import Say, stage
from tamis.journey.tables import is_positive, latest, periods
from tamis.models.auto_int import AutoIntModel
from tamis.models.dcn import DCNModel
from tamis.models.deep_fm import DeepFMModel, FMModel
from tamis.models.dlrm import DLRMModel
from tamis.models.final_mlp import FinalMLPModel
from tamis.models.logistic_regression import LogisticRegressionModel
from tamis.models.matrix_factorization import MatrixFactorizationModel
from tamis.models.mlp_model import MLPModel
from tamis.models.ranking import RankingModel
from tamis.models.retrieval import RetrievalModel
from tamis.models.two_tower import TwoTowerModel
from tamis.models.wide_and_deep import WideAndDeepModel
from tamis.nn.embeddings import EmbeddingOptions
from tamis.nn.mlp import MLPBlock
from tamis.recommender.found_positives import found_positives
from tamis.recommender.ranking_data import ranking_rows
from tamis.recommender.recommender import Recommender
from tamis.recommender.source import Source
from tamis.recommender.sources.item_item import ItemItem
from tamis.recommender.sources.popular import Popular
from tamis.recommender.sources.recent import Recent
from tamis.recommender.sources.retrieval_source import Retrieval
from tamis.schema import Schema
from tamis.training.callbacks import Callback, EarlyStopping
from tamis.training.history import History
from tamis.training.optimizers import OPTIMIZERS
from tamis.training.schedules import SCHEDULES

MONITOR, RANKING_MONITOR = "val_ndcg_at_10", "val_gauc"
TAKEN = "taken"  # what the ranker predicts
# each ranker, and what its constructor calls the layers; None where it has none
_RANKERS: dict[str, tuple[type[RankingModel], str | None]] = {
    "auto-int": (AutoIntModel, "deep_block"),
    "dcn": (DCNModel, "deep_block"),
    "deep-fm": (DeepFMModel, "deep_block"),
    "dlrm": (DLRMModel, "top_block"),
    "final-mlp": (FinalMLPModel, None),
    "fm": (FMModel, None),
    "logistic-regression": (LogisticRegressionModel, None),
    "mlp": (MLPModel, "mlp"),
    "wide-and-deep": (WideAndDeepModel, "deep_block"),
}


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
        _block(config, no_activation_last_layer=True),
        embedding_options=EmbeddingOptions(init_std=config.init_std, **dims),
        **shared,
    )


def _block(config: ModelConfig | RankingConfig, **settings: Any) -> MLPBlock:
    normalization = None if config.normalization == "none" else config.normalization
    return MLPBlock(config.layers, dropout=config.dropout, normalization=normalization, **settings)


def _steps(config: TrainingConfig | RankingConfig) -> dict[str, Any]:
    """The arguments of `compile` that say how the weights move."""
    decay: dict[str, Any] = {"weight_decay": config.weight_decay} if config.weight_decay else {}
    optimizer = OPTIMIZERS[config.optimizer](learning_rate=config.learning_rate, **decay)
    schedule = SCHEDULES[config.schedule](warm_up_steps=config.warm_up_steps)
    changes = config.schedule != "constant" or config.warm_up_steps
    limits = {"clip_norm": config.clip_norm, "embedding_l2": config.embedding_l2}
    return {"optimizer": optimizer, "schedule": schedule if changes else None, **limits}


def fit(
    model: RetrievalModel,
    config: TrainingConfig,
    coded: dict[str, Dataset],
    *,
    verbose: bool,
    callbacks: Iterable[Callback] = (),
) -> History:
    """Train with early stopping on the validation rows; lists leave out what was seen in training."""
    model.compile(**_steps(config), metrics=[RecallAt(10), NDCGAt(10)])
    stopping = [EarlyStopping(MONITOR, patience=config.patience)] if config.patience >= 0 else []
    return model.fit(
        coded["fit"],
        coded["valid"],
        items=coded["train"],
        exclude=coded["train"],
        batch_size=config.batch_size,
        epochs=config.epochs,
        callbacks=[*stopping, *callbacks],
        device=config.device,
        seed=config.seed,
        verbose=verbose,
    )


def build_sources(model: RetrievalModel, config: TrainConfig) -> tuple[Retrieval, *tuple[Source, ...]]:
    """The sources of a configuration, the retrieval model's first; a quota is at most the whole catalogue."""
    quotas, num_items = config.sources, len(model.fitted_items())
    kinds: dict[str, Callable[..., Source]] = {
        "item_item": partial(ItemItem, half_life=quotas.half_life, l2=quotas.l2),
        "popular": Popular,
        "recent": Recent,
    }
    others = [make(quota=min(quota, num_items)) for name, make in kinds.items() if (quota := getattr(quotas, name))]
    quota, index = min(quotas.retrieval, num_items), config.index
    return (Retrieval(model, quota=quota, index=index.kind, target_recall=index.target_recall), *others)


def build_ranker(schema: Schema, config: RankingConfig, *, seed: int) -> RankingModel:
    """The untrained ranker of a configuration."""
    kind, block = _RANKERS[config.kind]
    given: dict[str, Any] = {"seed": seed}
    if block is not None:
        given[block] = _block(config)
    if kind is not LogisticRegressionModel:  # its embeddings have one width, 1
        given["embedding_options"] = EmbeddingOptions(embedding_dim_default=config.dim)
    return kind(schema, **given)


def train_ranker(
    config: TrainConfig,
    workflow: Workflow,
    parts: dict[str, Dataset],
    coded: dict[str, Dataset],
    work: Path,
    *,
    say: Say,
    verbose: bool,
) -> RankingModel:
    """A ranker, trained on what `ranker_rows` gives; the arguments are the same."""
    learned, judged = ranker_rows(config, workflow, parts, coded, work, say=say, verbose=verbose)
    with stage(say, "ranker") as told:
        ranker = build_ranker(learned.schema, config.ranking, seed=config.training.seed)
        history = fit_ranker(ranker, config, learned, judged, verbose=verbose)
        gauc = max(history.history[RANKING_MONITOR])
        told(f"{type(ranker).__name__}, {history.num_epochs} epochs, GAUC {gauc:.4f} among candidates")
    return ranker


def ranker_rows(
    config: TrainConfig,
    workflow: Workflow,
    parts: dict[str, Dataset],
    coded: dict[str, Dataset],
    work: Path,
    *,
    say: Say,
    verbose: bool,
) -> tuple[Dataset, Dataset]:
    """Rows to train a ranker on and to validate it: of candidates that a first stage finds which knows only the past.

    Args:
        config: the configuration.
        workflow: fitted.
        parts: raw `train`.
        coded: encoded `train` and `valid`.
        work: a folder for what is written on the way, and the rows in `learned` and `judged`.
        say: called with a line per stage.
        verbose: progress bars on stderr.
    """
    settings, seed = config.ranking, config.training.seed
    with stage(say, "candidates") as told:
        early, late = periods(parts["train"], config.data, settings.share, work / "periods")
        rows = {"fit": latest(early, config.data, work / "periods" / "fit"), "train": early, "valid": late}
        before = {name: workflow.transform(part).to_parquet(work / "before" / name) for name, part in rows.items()}
        model = build_model(workflow.output_schema, config.model, seed=seed)
        fit(model, config.training, before, verbose=verbose)
        first = Recommender(build_sources(model, config)).fit(workflow, before["train"])
        shared: dict[str, Any] = {"target": TAKEN, "num_negatives": settings.num_negatives, "verbose": verbose}
        learned, judged = (
            ranking_rows(_found(part, first, config), first, work / name, trained_on=known, seed=seed, **shared)
            for part, name, known in (
                (workflow.transform(latest(late, config.data, work / "late")), "learned", before["train"]),
                (coded["valid"], "judged", coded["train"]),
            )
        )
        told(f"{learned.num_rows:,} rows for the ranker, {judged.num_rows:,} to validate it", learned.num_rows)
    return learned, judged


def _found(positives: Dataset, first: Recommender, config: TrainConfig) -> Dataset:
    """The positives that the first stage finds; what it does not find, no ranker will meet."""
    found = found_positives(positives, first)
    if not found.num_rows:
        raise DataError(
            f"{config.data.interactions}: the first stage finds none of the {positives.num_rows:,} rows that the "
            "ranker is to learn from. Raise the quotas of [sources], or leave [ranking] out."
        )
    return found


def fit_ranker(
    ranker: RankingModel,
    config: TrainConfig,
    learned: Dataset,
    judged: Dataset,
    *,
    verbose: bool,
    callbacks: Iterable[Callback] = (),
) -> History:
    """Train with early stopping on how well the candidates of each validation user are told apart."""
    settings = config.ranking
    ranker.compile(**_steps(settings), metrics=["gauc", "auc", "log_loss"])
    stopping = [EarlyStopping(RANKING_MONITOR, patience=settings.patience)] if settings.patience >= 0 else []
    return ranker.fit(
        learned,
        judged,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        callbacks=[*stopping, *callbacks],
        device=config.training.device,
        seed=config.training.seed,
        verbose=verbose,
    )
