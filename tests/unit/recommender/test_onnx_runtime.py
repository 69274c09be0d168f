"""A bundle with ONNX files: the same lists in both runtimes, and no torch in one of them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

import two_stage_world
from tamis import Dataset, Recommender, XGBoostModel
from tamis.cli import cli
from tamis.errors import DataError, FormatError, MissingExtraError, SettingError, UnknownNameError
from tamis.models.lightgbm_model import LightGBMModel
from tamis.models.tree_model import TreeModel
from tamis.recommender import onnx_session, runtimes
from tamis.recommender.onnx_runtime import ExportedRanker, OnnxEncoder
from tamis.recommender.sources.retrieval_source import Retrieval
from tamis.recommender.sources.similar_items import SimilarItems
from tamis.recommender.tree_runtime import TreeGraph

USERS = [f"u{number}" for number in range(8)]
WITHOUT_TORCH = """
import sys
import polars as pl
from tamis import Recommender

recommender = Recommender.load(sys.argv[1], runtime="onnx")
for asked in (["u1"], ["u1", "u2"], [{"age": 30.0}], ["nobody"]):
    assert len(recommender.recommend(asked, 3))
recommender.upsert_items(pl.DataFrame({"item": [99], "category": ["games"], "price": [5.0]}))
recommender.recommend(["u1"], 3)
print([name for name in ("torch", "safetensors.torch") if name in sys.modules])
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two towers, the item tower once more, a calibrated ranker."""
    towers = two_stage_world.fitted()[2]
    recommender = two_stage_world.two_stages([Retrieval(towers, quota=20), SimilarItems(towers, quota=5)])
    ranker = recommender.ranker
    assert ranker is not None
    ranker.model.calibrate(two_stage_world.fitted()[1], "platt")  # type: ignore[union-attr]
    path = tmp_path_factory.mktemp("onnx") / "bundle"
    try:
        recommender.save(path, onnx=True)
    finally:
        ranker.model.calibrators.clear()  # type: ignore[union-attr] # the world's models are shared by all tests
    return path


def lists(recommender: Recommender) -> pl.DataFrame:
    return recommender.recommend(USERS, 10)


def is_onnx(recommender: Recommender) -> bool:
    assert recommender.ranker is not None
    return isinstance(recommender.ranker.model, ExportedRanker)


def test_both_runtimes_give_the_same_lists(bundle: Path) -> None:
    onnx, torch = (Recommender.load(bundle, runtime=runtime) for runtime in ("onnx", "torch"))
    assert is_onnx(onnx) and not is_onnx(torch)
    assert_frame_equal(lists(onnx), lists(torch), abs_tol=1e-5)
    alone = pl.concat(onnx.recommend([user], 10) for user in USERS)
    assert_frame_equal(alone, lists(onnx), abs_tol=1e-5)
    assert repr(onnx) == repr(torch)


def test_auto_takes_onnx_where_it_can(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_onnx(Recommender.load(bundle))
    monkeypatch.setattr(runtimes, "has_onnxruntime", lambda: False)
    assert not is_onnx(Recommender.load(bundle))


def test_the_onnx_runtime_loads_no_torch(bundle: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, str(bundle)], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_items_put_in_later_are_ranked_in_both_runtimes_alike(bundle: Path) -> None:
    found = []
    for runtime in ("onnx", "torch"):
        recommender = Recommender.load(bundle, runtime=runtime)
        recommender.upsert_items(pl.DataFrame({"item": [900], "category": ["games"], "price": [5.0]}))
        found.append(lists(recommender))
    assert_frame_equal(*found, abs_tol=1e-5)
    assert 900 in found[0]["item"]


def test_saved_again_it_still_has_both(bundle: Path, tmp_path: Path) -> None:
    onnx = Recommender.load(bundle, runtime="onnx")
    onnx.save(tmp_path / "again")
    for runtime in ("onnx", "torch"):
        assert_frame_equal(lists(Recommender.load(tmp_path / "again", runtime=runtime)), lists(onnx), abs_tol=1e-5)


def test_what_was_loaded_from_a_place_that_is_gone_cannot_be_saved(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "b")
    onnx = Recommender.load(tmp_path / "b", runtime="onnx")
    shutil.rmtree(tmp_path / "b")
    with pytest.raises(FormatError, match=r"query_encoder: the folder that this was loaded from is gone\. Load it"):
        onnx.save(tmp_path / "c")


def test_the_command_adds_the_files(tmp_path: Path) -> None:
    two_stage_world.two_stages(ranker=None, context={}).save(tmp_path / "b")
    with pytest.raises(FormatError, match=r"have no ONNX files, so the bundle needs torch\. Run: tamis export onnx"):
        Recommender.load(tmp_path / "b", runtime="onnx")
    assert isinstance(Recommender.load(tmp_path / "b").sources[0], Retrieval)  # by torch
    done = CliRunner().invoke(cli, ["export", "onnx", str(tmp_path / "b")])
    assert done.exit_code == 0, done.output
    source = Recommender.load(tmp_path / "b").sources[0]
    assert isinstance(source, Retrieval) and isinstance(source.query_encoder, OnnxEncoder)


def test_an_unknown_runtime_is_refused(bundle: Path) -> None:
    with pytest.raises(
        UnknownNameError, match=r"Recommender\.load: there is no runtime 'onyx'\. Did you mean 'onnx'\?"
    ):
        Recommender.load(bundle, runtime="onyx")


def test_changed_files_are_told(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "b")
    graph = tmp_path / "b" / "ranker" / "graph.onnx"
    graph.write_bytes(b"x" + graph.read_bytes())
    with pytest.raises(FormatError, match=r"graph\.onnx: its content changed since it was saved"):
        Recommender.load(tmp_path / "b", runtime="onnx")
    with pytest.raises(FormatError, match=r"graph\.onnx: ONNX Runtime cannot read it .*Export the bundle again"):
        onnx_session.Graph(graph)


def test_without_onnxruntime_the_extra_is_named(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"needs 'onnxruntime', .*pip install 'tamis\[serve\]'"):
        Recommender.load(bundle, runtime="onnx")


def test_a_session_uses_one_thread(bundle: Path) -> None:
    options = ExportedRanker(bundle / "ranker").graph._session.get_session_options()  # type: ignore[union-attr]
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)


def test_rows_of_vectors_of_any_number_are_encoded(bundle: Path) -> None:
    encoder = OnnxEncoder(bundle / "sources" / "retrieval" / "candidate_encoder")
    items = Recommender.load(bundle, runtime="torch").catalogue.features
    whole = encoder.encode(items)
    assert whole.shape == (40, 8) and whole.dtype == np.float32
    assert np.allclose(encoder.encode(items, batch_size=7), whole, atol=1e-6)
    assert np.allclose(encoder.encode(Dataset(items[5:6])), whole[5:6], atol=1e-6)
    assert encoder.encode(items[:0]).shape == (0, 8)


def test_candidates_of_several_queries_may_be_fewer_than_the_width(bundle: Path) -> None:
    recommender = Recommender.load(bundle, runtime="onnx")
    assert recommender.ranker is not None
    scorer = recommender.ranker._scorer_of(recommender.catalogue)
    queries = recommender.queries(["u1", "u2"]).features
    assert queries is not None
    found = scorer.score_many(queries, np.array([[3, -1, 5], [-1, -1, -1]]))
    assert np.allclose(found[0, [0, 2]], scorer.score(queries.row(0, named=True), np.array([3, 5])))
    assert found[0, 1] == -np.inf and (found[1] == -np.inf).all()
    assert scorer.score(queries.row(0, named=True), np.zeros(0, np.int64)).shape == (0, 1)
    with pytest.raises(SettingError, match=r"Ranker: item row 40 is not among the 40 rows of its item features"):
        scorer.score(queries.row(0, named=True), np.array([40]))
    with pytest.raises(SettingError, match=r"score_many: item_rows has the shape \[1, 3\] beside 2 queries"):
        scorer.score_many(queries, np.zeros((1, 3), np.int64))


@pytest.mark.parametrize("kind", [XGBoostModel, LightGBMModel])
def test_trees_need_no_torch_either(kind: type[TreeModel], tmp_path: Path) -> None:
    rows = two_stage_world.fitted()[1]
    trees = kind(rows.schema)
    trees.fit(rows, num_trees=5, verbose=False)
    two_stage_world.two_stages([Retrieval(two_stage_world.fitted()[2], quota=20)], ranker=trees).save(
        tmp_path / "b", onnx=True
    )
    told = json.loads((tmp_path / "b" / "ranker" / "runtime.json").read_text())
    assert told["model"] == kind.__name__ and not (tmp_path / "b" / "ranker" / "graph.onnx").exists()
    onnx, torch = (Recommender.load(tmp_path / "b", runtime=runtime) for runtime in ("onnx", "torch"))
    assert_frame_equal(lists(onnx), lists(torch), abs_tol=1e-6)
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, tmp_path / "b"], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_without_the_library_of_the_trees_the_extra_is_named(
    library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"needs '{library}', .*pip install 'tamis\[trees\]'"):
        TreeGraph(tmp_path, library, ["price"], 1)


def test_infinite_numbers_are_refused_by_trees(tmp_path: Path) -> None:
    no_trees = TreeGraph(tmp_path, "xgboost", ["price"], 0)
    with pytest.raises(DataError, match=r"column 'price': it holds infinite numbers, which no tree splits"):
        no_trees.run({"price": np.array([1.0, np.inf], np.float32)})
