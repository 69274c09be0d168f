"""A bundle as a model repository: what is in it, how its steps answer without Triton, and what cannot be written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from serving_world import bundle, light_bundle, onnx_bundle
from tamis import Popular, Recommender, Retrieval
from tamis.cli import cli
from tamis.errors import FormatError
from tamis.folders import read_manifest
from tamis.serving import triton_python
from tamis.serving.graph_tensors import graph_models
from tamis.serving.recommend_tensors import RecommendTensors
from tamis.serving.tensors import ProtocolError, TensorSpec, as_texts
from tamis.serving.triton_config import Batching, graph_config, python_config
from tamis.serving.triton_pipeline import Pipeline
from tamis.serving.triton_repository import export_triton
from tamis.serving.triton_steps import FOR_RANKER, FOR_TOWER, Steps, why_no_steps
from two_stage_world import fitted, two_stages

MODELS = ["query_tower", "ranker", "recommend", "recommend_features", "recommend_search", "recommend_order"]
USERS = ["u1", "u2", "nobody"]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("triton") / "repository"
    found = export_triton(onnx_bundle(), folder)
    assert found.models == [*MODELS, "recommend_ensemble"] and found.left_out == {}
    return folder


WITHOUT_MUCH = """
import sys
import numpy as np
from tamis import Recommender
from tamis.serving import triton_python
from tamis.serving.triton_pipeline import Pipeline
from tamis.serving.triton_steps import Steps

pipeline = Pipeline(Recommender.load(sys.argv[1], runtime="onnx"))
(found,) = pipeline.answer([{"user_ids": np.array([["u1"]], object)}])
assert found["counts"].tolist() == [[10]]
Steps(Recommender.load(sys.argv[1], runtime="onnx"))
unwanted = {"torch", "safetensors", "pydantic", "fastapi", "starlette", "orjson", "prometheus_client", "onnx"}
print(sorted({name.partition(".")[0] for name in sys.modules} & unwanted))
"""


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose ranker is calibrated, and which has no context of its own."""
    recommender = two_stages(context=None)
    assert recommender.ranker is not None
    recommender.ranker.model.calibrate(fitted()[1], "platt")  # type: ignore[union-attr]
    path = tmp_path_factory.mktemp("calibrated") / "bundle"
    try:
        recommender.save(path, onnx=True)
    finally:
        recommender.ranker.model.calibrators.clear()  # type: ignore[union-attr] # the world is shared by all tests
    return path


def asked(users: list[str], k: int | None = None, hour: int | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"user_ids": as_texts(users).reshape(-1, 1)}
    more = {"k": k, "context_hour": hour}
    return found | {name: np.full((len(users), 1), one) for name, one in more.items() if one is not None}


def test_every_model_has_its_configuration_and_its_files(repository: Path) -> None:
    names = {path.name for path in repository.iterdir()}
    assert names == {*MODELS, "recommend_ensemble", "manifest.json"}
    read_manifest(repository, kind="triton repository", version=1)
    for name in names - {"manifest.json"}:
        assert (repository / name / "config.pbtxt").read_text().startswith(f'name: "{name}"\n')
        assert list((repository / name / "1").iterdir())
    Recommender.load(repository / "recommend" / "1" / "bundle", runtime="onnx")
    assert "dynamic_batching" in (repository / "query_tower" / "config.pbtxt").read_text()
    assert "dynamic_batching" in (repository / "recommend" / "config.pbtxt").read_text()
    chain = (repository / "recommend_ensemble" / "config.pbtxt").read_text()
    order = [line.split('"')[1] for line in chain.splitlines() if "model_name" in line]
    assert order == ["recommend_features", "query_tower", "recommend_search", "ranker", "recommend_order"]


def test_a_configuration_says_how_rows_are_batched() -> None:
    taken = [TensorSpec("user", "INT64", (-1, 1)), TensorSpec("taste", "FP32", (-1, 3))]
    text = graph_config("tower", taken, [TensorSpec("vector", "FP32", (-1, 8))], Batching(64, (8, 32)))
    assert text == (
        'name: "tower"\n'
        'backend: "onnxruntime"\n'
        "max_batch_size: 64\n"
        'input [ { name: "user" data_type: TYPE_INT64 dims: [ 1 ] reshape: { shape: [ ] } } ]\n'
        'input [ { name: "taste" data_type: TYPE_FP32 dims: [ 3 ] } ]\n'
        'output [ { name: "vector" data_type: TYPE_FP32 dims: [ 8 ] } ]\n'
        "instance_group [ { kind: KIND_CPU count: 1 } ]\n"
        'parameters { key: "intra_op_thread_count" value: { string_value: "1" } }\n'
        "dynamic_batching { preferred_batch_size: [ 8, 32 ] max_queue_delay_microseconds: 500 }\n"
    )
    text = python_config('a"b\\', [TensorSpec("x", "BYTES", (-1, 1), is_optional=True)], [], "1/bundle")
    assert 'name: "a\\"b\\\\"' in text and "max_batch_size: 0\n" in text
    assert 'input [ { name: "x" data_type: TYPE_STRING dims: [ -1, 1 ] optional: true } ]' in text


def test_requests_that_are_answered_together_get_their_own_lists() -> None:
    recommender = Recommender.load(onnx_bundle(), runtime="onnx")
    many = [asked(["u1", "nobody"]), asked(["u2"], 3), asked(["u" * 501]), asked(["u3"]), asked(["u1"], 3, 20)]
    together = Pipeline(recommender).answer(many)
    assert isinstance(together[2], ProtocolError) and "row 0 has 501 letters" in str(together[2])
    for inputs, found in zip(many, together, strict=True):
        if isinstance(found, dict):
            (alone,) = Pipeline(recommender).answer([inputs])
            assert isinstance(alone, dict) and all(np.array_equal(found[name], alone[name]) for name in alone)
    wanted = recommender.recommend(["u1"], 3, context={"hour": 20})
    last = together[4]
    assert isinstance(last, dict) and last["item_ids"].tolist() == [wanted["item"].to_list()]


def test_what_the_recommender_refuses_is_told_to_those_who_asked_for_it(calibrated: Path) -> None:
    pipeline = Pipeline(Recommender.load(calibrated, runtime="onnx"))
    refused, good = pipeline.answer([asked(["u1"], 3), asked(["u1"], 3, 12)])
    assert "the context 'hour' is missing" in str(refused) and isinstance(good, dict)
    assert [spec.is_optional for spec in pipeline.tensors.inputs] == [False, True, False]


def chained(steps: Steps, user: str, k: int, hour: int) -> dict[str, Any]:
    """The ensemble, step by step."""
    first = asked([user], hour=hour)
    found = steps.features(first)
    fed = {name.removeprefix(FOR_TOWER): one for name, one in found.items() if name.startswith(FOR_TOWER)}
    found |= {"k": np.array([[k]]), "vector": steps.tower.infer(fed)["vector"]}
    found |= steps.search(found)
    if steps.ranker is not None:
        fed = {name.removeprefix(FOR_RANKER): one for name, one in found.items() if name.startswith(FOR_RANKER)}
        found["ranking"] = steps.ranker.infer(fed)["scores"]
    return steps.order(found)


@pytest.mark.parametrize("is_calibrated", [False, True])
def test_the_steps_give_what_the_pipeline_gives(calibrated: Path, is_calibrated: bool) -> None:
    path = calibrated if is_calibrated else onnx_bundle()
    steps, pipeline = (kind(Recommender.load(path, runtime="onnx")) for kind in (Steps, Pipeline))
    for user in USERS:
        for k in (1, 5, 35):
            (wanted,) = pipeline.answer([asked([user], k, 20)])
            found = chained(steps, user, k, 20)
            assert found["item_ids"].tolist() == wanted["item_ids"].tolist()
            np.testing.assert_allclose(found["scores"], wanted["scores"], rtol=1e-6)
            assert found["counts"].tolist() == wanted["counts"].tolist()


def test_steps_without_a_ranker_and_where_nothing_is_left(tmp_path: Path) -> None:
    two_stages(ranker=None, context=None).save(tmp_path / "bundle", onnx=True)
    recommender = Recommender.load(tmp_path / "bundle", runtime="onnx")
    steps = Steps(recommender)
    assert steps.ranker is None and [spec.name for spec in steps.feature_inputs] == ["user_ids"]
    recommender.remove_items(recommender.catalogue.ids.to_list())
    found = steps.features(asked(["u1"])) | {"k": np.array([[3]]), "vector": np.zeros((1, 8), np.float32)}
    found |= steps.search(found)
    assert found["candidates"].tolist() == [-1]
    assert steps.order(found)["counts"].tolist() == [[0]]


def test_why_there_is_no_ensemble() -> None:
    towers = fitted()[2]
    several = two_stages([Retrieval(towers, quota=20), Popular(quota=5)])
    assert why_no_steps(several) == "its sources are Retrieval, Popular, not a single Retrieval"
    assert why_no_steps(two_stages()) == "its ranker DCNModel is no ONNX graph"  # loaded in torch


def test_a_bundle_without_graphs_is_the_pipeline_alone(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["export", "triton", str(light_bundle()), str(tmp_path / "repository")])
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert told["models"] == ["recommend"]
    assert "There is no recommend_ensemble: its sources are Popular, not a single Retrieval." in done.stderr


def test_what_cannot_be_written_is_said_before_anything_changes(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["export", "triton", str(bundle()), str(tmp_path / "repository")])
    assert done.exit_code == 1 and not (tmp_path / "repository").exists()
    assert "have no ONNX files, so the bundle needs torch. Run: tamis export onnx" in done.stderr
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.txt").write_text("not ours")
    with pytest.raises(FormatError, match=r"the folder holds 'mine.txt', which is no data of ours"):
        export_triton(onnx_bundle(), tmp_path / "models")
    export_triton(onnx_bundle(), tmp_path / "repository")
    found = export_triton(light_bundle(), tmp_path / "repository")  # an older one is replaced as a whole
    assert {path.name for path in found.folder.iterdir()} == {"recommend", "manifest.json"}


def test_python_models_need_neither_torch_nor_what_the_own_server_needs() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_MUCH, onnx_bundle()], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


class FakeTensor:
    def __init__(self, name: str, values: Any) -> None:
        self.name, self._values = name, values

    def as_numpy(self) -> Any:
        return self._values


@pytest.fixture
def pb_utils(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Triton's Python backend brings, in its smallest form."""
    module: Any = ModuleType("triton_python_backend_utils")
    module.Tensor = FakeTensor
    module.TritonError = str
    module.InferenceResponse = lambda tensors=(), error=None: SimpleNamespace(tensors=tensors, error=error)
    module.get_input_tensor_by_name = lambda request, name: request.get(name)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", module)


def test_triton_gets_an_answer_for_each_request(repository: Path, pb_utils: None) -> None:
    model = triton_python.Recommend()
    place = repository / "recommend"
    config = {"parameters": {"bundle": {"string_value": "1/bundle"}}}
    model.initialize({"model_config": json.dumps(config), "model_repository": str(place)})
    texts = [np.array([[raw]], object) for raw in (b"u1", b"\xff", b"u2")]
    first, second, third = model.execute([{"user_ids": FakeTensor("user_ids", one)} for one in texts])
    assert second.error == "inputs.user_ids: a text is not UTF-8 (invalid start byte at byte 0)."
    wanted = Recommender.load(onnx_bundle()).recommend(["u1", "u2"], 10)["item"].to_list()
    found = {tensor.name: tensor.as_numpy() for one in (first, third) for tensor in one.tensors}
    assert [*first.tensors[0].as_numpy()[0], *third.tensors[0].as_numpy()[0]] == wanted
    assert set(found) == {"item_ids", "scores", "counts"}
    (refused,) = model.execute([{"user_ids": FakeTensor("user_ids", np.zeros((0, 1), object))}])
    assert refused.error == "inputs.user_ids: there are 0 rows. Give 1 to 256."


def test_ids_that_are_texts_go_out_as_bytes() -> None:
    spec = TensorSpec("item_ids", "BYTES", (-1, -1))
    found = triton_python._encoded(as_texts(["ü", ""]).reshape(1, 2), spec)
    assert found.tolist() == [["ü".encode(), b""]]


def test_the_names_of_graphs_and_tensors_are_those_that_clients_see() -> None:
    recommender = Recommender.load(onnx_bundle(), runtime="onnx")
    assert list(graph_models(recommender)) == ["query_tower", "ranker"]
    assert [spec.name for spec in RecommendTensors(recommender).outputs] == ["item_ids", "scores", "counts"]
