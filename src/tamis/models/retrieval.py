"""What two-tower models and matrix factorization share: compile, fit, evaluate, embeddings, save."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from tamis.data.dataset import Dataset, check_ids
from tamis.data.loader import Loader
from tamis.errors import NotFittedError, SchemaError
from tamis.evaluation.list_judging import Judgement, judge, judge_popularity
from tamis.evaluation.metrics import METRICS, Metric, NDCGAt, RecallAt, resolve_metrics
from tamis.evaluation.top_k import check_k
from tamis.models.encoder import Encoder, build_tower
from tamis.models.held_out import HeldOut
from tamis.models.item_table import Catalogue, ItemTable
from tamis.models.network_model import NetworkModel
from tamis.models.top_k_encoder import TopKEncoder
from tamis.models.tower_rows import encode_rows, tower_embeddings, unique_rows
from tamis.nn.embeddings import EmbeddingOptions, EmbeddingTables, check_codes
from tamis.nn.inputs import split_inputs
from tamis.nn.item_bias import ItemBias
from tamis.nn.mlp import MLPBlock
from tamis.nn.precision import chosen_device, chosen_precision
from tamis.nn.two_towers import TwoTowers
from tamis.schema import ColumnSchema, Schema, Tags
from tamis.training.callbacks import Callback
from tamis.training.history import History
from tamis.training.negatives import InBatchSampler, Sampler
from tamis.training.optimizers import OptimizerSettings
from tamis.training.retrieval_step import RetrievalLoss, RetrievalStep
from tamis.training.schedules import Schedule
from tamis.training.trainer import Trainer
from tamis.training.training_plan import TrainingPlan, described_plan
from tamis.training.weight_averaging import WeightAverage

_TUNING_QUERIES = 2000
POPULARITY = "popularity_"  # before the metrics of the list that is the same for everybody


class RetrievalModel(NetworkModel, ABC):
    """A query tower and a candidate tower, trained on rows in which a query chose an item.

    Subclasses say how the towers look. Metrics are over the whole catalogue: all items of the training data.

    Args:
        schema: the columns; those tagged USER, SESSION or CONTEXT make the query, those tagged ITEM the candidate.
        query_mlp: layers of the query tower; None ends at the embeddings.
        item_mlp: layers of the candidate tower.
        options: of the embeddings.
        samplers: where negatives come from.
        logits_temperature: divides the scores in the softmax.
        l2_normalization: vectors of length 1, so scores are cosines.
        logq_correction: correct the scores for the sampling of negatives.
        popularity_weight: each score gets this times the logarithm of the item's frequency; 0 adds no coordinate.
        seed: of the first weights.

    Raises:
        SchemaError: no item id, no query column, or a column that is neither categorical nor continuous.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        query_mlp: MLPBlock | None,
        item_mlp: MLPBlock | None,
        options: EmbeddingOptions,
        samplers: Sequence[Sampler],
        logits_temperature: float,
        l2_normalization: bool,
        logq_correction: bool,
        popularity_weight: float = 0.0,
        seed: int,
    ) -> None:
        self.query_schema, self.item_schema = _sides(schema)
        self.schema = self.query_schema + self.item_schema
        self.query_mlp, self.item_mlp, self.options = query_mlp, item_mlp, options
        self.samplers, self.logits_temperature = tuple(samplers), logits_temperature
        self.l2_normalization, self.logq_correction = l2_normalization, logq_correction
        self.popularity_weight = popularity_weight
        options.check_names(self.schema, where="embedding_dims")
        ends: dict[str, Any] = {"l2_normalization": l2_normalization, "item_bias": popularity_weight != 0}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            tables = EmbeddingTables(split_inputs(self.schema)[0], options)
            query = build_tower(self.query_schema, tables, options, query_mlp, **ends)
            item = build_tower(self.item_schema, tables, options, item_mlp, **ends)
        self.towers = TwoTowers(tables, query, item).eval()
        self.item_id: str = self.item_schema.select_by_tag(Tags.ITEM_ID).first.name
        self.items: ItemTable | None = None
        self.compile()

    @property
    def network(self) -> TwoTowers:
        """The towers."""
        return self.towers

    def compile(
        self,
        optimizer: str | OptimizerSettings | Mapping[str, str | OptimizerSettings] = "adam",
        *,
        learning_rate: float | None = None,
        schedule: str | Schedule | None = None,
        clip_norm: float | None = None,
        embedding_l2: float = 0.0,
        average: WeightAverage | None = None,
        loss: str | None = None,
        metrics: Iterable[str | Metric] | None = None,
        precision: str = "auto",
        run_eagerly: bool = False,
    ) -> None:
        """Choose how to train and what to measure.

        Args:
            optimizer: `"adam"`, `"adagrad"`, `"sgd"`, `"ftrl"`, or one with settings such as `Adam(0.01)`; or several
                by group, such as `{"embeddings": Adagrad(0.05), "dense": "adam"}` or
                `{"query": SGD(0.1), "*": "adam"}`: keys are `"embeddings"`, `"dense"`, `"*"` for the rest, and starts
                of weights' names.
            learning_rate: for an optimizer given by name.
            schedule: how the learning rates change: `"constant"`, `"linear"`, `"cosine"`, `"exponential"`, or one with
                settings such as `CosineSchedule(warm_up_steps=500)`.
            clip_norm: the most that the gradient's norm may be, over dense weights and touched rows together.
            embedding_l2: the loss gets half of this times the squared norms of all embedding rows, paid by each row
                when a step touches it; an optimizer's `weight_decay` is apart from the loss and for all weights.
            average: `WeightAverage(...)` to validate and end with averaged weights.
            loss: `"softmax"` (the default) or `"bpr"`.
            metrics: of the lists over the whole catalogue; by default Recall and NDCG at 10.
            precision: of the matrix products in training: `"float32"`, `"bfloat16"`, or `"auto"`, which is bfloat16
                where the processor multiplies it fast.
            run_eagerly: for debugging: plain float32 whatever `precision` says.

        Raises:
            UnknownNameError: a name that is not known.
            SettingError: a setting out of range.
        """
        self.plan = TrainingPlan.chosen(
            self.towers,
            optimizer,
            learning_rate=learning_rate,
            schedule=schedule,
            clip_norm=clip_norm,
            embedding_l2=embedding_l2,
            average=average,
            precision=precision,
            run_eagerly=run_eagerly,
        )
        self.loss = loss or "softmax"
        self._retrieval_loss(torch.float32)
        self.metrics = (RecallAt(10), NDCGAt(10)) if metrics is None else tuple(resolve_metrics(metrics))

    def _retrieval_loss(self, precision: torch.dtype) -> RetrievalLoss:
        return RetrievalLoss(
            self.samplers,
            loss=self.loss,
            logq_correction=self.logq_correction,
            temperature=self.logits_temperature,
            precision=precision,
        )

    def fit(
        self,
        train: Dataset,
        validation_data: Dataset | None = None,
        *,
        batch_size: int = 4096,
        epochs: int = 1,
        callbacks: Iterable[Callback] = (),
        items: Dataset | None = None,
        exclude: Dataset | None = None,
        resume_from: str | Path | None = None,
        device: str = "auto",
        seed: int = 0,
        verbose: bool = True,
    ) -> History:
        """Train on rows of (query, item) and measure on `validation_data` after each epoch.

        Called again, it goes on from the weights, with a new optimizer and a new history.

        Args:
            train: the rows; each is a positive.
            validation_data: later rows; metrics over the whole catalogue, once per query.
            batch_size: rows of a step; the other rows' items are its negatives.
            epochs: in all, those of a resumed checkpoint included.
            callbacks: `EarlyStopping`, `Checkpoint`, or your own.
            items: rows of item features; the catalogue holds their items too, besides those of `train`.
            exclude: rows whose items are left out of each query's validation list, usually `train`.
            resume_from: a folder that `Checkpoint` wrote.
            device: `"auto"`, `"cpu"`, `"cuda"`.
            seed: of order, dropout and sampled negatives.
            verbose: progress bars and a line per epoch on stderr.

        Raises:
            UnknownColumnError: a column of the schema is missing.
            DataError: no rows, or an id column with nulls or fractional numbers.
            SettingError: a code outside its column's categories, or a setting out of range.
            NonFiniteLossError: the loss became NaN or infinite.
        """
        train.select(self.schema)  # a missing column is refused here, with the nearest name
        check_ids(train, self._id_columns(), where="fit")
        self.items = ItemTable.from_dataset(train, self.item_schema, items)
        chosen = chosen_device(device)
        self.towers.to(chosen)
        trainer = Trainer(
            self.towers,
            self.plan.optimizer_of(self.towers),
            Loader(train, batch_size, seed=seed, columns=self.schema.column_names, targets=()),
            self._step(chosen),
            seed=seed,
        )
        validate = None
        if validation_data is not None:
            check_k(max(metric.k for metric in resolve_metrics(self.metrics)), len(self.items), where="fit")
            queries = self._queries_of(validation_data, exclude)
            validate = lambda: self._measure(queries, self.metrics)  # noqa: E731 # one expression, named by its role
        return trainer.fit(epochs, validate=validate, callbacks=callbacks, resume_from=resume_from, verbose=verbose)

    def _id_columns(self) -> list[str]:
        return self.schema.select_by_tag([Tags.ITEM_ID, Tags.USER_ID]).column_names

    def _step(self, device: torch.device) -> RetrievalStep:
        items = self.fitted_items()
        check_codes(torch.tensor(items.ids), [self.item_schema[self.item_id].cardinality or 0], [self.item_id])
        if isinstance(self.towers.candidate.bias, ItemBias):
            ids, counts = torch.tensor(items.ids, dtype=torch.int64), torch.tensor(items.counts)
            # scores are divided by the temperature, the bias with them
            self.towers.candidate.bias.learn(ids, counts, self.popularity_weight * self.logits_temperature)
        draws = any(not isinstance(sampler, InBatchSampler) for sampler in self.samplers)
        return RetrievalStep(
            self.towers,
            self._retrieval_loss(chosen_precision(self.plan.precision, device)),
            item_schema=self.item_schema,
            item_id=self.item_id,
            item_ids=torch.tensor(items.ids, dtype=torch.int64, device=device),
            item_counts=torch.tensor(items.counts, device=device),
            item_features={name: t.to(device) for name, t in items.features().items()} if draws else {},
        )

    def evaluate(
        self,
        dataset: Dataset,
        *,
        metrics: Iterable[str | Metric] | None = None,
        exclude: Dataset | None = None,
    ) -> dict[str, float]:
        """Metrics of each query's list over the whole catalogue, and the popularity list's beside them.

        Rows with one user id make one query, with the features of its first row; without a user id each row is one.

        Args:
            dataset: held-out rows.
            metrics: by default the compiled ones.
            exclude: rows whose items are left out of each query's list, usually the training data.

        Returns: each metric by name, the popularity baseline's with `popularity_` before it.

        Raises:
            NotFittedError: the model knows no items yet.
            DataError: no rows, or an id column with nulls.
        """
        return self._measure(self._queries_of(dataset, exclude), self.metrics if metrics is None else tuple(metrics))

    def judge(
        self, dataset: Dataset, *, metrics: Iterable[str | Metric] | None = None, exclude: Dataset | None = None
    ) -> Judgement:
        """Like `evaluate`, with the values of every query."""
        queries = self._queries_of(dataset, exclude)
        return self._judge(queries, self.metrics if metrics is None else tuple(metrics))

    def _queries_of(self, dataset: Dataset, exclude: Dataset | None) -> HeldOut:
        items = self.fitted_items()
        ids = self._id_columns()
        check_ids(dataset, ids, where="evaluate")
        return HeldOut.from_dataset(dataset, exclude, self.query_schema, items)

    def _judge(self, queries: HeldOut, metrics: Sequence[str | Metric]) -> Judgement:
        items = self.fitted_items()
        return judge(
            encode_rows(self.towers.query, queries.dataset),
            encode_rows(self.towers.candidate, items.dataset()),
            queries.relevant,
            metrics=metrics,
            excluded=queries.excluded,
            popularity=torch.tensor(items.counts),
        )

    def _measure(self, queries: HeldOut, metrics: Sequence[str | Metric]) -> dict[str, float]:
        values = self._judge(queries, metrics).values
        counts = torch.tensor(self.fitted_items().counts)
        popular = judge_popularity(counts, queries.relevant, metrics=metrics, excluded=queries.excluded)
        return {**values, **{POPULARITY + name: value for name, value in popular.values.items()}}

    def predict(self, dataset: Dataset, *, batch_size: int = 4096) -> Dataset:
        """The rows with their query's score for their item in a column `score`."""
        query = encode_rows(self.towers.query, dataset, batch_size=batch_size)
        item = encode_rows(self.towers.candidate, dataset, batch_size=batch_size)
        scored = dataset.compute().with_columns(pl.Series("score", (query * item).sum(dim=1).numpy()))
        return Dataset(scored, schema=dataset.schema + ColumnSchema("score", "float32"))

    @property
    def query_encoder(self) -> Encoder:
        """A copy of the query tower on its own, to save, export or serve."""
        return Encoder.from_tower(self.towers.query, self.options, self.query_mlp)

    @property
    def candidate_encoder(self) -> Encoder:
        """A copy of the candidate tower on its own."""
        return Encoder.from_tower(self.towers.candidate, self.options, self.item_mlp)

    def query_embeddings(self, dataset: Dataset, *, batch_size: int = 1024, index: str | None = None) -> Dataset:
        """One row per user: the query's feature columns (only the id with `index=Tags.USER_ID`), then "0", "1", ..."""
        return tower_embeddings(self.towers.query, dataset, Tags.USER_ID, index, batch_size)

    def candidate_embeddings(
        self, dataset: Dataset | None = None, *, batch_size: int = 1024, index: str | None = None
    ) -> Dataset:
        """One row per item: the item's feature columns (only the id with `index=Tags.ITEM_ID`), then "0", "1", ...

        Without a dataset: all items of the training data.
        """
        rows = self.fitted_items().dataset() if dataset is None else dataset
        return tower_embeddings(self.towers.candidate, rows, Tags.ITEM_ID, index, batch_size)

    item_embeddings = candidate_embeddings

    def catalogue(self) -> Catalogue:
        """Ids, counts and vectors of all items it knows."""
        items = self.fitted_items()
        vectors = encode_rows(self.towers.candidate, items.dataset()).numpy()
        return Catalogue(items.ids.astype(np.int64), items.counts, vectors)

    def to_top_k_encoder(
        self, candidates: Dataset | None = None, *, k: int = 10, index: str = "exact", target_recall: float = 0.99
    ) -> TopKEncoder:
        """The query tower and an index over candidates as one object that answers with items.

        Args:
            candidates: rows of item features; by default all items of the training data.
            k: length of the answers.
            index: `"exact"`, `"auto"`, `"flat"`, `"hnsw"` or `"ivf"`.
            target_recall: what an approximate index is tuned to, against exact search.
        """
        rows = unique_rows(
            self.fitted_items().dataset() if candidates is None else candidates, self.item_schema, Tags.ITEM_ID
        )
        vectors = encode_rows(self.towers.candidate, rows).numpy()
        ids = rows.compute()[self.item_id].to_numpy().astype(np.int64)
        return TopKEncoder.build(
            self.query_encoder, vectors, ids, k=k, kind=index, target_recall=target_recall, queries=self._some_queries()
        )

    def _some_queries(self) -> np.ndarray[Any, Any] | None:
        """Vectors of users to tune an index on, where a query is nothing but the user's id; otherwise nobody knows any.

        With a popularity weight the items' own vectors would not do: their bias would count against itself.
        """
        user = self.query_schema.first
        if len(self.query_schema) > 1 or user.is_list or not user.cardinality:
            return None
        codes = np.random.default_rng(0).permutation(user.cardinality)[:_TUNING_QUERIES]
        rows = pl.DataFrame({user.name: pl.Series(codes, dtype=pl.Int64)})
        return encode_rows(self.towers.query, Dataset(rows, schema=self.query_schema)).numpy()

    def compiled(self) -> dict[str, Any]:
        """What `compile` chose, as JSON can hold it."""
        names = [metric.name for metric in resolve_metrics(self.metrics) if type(metric) in METRICS.values()]
        return {
            **self.plan.describe(),
            "loss": self.loss,
            "metrics": names or None,
        }

    def compile_as(self, compiled: dict[str, Any]) -> None:
        """Choose again what `compiled` described."""
        self.compile(**described_plan(compiled))

    def save_parts(self, folder: Path) -> None:
        """Write the items."""
        self.fitted_items().save(folder / "items.parquet")

    def load_parts(self, folder: Path) -> None:
        """Read the items."""
        self.items = ItemTable.load(folder / "items.parquet", self.item_schema)

    def fitted_items(self) -> ItemTable:
        """The items of the training data.

        Raises:
            NotFittedError: the model knows no items yet.
        """
        if self.items is None:
            raise NotFittedError(f"{type(self).__name__}: it knows no items yet. Call fit, or load a fitted model.")
        return self.items

    def __repr__(self) -> str:
        known = "not fitted" if self.items is None else f"{len(self.items):,} items"
        sides = f"query={self.query_schema.column_names}, item={self.item_schema.column_names}"
        return f"{type(self).__name__}({known}, {sides})"


def _sides(schema: Schema) -> tuple[Schema, Schema]:
    """The query's and the candidate's columns."""
    schema = schema.excluding_by_tag(Tags.TARGET)
    item = schema.select_by_tag(Tags.ITEM)
    query = schema.select_by_tag([Tags.USER, Tags.SESSION, Tags.CONTEXT]) - item
    ids = item.select_by_tag(Tags.ITEM_ID)
    if len(ids) != 1:
        raise SchemaError(
            f"the model's schema has {len(ids)} item id columns {ids.column_names}, but needs one. Tag one column with "
            "TagAsItemID in the workflow, or with Tags.ITEM_ID in the schema."
        )
    if not len(query):
        raise SchemaError(
            "the model's schema has no query columns. Tag some with USER, SESSION or CONTEXT, for example with "
            "TagAsUserID in the workflow."
        )
    return query, item
