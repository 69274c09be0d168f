"""What models of boosted trees share, whichever library grows the trees: compile, fit, score, save."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
import torch
from torch import Tensor

from tamis.data.batch import Batch
from tamis.data.dataset import Dataset
from tamis.errors import DataError, NotFittedError, SchemaError, SettingError, UnknownNameError
from tamis.evaluation.calibration import Calibrator
from tamis.evaluation.ranking_metrics import GROUP, RankingMetric, describe_ranking_metric, described_ranking_metric
from tamis.models.arguments import arguments_of, built
from tamis.models.scoring import RANKING, ScoringModel
from tamis.models.target_check import check_grades, check_targets, check_weights
from tamis.models.tree_growth import Growth, Trees, grow_together
from tamis.models.tree_rows import Floats, TreeInputs, TreeRows, nullable_batches, read_rows
from tamis.schema import Schema, Tags
from tamis.training.callbacks import EarlyStopping
from tamis.training.history import History
from tamis.training.ranking_step import BINARY

AUTO = "auto"
_BATCH_ROWS = 65_536


class TreeModel(ScoringModel):
    """Boosted trees: one ensemble per target, over numbers, vectors and codes.

    Columns tagged TARGET are what is predicted, those tagged REGRESSION as amounts, all others as probabilities; with
    `objective="ranking"` as an order within each query. All other columns are inputs: categorical ones are split by
    sets of codes, a null in a number is a missing value, and a null category has the code 1, as Categorify gives it.

    What all rows of a query share cannot order them: a split by it lowers no loss of `"ranking"` until another column
    meets it. So an order that hangs on pairs alone (this user, that item) is found late or never, where `"auto"` finds
    it and orders by the probability; with columns that differ within queries both do.

    Args:
        schema: inputs and targets.
        objective: `"auto"` learns what the targets' tags say; `"ranking"` the order of one target's labels, 0 and 1 or
            grades, within each query.
        group: the column of the queries that rows belong to; by default the user id. It may be outside the schema.
        params: the library's own settings of the trees, by the library's names.

    Raises:
        SchemaError: no target, no input, several targets to rank by, or an input that trees cannot read.
        SettingError: a setting that is given elsewhere, or an order without a column of queries.
        UnknownNameError: no such objective.
        MissingExtraError: the library is not installed.
    """

    elsewhere: ClassVar[Mapping[str, str]]  # settings of the library that Tamis gives, and where a user gives them

    def __init__(
        self,
        schema: Schema,
        *,
        objective: str = AUTO,
        group: str | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        where = type(self).__name__
        self._need_library()
        self.objective, self.group, self.params = objective, group, dict(params or {})
        self.target_schema = schema.select_by_tag(Tags.TARGET)
        self.input_schema = schema - self.target_schema
        self.schema = self.input_schema + self.target_schema
        if not len(self.target_schema) or not len(self.input_schema):
            missing = "target. Tag one with AddTags([Tags.TARGET])" if len(self.input_schema) else "input column"
            raise SchemaError(f"{where}: the schema has no {missing}.")
        self.inputs = TreeInputs(self.input_schema, where=where)
        self.calibrators: dict[str, Calibrator] = {}
        self._trees: dict[str, Trees] = {}
        self._check_settings(where)
        self.compile()

    def _check_settings(self, where: str) -> None:
        if self.objective not in (AUTO, RANKING):
            raise UnknownNameError(self.objective, (AUTO, RANKING), where=where, what="objective")
        for name in self.params:
            if name in self.elsewhere:
                raise SettingError(f"{where}: params holds {name!r}, which is given by {self.elsewhere[name]}.")
        if self.objective == RANKING and len(self.targets) > 1:
            raise SchemaError(
                f"{where}: rows have one order, but here are the targets {self.targets}. Leave one, or rank by a "
                "graded target that says how much each event is worth."
            )
        if self.objective == RANKING and self._query_column is None:
            raise SettingError(
                f"{where}: an order is learned within queries, and no input is tagged USER_ID. Tag one, or name the "
                "column of the queries with group=."
            )

    @property
    def _query_column(self) -> str | None:
        return self.group or next(iter(self.input_schema.select_by_tag(Tags.USER_ID).column_names), None)

    @abstractmethod
    def _need_library(self) -> None:
        """Raise MissingExtraError where the library is not installed."""

    @abstractmethod
    def _growth(
        self, target: str, rows: TreeRows, validation: TreeRows | None, *, seed: int, num_threads: int
    ) -> Growth:
        """Trees of a target, none yet."""

    @abstractmethod
    def _load_trees(self, folder: Path, name: str) -> Trees:
        """What `Trees.save` wrote."""

    @property
    def objectives(self) -> dict[str, str]:
        """`"binary"`, `"regression"` or `"ranking"` by target."""
        found = super().objectives
        return dict.fromkeys(found, RANKING) if self.objective == RANKING else found

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments besides the schema, as JSON can hold them."""
        return arguments_of(self)

    @classmethod
    def from_settings(cls, schema: Schema, settings: dict[str, Any]) -> Self:
        """The model that `settings` described, untrained."""
        return cls(schema, **built(settings, where=cls.__name__))

    def compile(
        self,
        *,
        learning_rate: float = 0.1,
        metrics: Iterable[str | RankingMetric] | None = None,
        positive_weight: float = 1.0,
        sample_weight: str | None = None,
    ) -> None:
        """Choose how to train and what to measure.

        Args:
            learning_rate: how much of each tree counts.
            metrics: by default AUC and log loss of probabilities, RMSE of amounts, NDCG@10 by query of an order.
            positive_weight: how much a positive row counts beside a negative one, for all binary targets.
            sample_weight: a column of row weights of the training data; leave it out of the model's schema. Where an
                order is learned, a query counts with the mean weight of its rows.

        Raises:
            UnknownNameError: a name that is not known.
            SettingError: a setting out of range, or a metric that none of the targets can have.
        """
        if not learning_rate > 0:
            raise SettingError(f"compile: learning_rate is {learning_rate}. Choose a number above 0.")
        if not positive_weight > 0:
            raise SettingError(f"compile: positive_weight is {positive_weight}. Choose a number above 0.")
        if positive_weight != 1 and BINARY not in self.objectives.values():
            raise SettingError(
                f"compile: positive_weight is {positive_weight}, but no target is a probability. Leave it out, or "
                "weigh rows with sample_weight."
            )
        self.learning_rate, self.positive_weight = learning_rate, positive_weight
        self.sample_weight = sample_weight
        self.metrics = None if metrics is None else self._resolved(metrics, where="compile")

    def compiled(self) -> dict[str, Any]:
        """What `compile` chose, as JSON can hold it."""
        known = [metric for metric in map(describe_ranking_metric, self.metrics or ()) if metric is not None]
        names = ("learning_rate", "positive_weight", "sample_weight")
        return {"metrics": known or None, **{name: getattr(self, name) for name in names}}

    def compile_as(self, compiled: dict[str, Any]) -> None:
        """Choose again what `compiled` described."""
        metrics = compiled["metrics"] and [described_ranking_metric(metric) for metric in compiled["metrics"]]
        self.compile(**{**compiled, "metrics": metrics})

    def fit(
        self,
        train: Dataset,
        validation_data: Dataset | None = None,
        *,
        num_trees: int = 100,
        early_stopping: EarlyStopping | None = None,
        num_threads: int | None = None,
        seed: int = 0,
        verbose: bool = True,
    ) -> History:
        """Grow trees from rows with targets, and measure on `validation_data` after each tree.

        The rows are read into memory, as numbers of 4 bytes. Called again, it starts anew. What `calibrate` found is
        dropped: it belonged to the old trees.

        Args:
            train: the rows, in any order.
            validation_data: later rows.
            num_trees: of each target, at most.
            early_stopping: such as `EarlyStopping("val_auc", patience=20)`: an epoch is a tree here. With
                `restore_best` the trees after the best are dropped. All targets stop together.
            num_threads: by default all cores.
            seed: of what the library draws.
            verbose: a progress bar and a line at the end on stderr.

        Returns: figures per tree: `loss` (log loss, squared error, or 1 - NDCG@10, of the training rows, the targets'
            sum), `rows_per_s`, and the metrics of the validation rows as `val_...`.

        Raises:
            UnknownColumnError: a column of the schema is missing.
            UnknownNameError: `early_stopping` monitors what is not in the history; a setting the library has not.
            DataError: no rows; a target with nulls, with one value only, or with values that are not its objective's;
                row weights that are no weights; an order, but no query with two different labels.
            SettingError: a number out of range, or a setting that the library refuses.
        """
        for name, value in {"num_trees": num_trees, "num_threads": num_threads or 1}.items():
            if value < 1:
                raise SettingError(f"fit: {name} is {value}. Choose 1 or more.")
        rows = self._training_rows(train)
        validation = None if validation_data is None else self._read(validation_data, self._validation_group())
        self.calibrators = {}
        growing = {
            name: self._growth(name, rows, validation, seed=seed, num_threads=num_threads or 0) for name in self.targets
        }
        validate = None if validation is None else lambda: self._validated(growing, validation)
        history = grow_together(
            growing, num_trees, len(rows.matrix), validate=validate, early_stopping=early_stopping, verbose=verbose
        )
        use_best = early_stopping is not None and early_stopping.restore_best
        kept = early_stopping.best_epoch if early_stopping is not None and use_best else history.num_epochs
        self._trees = {name: growth.trees(kept) for name, growth in growing.items()}
        return history

    def _validated(self, growing: Mapping[str, Growth], rows: TreeRows) -> dict[str, float]:
        frame = {f"score {name}": growth.validation_scores() for name, growth in growing.items()}
        frame |= {f"label {name}": label for name, label in rows.labels.items()}
        groups = {} if rows.groups is None else {GROUP: rows.groups}
        values = self._judged(pl.DataFrame({**frame, **groups}).lazy(), self.metrics)
        return {f"val_{name}": value for name, value in values.items()}

    def _training_rows(self, train: Dataset) -> TreeRows:
        check_targets(train, self.objectives)
        if self.objective == RANKING:
            check_grades(train, self.targets[0])
        if self.sample_weight is not None:
            check_weights(train, self.sample_weight)
            train = train.filter(pl.col(self.sample_weight) > 0)  # what weighs nothing would still shape the bins
        group = self._query_column if self.objective == RANKING else None
        rows = self._read(train, group, weight=self.sample_weight)
        if rows.sizes is not None:
            _check_order(rows, self.targets[0], str(group))
        return rows

    def _validation_group(self) -> str | None:
        by_metric = self._group(None, self._measured(self.metrics))
        return self._query_column if self.objective == RANKING else by_metric

    def _read(self, dataset: Dataset, group: str | None, *, weight: str | None = None) -> TreeRows:
        columns = [*self.input_schema.column_names, *(name for name in (group, weight) if name is not None)]
        batches = self._batches(dataset, _BATCH_ROWS, list(dict.fromkeys(columns)), self.targets)
        rows = read_rows(batches, self.inputs, weight=weight, group=group)
        return rows.by_query() if self.objective == RANKING else rows

    def _weights_of(self, target: str, rows: TreeRows) -> Floats | None:
        """The weights of the rows for a target."""
        if self.positive_weight == 1 or self.objectives[target] != BINARY:
            return rows.weights
        weights = np.where(rows.labels[target] == 1, self.positive_weight, 1.0).astype(np.float32)
        return weights if rows.weights is None else weights * rows.weights

    def _group(self, group: str | None, metrics: Iterable[RankingMetric]) -> str | None:
        return super()._group(group or self.group, metrics)

    def _batches(
        self, dataset: Dataset, batch_size: int, columns: Sequence[str], targets: Sequence[str]
    ) -> Iterable[Batch]:
        return nullable_batches(dataset, batch_size, self.inputs, columns, targets)

    def _probabilities(self, features: Mapping[str, Tensor]) -> Tensor:
        """Scores of a batch: [batch, targets] float32."""
        matrix = self.inputs.matrix(features)
        scores = [self._grown()[name].scores(matrix) for name in self.targets]
        return torch.from_numpy(np.stack(scores, axis=1).astype(np.float32))

    def _grown(self) -> dict[str, Trees]:
        if not self._trees:
            raise NotFittedError(f"{type(self).__name__}: it has no trees yet. Call fit first.")
        return self._trees

    def save_learned(self, folder: Path) -> None:
        """Write the trees of each target as text."""
        for number, trees in enumerate(self._grown().values()):
            trees.save(folder, f"trees_{number}")

    def load_learned(self, folder: Path) -> None:
        """Read the trees."""
        self._trees = {name: self._load_trees(folder, f"trees_{number}") for number, name in enumerate(self.targets)}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.input_schema)} inputs, targets {self.targets})"


def _check_order(rows: TreeRows, target: str, group: str) -> None:
    """Refuse queries that compare nothing."""
    assert rows.sizes is not None
    starts = np.cumsum(rows.sizes) - rows.sizes
    label = rows.labels[target]
    if not (np.maximum.reduceat(label, starts) > np.minimum.reduceat(label, starts)).any():
        raise DataError(
            f"fit: no query of {group!r} has rows of different {target!r}, so there is no order to learn. Name the "
            "column of the queries with group=, or give rows that were shown and not chosen."
        )
