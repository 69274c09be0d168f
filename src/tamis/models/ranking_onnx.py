"""A ranking model as an ONNX file: one query and its candidates in, their scores out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from tamis.data.batch import OFFSETS, VALUES
from tamis.errors import UnknownColumnError
from tamis.models.onnx_export import Rows, export_graph
from tamis.models.ranking import RankingModel
from tamis.nn.candidate_request import CandidateRequest, Prepared
from tamis.nn.item_side import ItemTables
from tamis.nn.split_network import split_network
from tamis.schema import Schema

_WHERE = "to_onnx"


def export_ranker(model: RankingModel, query_columns: Sequence[str], path: Path, *, is_shared: bool = False) -> Path:
    """Write a ranking model as ONNX and return the path. What the query alone brings is computed once, not n times.

    Inputs: the query's features by name, [1] int64 (continuous: float32), vectors [1, width], lists as
    `<name>__values` [values] and `<name>__offsets` [2]; the candidates' features, [n], vectors [n, width], lists as
    `<name>__values` [values] and `<name>__offsets` [n + 1]. Output: `scores` [n, targets] float32, probabilities,
    amounts or numbers that order; what `calibrate` found is left out.

    Args:
        model: trained.
        query_columns: the inputs that come with the query; all others are the candidates'.
        path: the file.
        is_shared: see `export_graph`.

    Raises:
        UnknownColumnError: `query_columns` names no input.
        MissingExtraError: the packages of `tamis[onnx]` are not installed.
        SettingError: the file gives other scores than the model.
    """
    inputs = model.input_schema
    for name in query_columns:
        if name not in inputs.column_names:
            raise UnknownColumnError(name, inputs.column_names, where=_WHERE)
    items = [name for name in inputs.column_names if name not in set(query_columns)]
    query, item = (inputs.select_by_name(names) for names in ([*query_columns], items))
    sides = [Rows(query, None), Rows(item, "candidates")]
    network = _OneQuery(model, query)
    return export_graph(network, sides, path, output="scores", where=_WHERE, is_shared=is_shared)


class _OneQuery(nn.Module):
    """Scores of the candidates of one query: the network that reads queries and candidates apart."""

    def __init__(self, model: RankingModel, query: Schema) -> None:
        super().__init__()
        self.model, self.query_names = (model,), set(query.column_names)  # a tuple: no part of the graph by itself
        self.network = split_network(model.network, query.column_names).cpu()

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Scores: [candidates, targets]."""
        query = {name: one for name, one in features.items() if _column(name) in self.query_names}
        items = {name: one for name, one in features.items() if name not in query}
        return self.model[0].activated(self.network(_GraphRequest(query, items)))


class _GraphRequest(CandidateRequest):
    """One query with candidates whose features are the whole catalogue."""

    def __init__(self, query: Mapping[str, Tensor], items: Mapping[str, Tensor]) -> None:
        rows = torch.arange(_num_rows(items))
        super().__init__(query, 1, items, rows, ItemTables(0, 0.0, torch.device("cpu")), Prepared())

    def item_features(self, rows: Tensor) -> Mapping[str, Tensor]:
        return self.catalogue

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.query:
            return self.catalogue[name]
        own, num_rows = self.query[name], self.rows.shape[0]
        if name.endswith(VALUES):
            return own.repeat(num_rows)
        if name.endswith(OFFSETS):
            return torch.arange(num_rows + 1) * self.query[_column(name) + VALUES].shape[0]
        return own.expand(num_rows, *own.shape[1:])


def _num_rows(items: Mapping[str, Tensor]) -> int:
    """How many candidates there are; while it is traced, a size and no number."""
    name, one = next((name, one) for name, one in items.items() if not name.endswith(VALUES))
    return one.shape[0] - 1 if name.endswith(OFFSETS) else one.shape[0]


def _column(name: str) -> str:
    return name.removesuffix(VALUES).removesuffix(OFFSETS)
