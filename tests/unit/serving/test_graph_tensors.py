"""Graphs as models of the protocol: lists, rows and codes are checked before a graph sees them."""

from typing import Any

import numpy as np
import pytest

from tamis.recommender.graph_inputs import GraphInput
from tamis.recommender.onnx_session import Port
from tamis.serving.graph_tensors import MOST_CANDIDATES, GraphModel
from tamis.serving.tensors import ProtocolError


class Recorded:
    """A graph that tells what it was fed."""

    def __init__(self, *ports: Port) -> None:
        self.inputs, self.outputs = list(ports), [Port("vector", False, (None, 2))]
        self.fed: dict[str, Any] = {}

    def run(self, inputs: dict[str, Any]) -> Any:
        self.fed = inputs
        if "broken" in inputs:
            raise RuntimeError("[ONNXRuntimeError] :\n no")
        return np.zeros((2, 2), np.float32)


LISTS = (Port("age", False, (None,)), Port("h__values", True, (None,)), Port("h__offsets", True, (None,)))
COLUMNS = (GraphInput("age"), GraphInput("h", num_codes=5, is_list=True))


def tower(*ports: Port, columns: Any = COLUMNS) -> tuple[GraphModel, Recorded]:
    graph = Recorded(*ports)
    return GraphModel("query_tower", graph, columns, is_tower=True), graph  # type: ignore[arg-type]


def test_a_tower_without_lists_takes_rows_of_one_number_as_servers_batch_them() -> None:
    model, graph = tower(Port("user", True, (None,)), Port("taste", False, (None, 3)))
    assert model.is_batched
    told = [(spec.name, spec.datatype, spec.shape) for spec in model.inputs]
    assert told == [("user", "INT64", (-1, 1)), ("taste", "FP32", (-1, 3))]
    model.infer({"user": np.array([[1], [2]]), "taste": np.zeros((2, 3), np.float32)})
    assert graph.fed["user"].tolist() == [1, 2] and graph.fed["taste"].shape == (2, 3)


def test_a_tower_with_lists_takes_what_the_graph_takes() -> None:
    model, graph = tower(*LISTS)
    assert not model.is_batched and [spec.shape for spec in model.inputs] == [(-1,)] * 3
    fed = {"age": np.zeros(2, np.float32), "h__values": np.array([4, 0, 1]), "h__offsets": np.array([0, 2, 3])}
    assert model.infer(fed)["vector"].shape == (2, 2)
    assert graph.fed["h__offsets"].tolist() == [0, 2, 3]


@pytest.mark.parametrize(
    ("values", "offsets", "words"),
    [
        ([4, 5], [0, 1, 2], "inputs.h__values: the code 5 is outside its 5 categories"),
        ([-1, 0], [0, 1, 2], "inputs.h__values: the code -1 is outside"),
        ([1, 2], [0, 1], "they have different numbers of rows, {'age': 2, 'h__offsets': 1}"),
        ([1, 2], [1, 1, 2], "inputs.h__offsets: it must begin with 0, never fall"),
        ([1, 2], [0, 3, 2], "inputs.h__offsets: it must begin with 0, never fall"),
        ([1, 2], [0, 1, 3], "inputs.h__offsets: it must begin with 0, never fall"),
        ([1, 2], [0, -(2**63), 2], "inputs.h__offsets: it must begin with 0, never fall"),
        ([1, 2], [], "they have different numbers of rows"),
    ],
)
def test_lists_that_do_not_fit_are_refused(values: list[int], offsets: list[int], words: str) -> None:
    model, graph = tower(*LISTS)
    fed = {"age": np.zeros(2, np.float32), "h__values": np.array(values), "h__offsets": np.array(offsets, np.int64)}
    with pytest.raises(ProtocolError) as caught:
        model.infer(fed)
    assert words in str(caught.value) and not graph.fed


def test_rows_have_a_limit_and_there_is_at_least_one() -> None:
    graph = Recorded(Port("user", True, (1,)), Port("price", False, (None,)))
    model = GraphModel("ranker", graph, [GraphInput("user", num_codes=3)], is_tower=False)  # type: ignore[arg-type]
    assert model.inputs[0].shape == (1,)
    for count in (0, MOST_CANDIDATES + 1):
        with pytest.raises(ProtocolError, match=rf"inputs.price: there are {count:,} rows. Give 1 to 5,000"):
            model.infer({"user": np.array([1]), "price": np.zeros(count, np.float32)})
    model.infer({"user": np.array([1]), "price": np.zeros(MOST_CANDIDATES, np.float32)})


def test_what_the_runtime_says_is_told() -> None:
    model, _ = tower(Port("broken", False, (None,)))
    with pytest.raises(ProtocolError, match=r"query_tower: it cannot take these inputs \(\[ONNXRuntimeError\] : no\)"):
        model.infer({"broken": np.zeros((1, 1), np.float32)})
