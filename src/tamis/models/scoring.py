"""What all models that score rows share, whatever computes the scores: evaluate, calibrate, predict."""

from __future__ import annotations

import tempfile
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import polars as pl
from torch import Tensor

from tamis.data.batch import Batch
from tamis.data.dataset import Dataset
from tamis.data.loader import Loader
from tamis.errors import DataError, SchemaError, SettingError
from tamis.evaluation.calibration import Calibrator, calibration_method, described_calibrator, fit_calibrator
from tamis.evaluation.probability_metrics import reliability
from tamis.evaluation.ranking_metrics import (
    AUC,
    GROUP,
    LABEL,
    RMSE,
    SCORE,
    LogLoss,
    NDCGByGroup,
    RankingMetric,
    measure_rows,
    resolve_ranking_metrics,
)
from tamis.folders import read_json, write_json
from tamis.models.model import Model
from tamis.models.target_check import check_targets
from tamis.schema import ColumnSchema, Schema, Tags
from tamis.training.ranking_step import BINARY, REGRESSION

RANKING = "ranking"  # an objective whose scores say an order and nothing else
_CALIBRATION = "calibration.json"
_ROWS_PER_PART = 1_000_000  # scores held in memory while a dataset is judged


class ScoringModel(Model):
    """Scores rows of (query, candidate): one probability, or amount, per target."""

    input_schema: Schema
    target_schema: Schema
    metrics: tuple[RankingMetric, ...] | None
    calibrators: dict[str, Calibrator]
    order_metrics: ClassVar[tuple[RankingMetric, ...]] = (NDCGByGroup(),)  # of an order, where none are chosen

    @abstractmethod
    def _probabilities(self, features: Mapping[str, Tensor]) -> Tensor:
        """Scores of a batch, on the CPU: [batch, targets] float32."""

    @property
    def targets(self) -> list[str]:
        """Names of the targets."""
        return self.target_schema.column_names

    @property
    def objectives(self) -> dict[str, str]:
        """`"binary"`, `"regression"` or, of models that learn an order, `"ranking"` by target."""
        return {c.name: REGRESSION if c.has_tag(Tags.REGRESSION) else BINARY for c in self.target_schema}

    def evaluate(
        self,
        dataset: Dataset,
        *,
        metrics: Iterable[str | RankingMetric] | None = None,
        group: str | None = None,
        calibrated: bool = True,
        batch_size: int = 16_384,
    ) -> dict[str, float]:
        """Metrics of the scores of all rows. A target has those of the metrics that suit it.

        Args:
            dataset: rows with targets.
            metrics: by default the compiled ones.
            group: the column of the queries that rows belong to, for metrics by query; by default the one that the
                model learned an order within, else the user id.
            calibrated: judge what `calibrate` made of the scores, if it was called; else the network's own.
            batch_size: rows scored at once.

        Returns: each metric by name; with several targets, the target's name and `_` before it.

        Raises:
            SettingError: a metric that none of the targets can have, such as one of probabilities where the scores
                tell an order and `calibrate` has made no probabilities of them; or one by query where no query is
                known.
            DataError: labels besides 0 and 1 where a target or metric asks for these, or scores that are not finite.
        """
        objectives = self._judged_as(calibrated)
        asked = self.metrics if metrics is None else metrics
        chosen = None if asked is None else self._resolved(asked, where="evaluate", objectives=objectives)
        group = self._group(group, self._measured(chosen, objectives))
        with self._scored(dataset, group, batch_size, calibrated=calibrated) as scores:
            return self._judged(scores, chosen, objectives)

    def _judged(
        self,
        scores: pl.LazyFrame,
        chosen: Sequence[RankingMetric] | None,
        objectives: Mapping[str, str] | None = None,
    ) -> dict[str, float]:
        """Each target's metrics of rows with their scores, labels and groups."""
        found: dict[str, float] = {}
        for name, objective in (objectives or self.objectives).items():
            suited = self._suited(chosen, objective)
            _check_rows(name, _rows_of(name, scores), objective, suited)
            values = measure_rows(_rows_of(name, scores), suited)
            found |= {(key if len(self.targets) == 1 else f"{name}_{key}"): v for key, v in values.items()}
        return found

    def _judged_as(self, calibrated: bool) -> dict[str, str]:
        """The objective by target, where `calibrate` makes a probability of an order."""
        curves = self.calibrators if calibrated else {}
        return {name: BINARY if name in curves else objective for name, objective in self.objectives.items()}

    def _suited(self, chosen: Sequence[RankingMetric] | None, objective: str) -> list[RankingMetric]:
        """Those of the chosen metrics, or of the usual ones, that a target of this objective can have."""
        if objective == RANKING:
            return [metric for metric in chosen or self.order_metrics if metric.reads_order]
        if objective == REGRESSION:
            return [metric for metric in chosen or (RMSE(),) if not metric.needs_binary]
        return list(chosen or (AUC(), LogLoss()))

    def _measured(
        self, chosen: Sequence[RankingMetric] | None, objectives: Mapping[str, str] | None = None
    ) -> list[RankingMetric]:
        """The metrics that some target has."""
        kinds = (objectives or self.objectives).values()
        return [metric for objective in kinds for metric in self._suited(chosen, objective)]

    def _resolved(
        self, metrics: Iterable[str | RankingMetric], *, where: str, objectives: Mapping[str, str] | None = None
    ) -> tuple[RankingMetric, ...]:
        resolved = tuple(resolve_ranking_metrics(metrics))
        for metric in resolved:
            if not self._measured([metric], objectives):
                raise SettingError(f"{where}: the metric {metric.name!r} {self._unsuited(objectives)}")
        return resolved

    def _unsuited(self, objectives: Mapping[str, str] | None) -> str:
        if RANKING in (objectives or self.objectives).values():
            return (
                "reads scores as probabilities or amounts, and the scores of the objective 'ranking' only tell an "
                "order. Choose 'ndcg_by_group', 'gauc' or 'auc', or make probabilities of them with calibrate."
            )
        return f"is about probabilities, and the targets {self.targets} are amounts. Choose 'rmse'."

    def _group(self, group: str | None, metrics: Iterable[RankingMetric]) -> str | None:
        """The column of the queries, where a metric needs it."""
        needed = next((metric.name for metric in metrics if metric.needs_group), None)
        found = group or next(iter(self.input_schema.select_by_tag(Tags.USER_ID).column_names), None)
        if needed is not None and found is None:
            raise SettingError(
                f"evaluate: the metric {needed!r} needs the queries that rows belong to, and no input is tagged "
                "USER_ID. Tag one, or name a column with evaluate(group=...) and train without this metric."
            )
        return found if needed else None

    @contextmanager
    def _scored(
        self, dataset: Dataset, group: str | None, batch_size: int, *, calibrated: bool
    ) -> Iterator[pl.LazyFrame]:
        """Labels, scores and groups of all rows, as parquet in a passing folder where they are many."""
        with tempfile.TemporaryDirectory(prefix="tamis-scores-") as name:
            folder, parts, num_files = Path(name), list[pl.DataFrame](), 0
            for part in self._scored_batches(dataset, group, batch_size, calibrated=calibrated):
                parts.append(part)
                if sum(map(len, parts)) >= _ROWS_PER_PART:
                    pl.concat(parts).write_parquet(folder / f"{num_files}.parquet")
                    num_files += 1
                    parts = []
            written = [pl.scan_parquet(folder / "*.parquet")] if num_files else []
            yield pl.concat([*written, *([pl.concat(parts).lazy()] if parts else [])])

    def _scored_batches(
        self, dataset: Dataset, group: str | None, batch_size: int, *, calibrated: bool
    ) -> Iterator[pl.DataFrame]:
        columns = list(dict.fromkeys([*self.input_schema.column_names, *([group] if group else [])]))
        for batch in self._batches(dataset, batch_size, columns, self.targets):
            # The words before the names keep targets called "group", or "a" and "a_score", apart.
            scores = self._scores(batch.features, calibrated=calibrated)
            frame = {f"score {name}": scores[f"{name}_score"] for name in self.targets}
            frame |= {f"label {name}": pl.Series(batch.targets[name].float().numpy()) for name in self.targets}
            frame |= {GROUP: pl.Series(batch.features[group].numpy())} if group else {}
            yield pl.DataFrame(frame)

    def _batches(
        self, dataset: Dataset, batch_size: int, columns: Sequence[str], targets: Sequence[str]
    ) -> Iterable[Batch]:
        """All rows in order, as `_probabilities` takes them."""
        return Loader(dataset, batch_size, shuffle=False, columns=columns, targets=targets)

    def calibrate(self, dataset: Dataset, method: str = "isotonic", *, batch_size: int = 16_384) -> None:
        """Learn, for each score, what share of rows with it came true; `predict` then says that share.

        The order of rows stays, but for scores that become equal. Save and load keep it, `fit` drops it. Weighted or
        sampled training rows shift the scores; this shifts them back to the rate of `dataset`. Scores that tell an
        order become probabilities by it.

        Args:
            dataset: rows that the model was not trained on, with targets, as they will be met later.
            method: `"isotonic"` follows any rising curve and wants some thousand positives; `"platt"` fits two
                numbers, for few.
            batch_size: rows scored at once.

        Raises:
            UnknownNameError: no method of this name.
            SchemaError: all targets are amounts.
            DataError: no rows, or a target with nulls, with one value only, or with values besides 0 and 1.
        """
        calibration_method(method)
        curved = {name: kind for name, kind in self.objectives.items() if kind != REGRESSION}
        if not curved:
            raise SchemaError(f"calibrate: {self._no_probability()}")
        check_targets(dataset, dict.fromkeys(curved, BINARY), where="calibrate")
        kinds = {name: calibration_method(method, of_order=kind == RANKING) for name, kind in curved.items()}
        with self._scored(dataset, None, batch_size, calibrated=False) as scores:
            self.calibrators = {name: fit_calibrator(_rows_of(name, scores), kind) for name, kind in kinds.items()}

    def reliability(
        self,
        dataset: Dataset,
        *,
        bins: int = 15,
        equal_width: bool = False,
        calibrated: bool = True,
        batch_size: int = 16_384,
    ) -> pl.DataFrame:
        """How often each probability came true, in bins as `ECE` makes them; `write_report` draws it.

        Returns: `target`, `low`, `high` (scores of the bin), `rows`, `score` (the mean), `rate` (of positives).

        Raises:
            SchemaError: no target is a probability.
            SettingError: fewer than one bin.
        """
        binary = [name for name, objective in self._judged_as(calibrated).items() if objective == BINARY]
        if not binary:
            raise SchemaError(f"reliability: {self._no_probability()}")
        with self._scored(dataset, None, batch_size, calibrated=calibrated) as scores:
            tables = {name: reliability(_rows_of(name, scores), bins, equal_width=equal_width) for name in binary}
            named = [table.select(pl.lit(name).alias("target"), pl.all()) for name, table in tables.items()]
            return pl.concat(named).collect(engine="streaming")

    def _no_probability(self) -> str:
        is_order = RANKING in self.objectives.values()
        kind = "learned as an order" if is_order else "amounts"
        way_out = "Call calibrate first" if is_order else "Use a model with a target that is not tagged REGRESSION"
        return f"the targets {self.targets} are {kind}, and only a probability can come true. {way_out}."

    def save_parts(self, folder: Path) -> None:
        """Write what `calibrate` found."""
        if self.calibrators:
            write_json(folder / _CALIBRATION, {name: curve.describe() for name, curve in self.calibrators.items()})

    def load_parts(self, folder: Path) -> None:
        """Read what `save_parts` wrote."""
        if (folder / _CALIBRATION).is_file():
            found = read_json(folder / _CALIBRATION)
            self.calibrators = {name: described_calibrator(curve) for name, curve in found.items()}

    def predict(self, dataset: Dataset, *, calibrated: bool = True, batch_size: int = 16_384) -> Dataset:
        """The rows with a column `<target>_score` for each target: a probability, an amount, or a number that orders.

        `calibrated=False` gives the network's own scores where `calibrate` was called.
        """
        batches = self._batches(dataset, batch_size, self.input_schema.column_names, ())
        scores = pl.concat(self._scores(batch.features, calibrated=calibrated) for batch in batches)
        new = Schema(ColumnSchema(name, "float32") for name in scores.columns)
        return Dataset(dataset.compute().with_columns(scores), schema=dataset.schema + new)

    def _scores(self, features: Mapping[str, Tensor], *, calibrated: bool) -> pl.DataFrame:
        """A column `<target>_score` for each target, float32."""
        curves = self.calibrators if calibrated else {}
        scores = dict(zip(self.targets, self._probabilities(features).T.numpy(), strict=True))
        return pl.DataFrame({f"{n}_score": curves[n].apply(s) if n in curves else s for n, s in scores.items()})


def _rows_of(target: str, scores: pl.LazyFrame) -> pl.LazyFrame:
    """The rows as metrics read them."""
    renamed = scores.with_columns(pl.col(f"score {target}").alias(SCORE), pl.col(f"label {target}").alias(LABEL))
    return renamed.select(pl.col(SCORE), pl.col(LABEL), pl.selectors.by_name(GROUP, require_all=False))


def _check_rows(target: str, rows: pl.LazyFrame, objective: str, metrics: Iterable[RankingMetric]) -> None:
    """Refuse rows that no metric can be about."""
    picky = next((metric.name for metric in metrics if metric.needs_binary), None)
    other = (~pl.col(LABEL).is_in([0.0, 1.0])).sum() if objective == BINARY or picky else pl.lit(0)
    counted = rows.select(
        no_score=(~pl.col(SCORE).is_finite()).sum(), other=other, low=pl.min(LABEL), high=pl.max(LABEL)
    )
    without_score, other_labels, low, high = counted.collect(engine="streaming").row(0)
    if without_score:
        raise DataError(
            f"evaluate: {without_score:,} rows have no finite score of {target!r}. Look for NaN and huge values in the "
            "continuous columns, and fill or drop them."
        )
    if other_labels and objective == RANKING:
        raise DataError(
            f"evaluate: the target {target!r} holds grades from {low:g} to {high:g}, but {picky!r} is about 0 and 1. "
            "Choose 'ndcg_by_group'."
        )
    if other_labels:
        raise DataError(
            f"evaluate: the target {target!r} holds values from {low:g} to {high:g}, but is a probability, which comes "
            "true or not: 0 or 1. Give the data in the form that the model was trained on."
        )
