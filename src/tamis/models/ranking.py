"""What all ranking models share: compile, fit, evaluate, predict."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from tamis.data.dataset import Dataset
from tamis.data.loader import Loader
from tamis.errors import SchemaError
from tamis.evaluation.calibration import Calibrator
from tamis.evaluation.ranking_metrics import (
    AUC,
    GAUC,
    NDCGByGroup,
    RankingMetric,
    describe_ranking_metric,
    described_ranking_metric,
)
from tamis.folders import read_json, write_json
from tamis.models.arguments import arguments_of, built
from tamis.models.network_model import NetworkModel
from tamis.models.ranking_objective import RankingObjective
from tamis.models.scoring import ScoringModel
from tamis.nn.embeddings import EmbeddingOptions, EmbeddingTables
from tamis.nn.experts import ESMM, HeadSettings
from tamis.nn.inputs import Inputs, split_inputs
from tamis.nn.precision import chosen_device, chosen_precision
from tamis.nn.ranking_network import Body, Heads, RankingNetwork
from tamis.schema import Schema, Tags
from tamis.training.callbacks import Callback
from tamis.training.history import History
from tamis.training.optimizers import OptimizerSettings
from tamis.training.ranking_losses import POINTWISE
from tamis.training.ranking_negatives import RandomNegatives
from tamis.training.ranking_step import BINARY, REGRESSION, RankingLoss, RankingStep
from tamis.training.schedules import Schedule
from tamis.training.trainer import Trainer
from tamis.training.training_plan import TrainingPlan, described_plan
from tamis.training.weight_averaging import WeightAverage

_LEARNED_BY = "learned_by.json"


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
    order_metrics: ClassVar[tuple[RankingMetric, ...]] = (AUC(), GAUC(), NDCGByGroup())

    def __init__(
        self, schema: Schema, *, embedding_options: EmbeddingOptions | None, heads: HeadSettings | None, seed: int
    ) -> None:
        self.embedding_options = options = embedding_options or EmbeddingOptions(embedding_dim_default=16)
        self.heads = heads
        self.target_schema = schema.select_by_tag(Tags.TARGET)
        self.input_schema = schema - self.target_schema
        self.schema = self.input_schema + self.target_schema
        self.calibrators: dict[str, Calibrator] = {}
        self._learned_by: str | None = None  # the loss of the last fit, which says what scores are
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
        if isinstance(self.heads, ESMM) and REGRESSION in self._kinds.values():
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
        loss: str | None = None,
        group: str | None = None,
        negatives: RandomNegatives | None = None,
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
            loss: what targets of 0 and 1 are learned by. `"pointwise"`, the default: log loss, each row by itself.
                `"bpr"` and `"softmax"`: the order of the rows of a slate, in pairs of a positive and a negative, or by
                the share of the choice that each row gets; see `slate_bpr` and `slate_softmax`. Scores are then no
                probabilities, until `calibrate` makes these of them. Amounts are learned by squared error always.
            group: the column whose equal values make a slate, as a query or an impression has it, of whole numbers;
                by default the user id. Rows of a slate are trained on in the same step; a slate of more rows than the
                batch is cut by lot into as few parts as fit. It may be outside the model's schema. Metrics by query
                take it too.
            negatives: `RandomNegatives(...)` draws rows of label 0 in training, for logs that hold only what was
                chosen. With a loss by slates and no `group`, a slate is one positive with its own draws.
            learning_rate: for an optimizer given by name.
            schedule: how the learning rates change: `"constant"`, `"linear"`, `"cosine"`, `"exponential"`, or one with
                settings such as `CosineSchedule(warm_up_steps=500)`.
            clip_norm: the most that the gradient's norm may be, over dense weights and touched rows together.
            embedding_l2: the loss gets half of this times the squared norms of all embedding rows, paid by each row
                when a step touches it; an optimizer's `weight_decay` is apart from the loss and for all weights.
            average: `WeightAverage(...)` to validate and end with averaged weights.
            metrics: by default AUC and log loss of probabilities, RMSE of amounts, AUC, GAUC and NDCG@10 by query of
                an order.
            target_weights: how much each target counts in the loss; 1 by default.
            positive_weight: how much a positive row counts beside a negative one, pointwise.
            sample_weight: a column of row weights of the training data; leave it out of the model's schema. Drawn
                negatives have the weight of their positive.
            precision: of the matrix products in training: `"float32"`, `"bfloat16"`, or `"auto"`, which is bfloat16
                where the processor multiplies it fast.
            run_eagerly: for debugging: plain float32 whatever `precision` says.

        Raises:
            UnknownNameError: a name that is not known.
            SettingError: a setting out of range, a loss by slates without slates, or a metric that none of the targets
                can have.
            SchemaError: negatives where columns do not tell the item from its query.
        """
        objective = RankingObjective(
            loss or POINTWISE, group, negatives, dict(target_weights or {}), positive_weight, sample_weight
        )
        objective.check(self.input_schema, self._kinds, self.heads)
        plan = TrainingPlan.chosen(
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
        scores = objective.scores(self._kinds)
        chosen = None if metrics is None else self._resolved(metrics, where="compile", objectives=scores)
        self.objective, self.plan, self.metrics = objective, plan, chosen

    def compiled(self) -> dict[str, Any]:
        """What `compile` chose, as JSON can hold it."""
        known = [metric for metric in map(describe_ranking_metric, self.metrics or ()) if metric is not None]
        return {**self.plan.describe(), "metrics": known or None, **self.objective.describe()}

    def compile_as(self, compiled: dict[str, Any]) -> None:
        """Choose again what `compiled` described."""
        metrics = compiled["metrics"] and [described_ranking_metric(metric) for metric in compiled["metrics"]]
        objective = RankingObjective.described(compiled)
        given = {**objective.describe(), "negatives": objective.negatives}
        self.compile(**{**described_plan(compiled), **given, "metrics": metrics})

    @property
    def _kinds(self) -> dict[str, str]:
        """Binary or regression by target."""
        return super().objectives

    @property
    def objectives(self) -> dict[str, str]:
        """What each target's scores are: `"binary"`, `"regression"`, or `"ranking"` where they tell an order."""
        learned_by = self._learned_by or self.objective.loss
        return replace(self.objective, loss=learned_by).scores(self._kinds)

    def _loss(self, precision: torch.dtype) -> RankingLoss:
        return self.objective.of_targets(self._kinds, self.input_schema, precision)

    def _group(self, group: str | None, metrics: Iterable[RankingMetric]) -> str | None:
        return super()._group(group or self.objective.group, metrics)

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
        dropped: it belonged to the old weights. Slates that teach nothing or are cut are told on stderr.

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
            DataError: no rows; a target with nulls, with one value only (1 is enough where negatives are drawn, but
                not in the validation data), or with values besides 0 and 1; row weights that are no weights; no slate
                with a positive and a negative.
            SettingError: a metric by query, and no column is tagged as the user's id; one item only to draw negatives
                from.
            NonFiniteLossError: the loss became NaN or infinite.
        """
        if validation_data is not None:
            self._group(None, self._measured(self.metrics))
        told = self.objective.check_rows(
            train, validation_data, self.input_schema, self._kinds, self.heads, batch_size=batch_size
        )
        if told is not None and verbose:
            print(told, file=sys.stderr)
        self.calibrators, self._learned_by = {}, self.objective.loss
        chosen = chosen_device(device)
        self.network.to(chosen)
        loss = self._loss(chosen_precision(self.plan.precision, chosen))
        weight = [] if loss.sample_weight is None else [loss.sample_weight]
        columns = list(dict.fromkeys([*self.input_schema.column_names, *weight]))
        negatives = self.objective.negative_rows(train, self.input_schema, chosen)
        trainer = Trainer(
            self.network,
            self.plan.optimizer_of(self.network),
            Loader(train, batch_size, seed=seed, columns=columns, targets=self.targets, group=loss.slate),
            RankingStep(self.network, loss, chosen, negatives),
            seed=seed,
        )
        validate = None if validation_data is None else lambda: self.evaluate(validation_data)
        return trainer.fit(epochs, validate=validate, callbacks=callbacks, resume_from=resume_from, verbose=verbose)

    def save_parts(self, folder: Path) -> None:
        """Write what `calibrate` found, and by which loss was learned where `compile` has chosen another since."""
        super().save_parts(folder)
        if self._learned_by not in (None, self.objective.loss):
            write_json(folder / _LEARNED_BY, {"loss": self._learned_by})

    def load_parts(self, folder: Path) -> None:
        """Read what `save_parts` wrote."""
        super().load_parts(folder)
        is_other = (folder / _LEARNED_BY).is_file()
        self._learned_by = read_json(folder / _LEARNED_BY)["loss"] if is_other else self.objective.loss

    @torch.inference_mode()
    def _probabilities(self, features: Mapping[str, Tensor]) -> Tensor:
        """Scores of a batch, on the CPU: [batch, targets] float32."""
        self.network.eval()
        device = self.network.tables.device
        return self.activated(self.network({name: tensor.to(device) for name, tensor in features.items()})).cpu()

    def activated(self, logits: Tensor) -> Tensor:
        """Probabilities, amounts, or scores as they are, of the network's logits [batch, targets]."""
        logits, is_binary = logits.float(), [kind == BINARY for kind in self.objectives.values()]
        chances = _exported_sigmoid(logits) if torch.compiler.is_exporting() else logits.sigmoid()
        if all(is_binary):
            return chances
        return torch.where(torch.tensor(is_binary, device=logits.device), chances, logits)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.input_schema)} inputs, targets {self.targets})"


def _exported_sigmoid(logits: Tensor) -> Tensor:
    """ONNX Runtime's own gives 0 for all logits under -18: small chances would lose their order."""
    return 1 / (1 + torch.exp(-logits))
