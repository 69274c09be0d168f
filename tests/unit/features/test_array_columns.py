"""Columns of vectors (lists of one length) go through ops like lists, and stay vectors."""

import polars as pl
import pytest

from tamis.features.ops import Categorify, FillMissing, LambdaOp, ListSlice, Normalize, TextEmbedding
from tamis.features.workflow import Workflow

VECTORS = pl.DataFrame({"v": pl.Series([[1.0, 5.0], None, [1.0, None]], dtype=pl.Array(pl.Float32, 2))})


def test_ops_work_on_their_leaves() -> None:
    workflow = Workflow(["v"] >> FillMissing(5.0) >> Normalize()).fit(VECTORS)
    frame = workflow.transform(VECTORS)
    assert frame["v"].to_list() == [[-1.0, 1.0], None, [-1.0, 1.0]]
    assert frame["v"].dtype == pl.Array(pl.Float32, 2)
    assert workflow.output_schema["v"].width == 2


def test_codes_of_vectors_stay_beside_each_other() -> None:
    frame = pl.DataFrame({"v": pl.Series([["a", "b"], ["a", None]], dtype=pl.Array(pl.String, 2))})
    assert Workflow(["v"] >> Categorify()).fit(frame).transform(frame)["v"].to_list() == [[3, 4], [3, 1]]


def test_functions_get_them_as_arrays() -> None:
    workflow = Workflow(["v"] >> LambdaOp(lambda col: col.arr.get(0))).fit(VECTORS)
    assert workflow.transform(VECTORS)["v"].to_list() == [1.0, None, 1.0]
    assert workflow.output_schema["v"].width is None


def test_a_row_alone_gets_the_same_online() -> None:
    for op in (Normalize(), ListSlice(1), LambdaOp(lambda col: col.arr.get(0)), LambdaOp(lambda col: col * 2)):
        workflow = Workflow(["v"] >> op).fit(VECTORS)
        assert workflow.online().transform(VECTORS.rows(named=True)) == workflow.transform(VECTORS).rows(named=True)


def test_embeddings_go_through_ops_and_files(tmp_path) -> None:
    frame = pl.DataFrame({"t": ["some words", None]})
    workflow = Workflow(["t"] >> TextEmbedding(4) >> LambdaOp(lambda col: col * 2.0)).fit(frame)
    workflow.save(tmp_path / "w")
    found = Workflow.load(tmp_path / "w").transform(frame)["t"]
    assert found.dtype == pl.Array(pl.Float32, 4)
    assert sum(x**2 for x in found[0]) == pytest.approx(4)
