"""Towers and rankers as models of the Open Inference Protocol: encoded features in, vectors or scores out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np

from tamis.recommender.graph_inputs import OFFSETS, VALUES, GraphInput
from tamis.recommender.onnx_runtime import ExportedRanker, OnnxEncoder
from tamis.recommender.onnx_session import Graph, Port
from tamis.recommender.recommender import Recommender
from tamis.recommender.sources.retrieval_source import Retrieval
from tamis.serving.tensors import Array, ProtocolError, TensorSpec

QUERY_TOWER, RANKER = "query_tower", "ranker"
MOST_QUERIES, MOST_CANDIDATES = 1024, 5000


class GraphModel:
    """An ONNX graph with its inputs checked, so that no request can make it fail.

    A tower without lists takes one row a query: numbers and codes are `[rows, 1]`, as servers batch them. Else all is
    as the graph has it: a column of rows is `[rows]`, a list column `<name>__values` and `<name>__offsets`.

    Args:
        name: of the model.
        graph: what runs.
        columns: what its inputs are.
        is_tower: whether rows are queries; else they are the candidates of one query.
    """

    platform = "onnxruntime_onnx"

    def __init__(self, name: str, graph: Graph, columns: Sequence[GraphInput], *, is_tower: bool) -> None:
        self.name, self.graph = name, graph
        self.is_batched = is_tower and not any(port.name.endswith(VALUES) for port in graph.inputs)
        self._codes = {column.name: column.num_codes for column in columns}
        self._most_rows = MOST_QUERIES if is_tower else MOST_CANDIDATES
        self.inputs = tuple(self._spec(port) for port in graph.inputs)
        self.outputs = tuple(self._spec(port) for port in graph.outputs)

    def _spec(self, port: Port) -> TensorSpec:
        shape = tuple(-1 if length is None else length for length in port.shape)
        if self.is_batched and len(shape) == 1:
            shape = (-1, 1)
        return TensorSpec(port.name, "INT64" if port.is_whole else "FP32", shape)

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs.

        Raises:
            ProtocolError: codes outside the categories, numbers that are none, or lengths that do not fit together.
        """
        self._check_rows(inputs)
        for name, values in inputs.items():
            self._check_values(name, values)
            if name.endswith(OFFSETS):
                _check_offsets(name, values, inputs.get(name.removesuffix(OFFSETS) + VALUES))
        fed = {port.name: inputs[port.name].reshape(self._shape(port, inputs)) for port in self.graph.inputs}
        try:
            found = self.graph.run(fed)
        except Exception as error:  # its errors have no common class but this
            raise ProtocolError(
                f"{self.name}: it cannot take these inputs ({' '.join(str(error).split())})."
            ) from error
        return {self.outputs[0].name: found}

    def _shape(self, port: Port, inputs: Mapping[str, Array]) -> tuple[int, ...]:
        return inputs[port.name].shape[: len(port.shape)]

    def _check_rows(self, inputs: Mapping[str, Array]) -> None:
        """All columns of rows have the same number of them."""
        counts = {
            port.name: len(inputs[port.name]) - port.name.endswith(OFFSETS)
            for port in self.graph.inputs
            if port.shape[0] is None and not port.name.endswith(VALUES)
        }
        if len(set(counts.values())) > 1:
            raise ProtocolError(f"inputs: they have different numbers of rows, {counts}. Give each the same.")
        for name, count in counts.items():
            if not 1 <= count <= self._most_rows:
                raise ProtocolError(f"inputs.{name}: there are {count:,} rows. Give 1 to {self._most_rows:,}.")

    def _check_values(self, name: str, values: Array) -> None:
        if values.dtype == np.float32:
            if not np.isfinite(values).all():
                raise ProtocolError(f"inputs.{name}: a value is not finite. Give numbers.")
            return
        num_codes = self._codes.get(name.removesuffix(VALUES))
        if num_codes is None or not values.size or name.endswith(OFFSETS):
            return
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= num_codes:
            raise ProtocolError(
                f"inputs.{name}: the code {low if low < 0 else high} is outside its {num_codes:,} categories. Give "
                "codes of the workflow that the model was trained with."
            )


def _check_offsets(name: str, offsets: Array, values: Array | None) -> None:
    fits = len(offsets) > 0 and offsets[0] == 0 and bool((offsets[1:] >= offsets[:-1]).all())
    if not fits or (values is not None and offsets[-1] != len(values)):
        raise ProtocolError(
            f"inputs.{name}: it must begin with 0, never fall, and end with the number of values. Give where each "
            "list starts, and where the last one ends."
        )


def graph_models(recommender: Recommender) -> dict[str, GraphModel]:
    """The models of a recommender that run in ONNX Runtime, by name.

    The first source's query tower is `query_tower`, those of others have the source's name behind it.
    """
    found: list[GraphModel] = []
    for source in recommender.sources:
        if isinstance(source, Retrieval) and isinstance(source.query_encoder, OnnxEncoder):
            tower = source.query_encoder
            name = f"{QUERY_TOWER}_{source.name}" if found else QUERY_TOWER
            found.append(GraphModel(name, tower.graph, tower.inputs.columns, is_tower=True))
    ranker = None if recommender.ranker is None else recommender.ranker.model
    if isinstance(ranker, ExportedRanker) and isinstance(ranker.graph, Graph):
        columns = list(chain(ranker.query_inputs.columns, ranker.item_inputs.columns))
        found.append(GraphModel(RANKER, ranker.graph, columns, is_tower=False))
    return {model.name: model for model in found}
