"""Ranking models as ONNX files: one query beside many candidates, every body and every kind of heads."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor, nn

import ranking_world
from tamis import AutoIntModel, DCNModel, DeepFMModel, DINModel, DLRMModel, EmbeddingOptions, FinalMLPModel, MLPBlock
from tamis.data.batch import OFFSETS, VALUES
from tamis.errors import MissingExtraError, SettingError, UnknownColumnError
from tamis.models.candidate_scorer import CandidateScorer
from tamis.models.onnx_export import Rows, export_graph
from tamis.models.ranking import RankingModel
from tamis.models.ranking_onnx import export_ranker
from tamis.models.wide_and_deep import WideAndDeepModel
from tamis.nn.experts import ESMM, PLE, MMoE, SharedBottom
from tamis.schema import ColumnSchema, Schema, Tags

OPTIONS = EmbeddingOptions(embedding_dim_default=4, init_std=1.0)
SMALL = MLPBlock([8])
SEEN = ColumnSchema("seen", "int32", [Tags.USER, Tags.CATEGORICAL], is_list=True).with_domain(22, name="item_id")
ONE, TWO = ranking_world.SCHEMA + Schema([SEEN]), ranking_world.TWO_TARGETS + Schema([SEEN])
BOUGHT = ColumnSchema("bought", "float32").with_tags([Tags.TARGET, Tags.BINARY_CLASSIFICATION])
QUERY = ["user_id", "age", "seen"]
MODELS: dict[str, Callable[[], RankingModel]] = {
    "AutoInt+, shared bottom": lambda: AutoIntModel(
        TWO, 1, head_dim=4, deep_block=SMALL, embedding_options=OPTIONS, heads=SharedBottom(SMALL)
    ),
    "DIN": lambda: DINModel(ONE, SMALL, max_length=3, embedding_options=OPTIONS),
    "FinalMLP, MMoE": lambda: FinalMLPModel(
        TWO, SMALL, num_heads=2, first_context=["user_id"], embedding_options=OPTIONS, heads=MMoE(2, SMALL, SMALL)
    ),
    "DeepFM, ESMM": lambda: DeepFMModel(
        ONE + Schema([BOUGHT]), MLPBlock([8], normalization="batch"), embedding_options=OPTIONS, heads=ESMM(SMALL)
    ),
    "DCN-v2, mixture, PLE": lambda: DCNModel(
        TWO, 2, SMALL, low_rank=4, num_experts=2, embedding_options=OPTIONS, heads=PLE(1, 1, 2, SMALL, SMALL)
    ),
    "DLRM": lambda: DLRMModel(ONE, MLPBlock([8, 4]), SMALL, embedding_options=OPTIONS),
    "Wide & Deep": lambda: WideAndDeepModel(
        ONE, MLPBlock([8], normalization="layer"), wide=["user_id", "age"], embedding_options=OPTIONS
    ),
}
ITEMS = ranking_world.impressions(50).compute().select("item_id", "genres", "photo")


def inputs(query: dict[str, object], candidates: pl.DataFrame) -> dict[str, np.ndarray]:
    """The features as the docstring of `export_ranker` says."""
    lengths = candidates["genres"].list.len().to_list()
    return {
        "user_id": np.array([query["user_id"]]),
        "age": np.array([query["age"]], np.float32),
        "seen" + VALUES: np.array(query["seen"], np.int64),
        "seen" + OFFSETS: np.array([0, len(query["seen"])]),  # type: ignore[arg-type]
        "item_id": candidates["item_id"].cast(pl.Int64).to_numpy(),
        "genres" + VALUES: np.array([code for one in candidates["genres"].to_list() for code in one], np.int64),
        "genres" + OFFSETS: np.cumsum([0, *lengths]),
        "photo": candidates["photo"].to_numpy(),
    }


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_one_query_beside_any_number_of_candidates_scores_as_in_torch(
    make: Callable[[], RankingModel], tmp_path: Path
) -> None:
    import onnxruntime

    model = make()
    export_ranker(model, QUERY, tmp_path / "deep" / "ranker.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "deep" / "ranker.onnx")
    assert [one.name for one in session.get_outputs()] == ["scores"]
    taken, scorer = {one.name for one in session.get_inputs()}, CandidateScorer(model, ITEMS, QUERY)
    for rows, seen in (([3, 1, 4, 1, 5], [9, 2, 6, 5]), ([7], []), (list(range(50)), [3])):
        query = {"user_id": 11, "age": 0.25, "seen": seen}
        given = {name: one for name, one in inputs(query, ITEMS[rows]).items() if name in taken}
        (found,) = session.run(None, given)
        assert found.shape == (len(rows), len(model.targets))
        assert np.allclose(found, scorer.score(query, np.array(rows)), atol=1e-5)


def test_small_chances_keep_their_order(tmp_path: Path) -> None:
    import onnxruntime

    model = MODELS["DLRM"]()
    with torch.no_grad():
        model.network.heads.linear.bias.fill_(-40.0)
    session = onnxruntime.InferenceSession(export_ranker(model, QUERY, tmp_path / "ranker.onnx"))
    query, rows = {"user_id": 11, "age": 0.25, "seen": [3]}, list(range(50))
    taken = {one.name for one in session.get_inputs()}
    (found,) = session.run(None, {name: one for name, one in inputs(query, ITEMS[rows]).items() if name in taken})
    expected = CandidateScorer(model, ITEMS, QUERY).score(query, np.array(rows))
    assert 0 < expected.max() < 1e-8
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_column_of_the_query_that_is_no_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownColumnError, match=r"to_onnx: the data has no column 'user'"):
        export_ranker(MODELS["DLRM"](), ["user"], tmp_path / "r.onnx")


class _Moody(nn.Module):
    """Answers otherwise at each call, so no file can answer the same."""

    calls = 0

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        self.calls += 1
        return features["age"][:, None] + self.calls


def test_a_file_that_answers_otherwise_is_refused(tmp_path: Path) -> None:
    age = Rows(Schema([ranking_world.AGE]), "batch")
    with pytest.raises(
        SettingError, match=r"to_onnx: m\.onnx answers \[1, 1\] up to .* away from the network's \[1, 1\]"
    ):
        export_graph(_Moody(), [age], tmp_path / "m.onnx", output="y", where="to_onnx")


def test_without_the_packages_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tamis\[onnx\]'"):
        export_ranker(MODELS["DLRM"](), QUERY, tmp_path / "r.onnx")


def test_many_weights_lie_beside_the_graph_where_processes_share_them(tmp_path: Path) -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1, 4_000_000))

        def forward(self, features: dict[str, Tensor]) -> Tensor:
            return features["age"][:, None] * self.weight

    age = Rows(Schema([ranking_world.AGE]), "batch")
    export_graph(Wide(), [age], tmp_path / "w.onnx", output="y", where="to_onnx", is_shared=True)
    assert {file.name for file in tmp_path.iterdir()} == {"w.onnx", "w.onnx.data"}
    assert (tmp_path / "w.onnx").stat().st_size < 10_000
