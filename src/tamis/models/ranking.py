"""What all ranking models share: compile, fit, evaluate, predict."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from tamis.data.dataset import Dataset
from tamis.data.loader import Loader
from tamis.errors import SchemaError
from tamis.evaluation.calibration import Calibrator
from tamis.evaluation.ranking_metrics import (
    RankingMetric,
    describe_ranking_metric,
    described_ranking_metric,
)
from tamis.models.arguments import arguments_of, built
from tamis.models.network_model import NetworkModel
from tamis.models.scoring import ScoringModel
from tamis.models.target_check import check_chain, check_targets, check_weights
from tamis.nn.embeddings import EmbeddingOptions, EmbeddingTables
from tamis.nn.experts import ESMM, HeadSettings
from tamis.nn.inputs import Inputs, split_inputs
from tamis.nn.precision import chosen_device, chosen_precision
from tamis.nn.ranking_network import Body, Heads, RankingNetwork
from tamis.schema import Schema, Tags
from tamis.training.callbacks import Callback
from tamis.training.history import History
from tamis.training.optimizers import OptimizerSettings
from tamis.training.ranking_step import BINARY, REGRESSION, RankingLoss, RankingStep
from tamis.training.schedules import Schedule
from tamis.training.trainer import Trainer
from tamis.training.training_plan import TrainingPlan, described_plan
from tamis.training.weight_averaging import WeightAverage


class RankingModel(ScoringModel, NetworkModel):
    """Scores rows of (query, candidate): one probability, or amount, per target.

    Subclasses say how features meet, in `body`. Columns tagged TARGET are what is predicted: those tagged REGRESSION
    as amounts, all others as probabilities. All other columns are inputs.

    Args:
        schema: inputs and targets.
        embedding_options: widths and start of the embeddings.
        heads: how several targets share what the body makes; by default one linear layer each.
        seed: of the first weights.

    Raises:
        SchemaError: no target, no input, or an input that is neither categorical nor continuous.
    """

    heads: HeadSettings | None = None

    def __init__(
        self, schema: Schema, *, embedding_options: EmbeddingOptions | None, heads: HeadSettings | None, seed: int
    ) -> None:
        self.embedding_options = options = embedding_options or EmbeddingOptions(embedding_dim_default=16)
        self.heads = heads
        self.target_schema = schema.select_by_tag(Tags.TARGET)
        self.input_schema = schema - self.target_schema
        self.schema = self.input_schema + self.target_schema
        self.calibrators: dict[str, Calibrator] = {}
        if not len(self.target_schema) or not len(self.input_schema):
            missing = "target. Tag one with AddTags([Tags.TARGET])" if len(self.input_schema) else "input column"
            raise SchemaError(f"{type(self).__name__}: the schema has no {missing}.")
        options.check_names(self.input_schema, where="embedding_dims")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            tables = EmbeddingTables(split_inputs(self.input_schema)[0], options)
            body = self.body(Inputs(self.input_schema, tables, combiner=options.combiner))
            self._network = RankingNetwork(tables, body, self._build_heads(body), self.targets).eval()
        self.compile()

    @abstractmethod
    def body(self, inputs: Inputs) -> Body:
        """The part that reads the features, with fresh weights."""

    def _build_heads(self, body: Body) -> nn.Module:
        if isinstance(self.heads, ESMM) and REGRESSION in self.objectives.values():
            raise SchemaError(f"{type(self).__name__}: ESMM is about chances, but one of {self.targets} is an amount.")
        if body.width:
            return Heads(body.width, self.targets) if self.heads is None else self.heads.build(body.width, self.targets)
        if len(self.targets) > 1 or self.heads is not None:
            raise SchemaError(
                f"{type(self).__name__}: it has no hidden layer to share, so it learns one target without heads, but "
                f"here are {self.targets}. Leave one, or choose a model with a hidden layer such as DeepFMModel."
            )
        return Heads(0, self.targets)

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments besides schema and seed, as JSON can hold them."""
        return arguments_of(self)

    @classmethod
    def from_settings(cls, schema: Schema, settings: dict[str, Any]) -> Self:
        """The model that `settings` described, untrained."""
        return cls(schema, **built(settings, where=cls.__name__))

    @property
    def network(self) -> RankingNetwork:
        """What is trained."""
        return self._network

    def compile(
        self,
        optimizer: str | OptimizerSettings | Mapping[str, str | OptimizerSettings] = "adam",
        *,
        learning_rate: float | None = None,
        schedule: str | Schedule | None = None,
        clip_norm: float | None = None,
        embedding_l2: float = 0.0,
        average: WeightAverage | None = None,
        metrics: Iterable[str | RankingMetric] | None = None,
        target_weights: Mapping[str, float] | None = None,
        positive_weight: float = 1.0,
        sample_weight: str | None = None,
        precision: str = "auto",
        run_eagerly: bool = False,
    ) -> None:
        """Choose how to train and what to measure.

        Args:
            optimizer: `"adam"`, `"adagrad"`, `"sgd"`, `"ftrl"`, or one with settings such as `Adam(0.01)`; or several
                by group, such as `{"embeddings": Adagrad(0.05), "dense": "adam"}` or
                `{"wide": FTRL(0.1), "*": "adam"}`: keys are `"embeddings"`, `"dense"`, `"*"` for the rest, and starts
                of weights' names.
            learning_rate: for an optimizer given by name.
            schedule: how the learning rates change: `"constant"`, `"linear"`, `"cosine"`, `"exponential"`, or one with
                settings such as `CosineSchedule(warm_up_steps=500)`.
            clip_norm: the most that the gradient's norm may be, over dense weights and touched rows together.
            embedding_l2: the loss gets half of this times the squared norms of the embedding rows that a step touches;
                other than an optimizer's `weight_decay`, which is apart from the loss and for all weights.
            average: `WeightAverage(...)` to validate and end with averaged weights.
            metrics: by default AUC and log loss of probabilities, RMSE of amounts.
            target_weights: how much each target counts in the loss; 1 by default.
            positive_weight: how much a positive row counts beside a negative one.
            sample_weight: a column of row weights of the training data; leave it out of the model's schema.
            precision: of the matrix products in training: `"float32"`, `"bfloat16"`, or `"auto"`, which is bfloat16
                where the processor multiplies it fast.
            run_eagerly: for debugging: plain float32 whatever `precision` says.

        Raises:
            UnknownNameError: a name that is not known.
            SettingError: a setting out of range, or a metric that none of the targets can have.
        """
        self.plan = TrainingPlan.chosen(
            self.network,
            optimizer,
            learning_rate=learning_rate,
            schedule=schedule,
            clip_norm=clip_norm,
            embedding_l2=embedding_l2,
            average=average,
            precision=precision,
            run_eagerly=run_eagerly,
        )
        self.metrics = None if metrics is None else self._resolved(metrics, where="compile")
        self._weights: dict[str, Any] = {
            "target_weights": dict(target_weights or {}),
            "positive_weight": positive_weight,
            "sample_weight": sample_weight,
        }
        self._loss(chosen_precision(self.plan.precision, torch.device("cpu")))

    def compiled(self) -> dict[str, Any]:
        """What `compile` chose, as JSON can hold it."""
        known = [metric for metric in map(describe_ranking_metric, self.metrics or ()) if metric is not None]
        return {**self.plan.describe(), "metrics": known or None, **self._weights}

    def compile_as(self, compiled: dict[str, Any]) -> None:
        """Choose again what `compiled` described."""
        metrics = compiled["metrics"] and [described_ranking_metric(metric) for metric in compiled["metrics"]]
        self.compile(**{**described_plan(compiled), "metrics": metrics})

    def _loss(self, precision: torch.dtype) -> RankingLoss:
        return RankingLoss(self.objectives, precision=precision, **self._weights)

    def fit(
        self,
        train: Dataset,
        validation_data: Dataset | None = None,
        *,
        batch_size: int = 4096,
        epochs: int = 1,
        callbacks: Iterable[Callback] = (),
        resume_from: str | Path | None = None,
        device: str = "auto",
        seed: int = 0,
        verbose: bool = True,
    ) -> History:
        """Train on rows with targets and measure on `validation_data` after each epoch.

        Called again, it goes on from the weights, with a new optimizer and a new history. What `calibrate` found is
        dropped: it belonged to the old weights.

        Args:
            train: the rows.
            validation_data: later rows.
            batch_size: rows of a step.
            epochs: in all, those of a resumed checkpoint included.
            callbacks: `EarlyStopping("val_auc")`, `Checkpoint`, or your own.
            resume_from: a folder that `Checkpoint` wrote.
            device: `"auto"`, `"cpu"`, `"cuda"`.
            seed: of order and dropout.
            verbose: progress bars and a line per epoch on stderr.

        Raises:
            UnknownColumnError: a column of the schema is missing.
            DataError: no rows; a target with nulls, with one value only, or with values besides 0 and 1; row weights
                that are no weights.
            SettingError: a metric by query, and no column is tagged as the user's id.
            NonFiniteLossError: the loss became NaN or infinite.
        """
        check_targets(train, self.objectives)
        check_chain(train, self.heads, self.targets)
        if self._weights["sample_weight"] is not None:
            check_weights(train, self._weights["sample_weight"])
        if validation_data is not None:
            self._group(None, self.metrics or ())
        self.calibrators = {}
        chosen = chosen_device(device)
        self.network.to(chosen)
        loss = self._loss(chosen_precision(self.plan.precision, chosen))
        weight = [] if loss.sample_weight is None else [loss.sample_weight]
        columns = list(dict.fromkeys([*self.input_schema.column_names, *weight]))
        trainer = Trainer(
            self.network,
            self.plan.optimizer_of(self.network),
            Loader(train, batch_size, seed=seed, columns=columns, targets=self.targets),
            RankingStep(self.network, loss, chosen),
            seed=seed,
        )
        validate = None if validation_data is None else lambda: self.evaluate(validation_data)
        return trainer.fit(epochs, validate=validate, callbacks=callbacks, resume_from=resume_from, verbose=verbose)

    @torch.inference_mode()
    def _probabilities(self, features: Mapping[str, Tensor]) -> Tensor:
        """Scores of a batch, on the CPU: [batch, targets] float32."""
        self.network.eval()
        device = self.network.tables.device
        return self.activated(self.network({name: tensor.to(device) for name, tensor in features.items()})).cpu()

    def activated(self, logits: Tensor) -> Tensor:
        """Probabilities, or amounts, of the network's logits [batch, targets]."""
        logits, is_binary = logits.float(), [kind == BINARY for kind in self.objectives.values()]
        if all(is_binary):
            return logits.sigmoid()
        return torch.where(torch.tensor(is_binary, device=logits.device), logits.sigmoid(), logits)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.input_schema)} inputs, targets {self.targets})"
