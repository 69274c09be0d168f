"""Many candidates for one query: the query's part of a ranking model computed once, the items' kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from tamis.data.batch import OFFSETS
from tamis.data.dataset import Dataset
from tamis.data.frame_batches import frame_batches
from tamis.data.loader import Loader
from tamis.errors import SchemaError, SettingError, UnknownColumnError
from tamis.models.query_tensors import QueryCheck, check_all_codes, query_tensors
from tamis.models.ranking import RankingModel
from tamis.models.scoring import ScoringModel
from tamis.nn.candidate_request import CandidateRequest, Prepared
from tamis.nn.item_side import ItemTables
from tamis.nn.recorded import recorded
from tamis.nn.split_network import split_network
from tamis.schema import Schema

_PAIRS_AT_ONCE = 16_384  # scored together in bulk

Scores = NDArray[np.float32]
Rows = NDArray[np.int64]


class CandidateScorer:
    """Scores of many candidates for a query, as `model.predict` of the query's row repeated beside each of them.

    The query's features are looked up once, and so is all that the network makes of them alone; what it makes of the
    items alone is computed here and kept for the whole catalogue, as far as `max_table_mb` goes. A model without such
    a network, made of trees, gets the repeated rows.

    It holds the weights as they are now: after `fit` or `calibrate`, make a new one.

    Args:
        model: a trained ranking model.
        item_features: encoded, one row per item; `item_rows` count these rows from 0.
        query_columns: inputs that come with the query, also where `item_features` has them; by default those that it
            does not have.
        max_table_mb: memory for what is kept of the items besides their features.
        widths: numbers of candidates for which `score` is recorded in advance, which halves its time for few; up to a
            third fewer are filled up to the next of them. Queries with lists, and models of trees, are not recorded.

    Raises:
        SchemaError: inputs that neither side brings.
        UnknownColumnError: `query_columns` names no input.
        SettingError: item codes outside the model's categories.
    """

    def __init__(
        self,
        model: ScoringModel,
        item_features: Dataset | pl.DataFrame,
        query_columns: Sequence[str] | None = None,
        *,
        max_table_mb: float = 1024,
        widths: Sequence[int] = (),
    ) -> None:
        frame = item_features.compute() if isinstance(item_features, Dataset) else item_features
        self.model, self.num_items = model, len(frame)
        self.query_schema, item_schema = _sides(model.input_schema, frame.columns, query_columns)
        self._items = _item_tensors(frame, item_schema)
        check_all_codes(self._items, item_schema)
        self._check_query = QueryCheck(self.query_schema)
        self._network, device = None, torch.device("cpu")
        if isinstance(model, RankingModel):
            device = model.network.tables.device
            self._network = split_network(model.network, self.query_schema.column_names)
        self._device, self._items = device, {name: tensor.to(device) for name, tensor in self._items.items()}
        self._tables = ItemTables(self.num_items, max_table_mb * 1e6, device)
        self._prepared = Prepared()
        self._recorded: dict[int, Callable[..., Tensor]] = {}
        self._recorded_types: dict[str, torch.dtype] = {}
        self._prepare(widths)

    @property
    def query_columns(self) -> list[str]:
        """The columns that a query has to bring."""
        return self.query_schema.column_names

    @property
    def table_mb(self) -> float:
        """Memory of what is kept of the items besides their features."""
        return self._tables.size_bytes / 1e6

    def score(self, query: Mapping[str, Any], item_rows: Rows) -> Scores:
        """Scores of candidates for one query: calibrated probabilities, or amounts.

        Args:
            query: the encoded features by column: a number, a list for a list column, an array for a vector; or an
                array with the one row.
            item_rows: rows of `item_features`, [n].

        Returns: [n, targets]

        Raises:
            UnknownColumnError: the query lacks a column.
            SettingError: item rows that are not there, or codes outside the model's categories.
            DataError: a query's value that is no number, or null.
        """
        rows = np.asarray(item_rows, np.int64).reshape(-1)
        self._check_rows(rows, lowest=0)
        features = query_tensors(query, self.query_schema)
        self._check_query(query, features)
        width = next((width for width in self._recorded if 2 * width <= 3 * len(rows) and len(rows) <= width), None)
        if width is None:
            return self._scores(features, 1, torch.from_numpy(rows))
        filled = rows
        if len(rows) < width:
            filled = np.zeros(width, np.int64)
            filled[: len(rows)] = rows
        values = [features[name] for name in self._recorded_types]
        for place, kind in enumerate(self._recorded_types.values()):
            if values[place].dtype is not kind:  # a whole number where others may come
                values[place] = values[place].to(kind)
        with torch.inference_mode():
            found = self._recorded[width](torch.from_numpy(filled), *values)
        return self._calibrated(found[: len(rows)].numpy())

    def score_many(self, queries: Dataset | pl.DataFrame, item_rows: Rows) -> Scores:
        """Scores of each query's own candidates, some thousand pairs at once.

        Args:
            queries: the encoded features, one row per query.
            item_rows: [queries, width], -1 where a query has fewer candidates.

        Returns: [queries, width, targets], minus infinity where there is no candidate.

        Raises:
            UnknownColumnError: the queries lack a column.
            SettingError: other rows than `queries` has, or item rows that are not there.
        """
        frame = queries.compute() if isinstance(queries, Dataset) else queries
        rows = np.asarray(item_rows, np.int64)
        if rows.ndim != 2 or len(rows) != len(frame):
            raise SettingError(
                f"score_many: item_rows has the shape {list(rows.shape)} beside {len(frame)} queries. Give one row of "
                "candidates per query."
            )
        self._check_rows(rows, lowest=-1)
        scores = np.full((*rows.shape, len(self.model.targets)), -np.inf, np.float32)
        if not rows.size:
            return scores
        num_queries = max(_PAIRS_AT_ONCE // rows.shape[1], 1)
        for start, features in zip(
            range(0, len(rows), num_queries), self._query_batches(frame, num_queries), strict=True
        ):
            check_all_codes(features, self.query_schema)
            part = rows[start : start + num_queries]
            part = part[:, : int((part >= 0).sum(axis=1).max())] if _is_padded_at_the_end(part) else part
            found = self._scores(features, len(part), torch.from_numpy(np.ascontiguousarray(part.clip(min=0)).ravel()))
            found = found.reshape(*part.shape, -1)
            scores[start : start + len(part), : part.shape[1]] = np.where(part[:, :, None] < 0, -np.inf, found)
        return scores

    def _query_batches(self, frame: pl.DataFrame, num_queries: int) -> Any:
        for name in self.query_columns:
            if name not in frame.columns:
                raise UnknownColumnError(name, frame.columns, where="CandidateScorer")
        if not len(self.query_schema):
            return ({} for _ in range(0, len(frame), num_queries))
        return (batch.features for batch in frame_batches(frame, self.query_schema, num_queries))

    def _check_rows(self, rows: Rows, *, lowest: int) -> None:
        if rows.size and (rows.min() < lowest or rows.max() >= self.num_items):
            wrong = int(rows.min() if rows.min() < lowest else rows.max())
            raise SettingError(
                f"CandidateScorer: item row {wrong} is not among the {self.num_items} rows of its item_features. Give "
                "rows that count from 0."
            )

    @torch.inference_mode()
    def _scores(self, query: Mapping[str, Tensor], num_queries: int, rows: Tensor) -> Scores:
        """Scores of `num_queries` queries, each with as many candidates: [rows, targets]."""
        if not len(rows):
            return np.empty((0, len(self.model.targets)), np.float32)
        return self._calibrated(self._probabilities(self._request(query, num_queries, rows)).numpy())

    def _calibrated(self, scores: Scores) -> Scores:
        for column, name in enumerate(self.model.targets):
            if name in self.model.calibrators:
                scores[:, column] = self.model.calibrators[name].apply(scores[:, column])
        return scores

    def _request(self, query: Mapping[str, Tensor], num_queries: int, rows: Tensor) -> CandidateRequest:
        if self._device.type != "cpu":
            query, rows = {name: one.to(self._device) for name, one in query.items()}, rows.to(self._device)
        return CandidateRequest(query, num_queries, self._items, rows, self._tables, self._prepared)

    def _probabilities(self, request: CandidateRequest) -> Tensor:
        if self._network is None:
            return self.model._probabilities(dict(request))
        assert isinstance(self.model, RankingModel)
        return self.model.activated(self._network(request)).cpu()

    def _prepare(self, widths: Sequence[int]) -> None:
        """Score any query, to learn what it asks of the items, and keep that; then record."""
        if self._network is None:
            return
        query = query_tensors(_any_query(self.query_schema), self.query_schema)
        two = torch.zeros(2, dtype=torch.int64)  # of one row alone, a vector of the network's own could not be told
        with torch.inference_mode(), self._tables.watching():
            self._probabilities(self._request(query, 1, two))
        if any(name.endswith(OFFSETS) for name in query):  # of another length each time
            return

        self._recorded_types = {name: tensor.dtype for name, tensor in query.items()}

        def scores(rows: Tensor, *values: Tensor) -> Tensor:
            return self._probabilities(self._request(dict(zip(self._recorded_types, values, strict=True)), 1, rows))

        for width in sorted(width for width in widths if width > 1):
            run = recorded(scores, [torch.zeros(width, dtype=torch.int64), *query.values()])
            if run is not None:
                self._recorded[width] = run


def _sides(inputs: Schema, item_columns: Sequence[str], query_columns: Sequence[str] | None) -> tuple[Schema, Schema]:
    """The inputs that come with the query, and those of the items."""
    if query_columns is None:
        query_columns = [name for name in inputs.column_names if name not in item_columns]
    for name in query_columns:
        if name not in inputs.column_names:
            raise UnknownColumnError(name, inputs.column_names, where="CandidateScorer")
    missing = [name for name in inputs.column_names if name not in query_columns and name not in item_columns]
    if missing:
        raise SchemaError(
            f"CandidateScorer: the model's inputs {missing} are neither in item_features nor in query_columns. Add "
            "them to one of the two."
        )
    query = [name for name in inputs.column_names if name in set(query_columns)]
    return inputs.select_by_name(query), inputs.select_by_name([n for n in inputs.column_names if n not in set(query)])


def _item_tensors(frame: pl.DataFrame, schema: Schema) -> dict[str, Tensor]:
    if not len(schema):
        return {}
    if not len(frame):
        raise SchemaError("CandidateScorer: item_features has no rows. Give one per item.")
    dataset = Dataset(frame.select(schema.column_names), schema=schema)
    features = next(iter(Loader(dataset, len(frame), shuffle=False, targets=()))).features
    return {name: tensor.contiguous() for name, tensor in features.items()}


def _any_query(schema: Schema) -> dict[str, Any]:
    """Zeros, of the type that each column's values have."""
    zeros = {column.name: 0 if column.cardinality else 0.0 for column in schema}
    return {c.name: [zeros[c.name]] * (c.width or 1) if c.is_list or c.width else zeros[c.name] for c in schema}


def _is_padded_at_the_end(rows: Rows) -> bool:
    is_there = rows >= 0
    return bool((is_there[:, :-1] >= is_there[:, 1:]).all() and is_there.any())
