"""`/v2` of the own server: what clients of the Open Inference Protocol see."""

import json
import re
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from serving_world import Answer, AppClient, app, light_bundle, onnx_bundle
from tamis import Recommender
from tamis.serving import recommend_tensors, request_models
from tensor_world import INFER, RANKER, TOWER


@pytest.fixture(scope="module")
def client() -> Iterator[AppClient]:
    with app(path=onnx_bundle(), max_body_bytes=200_000) as found:
        yield found


def tensor(name: str, datatype: str, values: Any) -> dict[str, Any]:
    array = np.asarray(values)
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "data": array.reshape(-1).tolist()}


def users(*ids: str) -> dict[str, Any]:
    return tensor("user_ids", "BYTES", [[one] for one in ids])


def ask(client: AppClient, model: str, *inputs: Any, **more: Any) -> Answer:
    return client("POST", INFER.format(model), {"inputs": list(inputs), **more})


def outputs(found: Answer) -> dict[str, list[Any]]:
    assert found.status == 200, found.body
    return {one["name"]: one["data"] for one in found.json["outputs"]}


def test_the_server_and_its_models_are_described(client: AppClient) -> None:
    assert client("GET", "/v2").json["extensions"] == ["binary_tensor_data"]
    assert client("GET", "/v2/health/live").json == {"live": True}
    assert client("GET", "/v2/health/ready").json == {"ready": True}
    version = client.service.live.served.state.current
    for place in ("/v2/models/recommend", f"/v2/models/recommend/versions/{version}"):
        told = client("GET", place).json
        assert told["name"] == "recommend" and told["versions"] == [version] and told["platform"] == "tamis"
        assert told["inputs"][0] == {"name": "user_ids", "datatype": "BYTES", "shape": [-1, 1]}
        assert [one["name"] for one in told["inputs"]] == ["user_ids", "k", "context_hour"]
        assert [one["datatype"] for one in told["outputs"]] == ["INT64", "FP32", "INT64"]
        assert client("GET", place + "/ready").json == {"name": "recommend", "ready": True}
    tower = client("GET", "/v2/models/query_tower").json
    assert tower["outputs"] == [{"name": "vector", "datatype": "FP32", "shape": [-1, 8]}]
    assert client("GET", "/v2/models/ranker").json["outputs"] == [
        {"name": "scores", "datatype": "FP32", "shape": [-1, 1]}
    ]


def test_lists_are_those_of_the_recommender(client: AppClient) -> None:
    wanted = Recommender.load(onnx_bundle()).recommend(["u1", "u2", "nobody"], 4)
    k = tensor("k", "INT64", [[4]] * 3)
    found = ask(client, "recommend", users("u1", "u2", "nobody"), k, id="7")
    assert found.json["id"] == "7"
    assert found.json["model_version"] == client.service.live.served.state.current
    told = outputs(found)
    assert told["item_ids"] == wanted["item"].to_list() and told["counts"] == [4, 4, 4]
    np.testing.assert_allclose(told["scores"], wanted["score"], rtol=1e-6)
    assert len(outputs(ask(client, "recommend", users("u1")))["item_ids"]) == 10
    version = client.service.live.served.state.current
    named = client("POST", f"/v2/models/recommend/versions/{version}/infer", {"inputs": [users("u1")]})
    assert outputs(named)["item_ids"][:4] == told["item_ids"][:4]


def test_each_row_may_ask_for_its_own_length_and_context(client: AppClient) -> None:
    recommender = Recommender.load(onnx_bundle())
    hours = tensor("context_hour", "INT64", [[20], [3]])
    told = outputs(ask(client, "recommend", users("u1", "u2"), tensor("k", "INT64", [[2], [3]]), hours))
    first = recommender.recommend(["u1"], 2, context={"hour": 20})
    second = recommender.recommend(["u2"], 3, context={"hour": 3})
    assert told["counts"] == [2, 3]
    assert told["item_ids"] == [*first["item"], 0, *second["item"]]  # what stands behind a list means nothing
    np.testing.assert_allclose(told["scores"], [*first["score"], 0.0, *second["score"]], rtol=1e-6)


def test_towers_and_rankers_give_what_their_graphs_give(client: AppClient) -> None:
    recommender = client.service.live.served.current.recommender
    encoder = recommender.sources[0].query_encoder
    vectors = encoder.graph.run({"user": np.array([3, 4]), "age": np.array([0.5, -1.0], np.float32)})
    told = outputs(ask(client, "query_tower", *(tensor(name, *one) for name, one in TOWER.items())))
    np.testing.assert_allclose(np.reshape(told["vector"], (2, 8)), vectors, rtol=1e-6)
    scores = recommender.ranker.model.graph.run({name: values for name, (_, values) in RANKER.items()})
    told = outputs(ask(client, "ranker", *(tensor(name, *one) for name, one in RANKER.items())))
    np.testing.assert_allclose(told["scores"], scores.reshape(-1), rtol=1e-6)


def changed(inputs: dict[str, Any], **new: Any) -> list[dict[str, Any]]:
    return [tensor(name, *new.get(name, one)) for name, one in inputs.items()]


@pytest.mark.parametrize(
    ("model", "inputs", "words"),
    [
        (
            "recommend",
            [{**users("u1"), "shape": [0, 1], "data": []}],
            "inputs.user_ids: there are 0 rows. Give 1 to 256",
        ),
        ("recommend", [users(*["u1"] * 257)], "inputs.user_ids: there are 257 rows. Give 1 to 256"),
        ("recommend", [users("u" * 501)], "inputs.user_ids: row 0 has 501 letters. Give up to 500"),
        ("recommend", [users("u1"), tensor("k", "INT64", [[0]])], "inputs.k: row 0: it is 0. Give 1 to 500"),
        ("recommend", [users("u1"), tensor("k", "INT64", [[3], [3]])], "inputs.k: there are 2 rows beside 1 user_ids"),
        ("recommend", [tensor("user_ids", "INT64", [[3]])], "inputs.user_ids: the datatype is 'INT64'. Give BYTES"),
        ("query_tower", changed(TOWER, user=("INT64", [[3]])), "inputs: they have different numbers of rows"),
        ("query_tower", changed(TOWER, user=("INT64", [[3], [10_000]])), "inputs.user: the code 10000 is outside its"),
        ("query_tower", changed(TOWER, user=("INT64", [[-1], [3]])), "inputs.user: the code -1 is outside its"),
        ("query_tower", changed(TOWER)[:1], r"inputs: \['age'\] are missing"),
        ("ranker", changed(RANKER, user=("INT64", [3, 3])), r"inputs.user: the shape is \[2\]. Give \[1\]"),
        ("ranker", changed(RANKER, item=("INT64", [1, 2])), "inputs: they have different numbers of rows"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(client: AppClient, model: str, inputs: Any, words: str) -> None:
    found = ask(client, model, *inputs)
    assert found.status == 400 and list(found.json) == ["error"]
    assert re.search(words, found.json["error"])


def test_numbers_that_are_none_do_not_reach_a_graph(client: AppClient) -> None:
    raw = struct.pack("<2f", 0.5, float("nan"))
    age = {"name": "age", "datatype": "FP32", "shape": [2, 1], "parameters": {"binary_data_size": 8}}
    head = json.dumps({"inputs": [changed(TOWER)[0], age]}).encode()
    found = client("POST", INFER.format("query_tower"), head + raw, inference_header_content_length=str(len(head)))
    assert found.status == 400 and found.json["error"] == "inputs.age: a value is not finite. Give numbers."


def test_requests_that_reach_no_model_are_refused_in_the_protocols_words(client: AppClient) -> None:
    for method, path, status, words in (
        ("GET", "/v2/models/x", 404, "path: there is no model 'x'. There are ['query_tower', 'ranker', 'recommend']."),
        ("GET", "/v2/models/ranker/versions/3", 404, "path: there is no version '3'."),
        ("POST", "/v2/nothing", 404, "path: there is no POST '/v2/nothing'."),
        ("GET", "/v2/models/ranker/infer", 404, "path: there is no GET '/v2/models/ranker/infer'."),
    ):
        found = client(method, path)
        assert found.status == status and found.json["error"].startswith(words)
    found = client("POST", INFER.format("recommend"), b"x" * 200_001)
    assert found.status == 413 and "body: The body is larger than 200,000 bytes" in found.json["error"]
    found = client("POST", INFER.format("recommend"), b"x" * 200_001, content_length="")
    assert found.status == 413 and "body: The body is larger than 200,000 bytes" in found.json["error"]
    found = client("POST", INFER.format("recommend"), b"x", content_encoding="gzip")
    assert found.status == 415 and "header.Content-Encoding: it is 'gzip'" in found.json["error"]
    for timeout in (-1, 1.5, "3", 2**60):
        found = ask(client, "recommend", users("u1"), parameters={"timeout": timeout})
        assert found.status == 400 and "parameters.timeout: it is" in found.json["error"]


def test_a_key_is_asked_for_but_not_by_probes() -> None:
    with app(path=light_bundle(), api_key="a secret key") as locked:
        assert locked("GET", "/v2/health/live").status == locked("GET", "/v2/health/ready").status == 200
        found = locked("GET", "/v2/models/recommend")
        assert found.status == 401 and "Give the key of this server" in found.json["error"]
        assert locked("GET", "/v2/models/recommend", x_api_key="a secret key").status == 200


def test_without_onnx_there_is_the_pipeline_alone() -> None:
    with app(path=light_bundle()) as light:
        found = light("GET", "/v2/models/query_tower")
        assert found.status == 404 and found.json["error"].endswith("There are ['recommend'].")
        assert len(outputs(ask(light, "recommend", users("u1")))["item_ids"]) == 10
        assert ask(light, "recommend", users("u1"), parameters={"timeout": 5_000_000}).status == 200


def test_an_answer_that_was_made_simpler_says_so() -> None:
    with app(path=onnx_bundle()) as hurried:
        for _ in range(3):  # until it knows how long stages take
            assert ask(hurried, "recommend", users("u1")).status == 200
        found = ask(hurried, "recommend", users("u1"), parameters={"timeout": 1})
        assert found.json["parameters"] == {"degraded": "popularity"}


def test_requests_are_counted_by_their_route(client: AppClient) -> None:
    ask(client, "recommend", users("u1"))
    page = client("GET", "/metrics").body.decode()
    assert 'tamis_requests_total{route="/v2/models/{name}/infer",status="200"}' in page


def test_the_limits_are_those_of_the_other_interface() -> None:
    assert recommend_tensors.MOST_USERS == request_models.MAX_USERS
    assert recommend_tensors.MOST_K == request_models.MAX_K
