"""A model repository in the real Triton, and the own server, called with the real client: the answers are the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from serving_world import ServerProcess, onnx_bundle, server
from tamis import Recommender
from tamis.serving.triton_repository import export_triton
from triton_world import Triton, call, need_triton, triton

OUTPUTS = ["item_ids", "scores", "counts"]
USERS = ["u1", "u2", "u7", "nobody", "u33"]


@pytest.fixture(scope="module")
def own() -> Iterator[ServerProcess]:
    need_triton()
    with server(onnx_bundle(), "--state", "none") as process:
        yield process


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    need_triton()
    work = tmp_path_factory.mktemp("triton")
    export_triton(onnx_bundle(), work / "repository")
    with triton(work / "repository", work) as running:
        yield running


def ask(protocol: str, port: int, calls: list[dict[str, Any]], **more: Any) -> Any:
    asked = [{"outputs": OUTPUTS, "binary": True, **one} for one in calls]
    found = call("triton_calls.py", protocol=protocol, url=f"127.0.0.1:{port}", calls=asked, **more)
    assert found["live"] and found["ready"]
    return found


def recommend(users: list[str], k: int | None = None, hour: int | None = None, **more: Any) -> dict[str, Any]:
    inputs: list[Any] = [["user_ids", "BYTES", [[user] for user in users]]]
    inputs += [] if k is None else [["k", "INT64", [[k]] * len(users)]]
    inputs += [] if hour is None else [["context_hour", "INT64", [[hour]] * len(users)]]
    return {"model": "recommend", "inputs": inputs, **more}


CALLS = [
    recommend(USERS),
    recommend(USERS, 5),
    recommend(USERS, 5, binary=False),
    recommend(["u1"], 7, 20),
    recommend(["u1"], 40),  # more than there are candidates
    {
        "model": "query_tower",
        "inputs": [["user", "INT64", [[3], [4], [5]]], ["age", "FP32", [[0.5], [-1.0], [0.0]]]],
        "outputs": ["vector"],
    },
    {
        "model": "ranker",
        "inputs": [
            ["user", "INT64", [3]],
            ["age", "FP32", [0.5]],
            ["hour", "INT64", [4]],
            ["item", "INT64", [1, 2, 3, 4]],
            ["category", "INT64", [1, 2, 1, 2]],
            ["price", "FP32", [0.0, 0.1, 0.2, 0.3]],
        ],
        "outputs": ["scores"],
    },
]
REFUSED = [
    recommend(["u1"], 0),
    recommend(["u1"], 501),
    recommend(["x" * 501]),
    {"model": "recommend", "inputs": [["user_ids", "INT64", [[1]]]]},
    {"model": "recommend", "inputs": [["users", "BYTES", [["u1"]]]]},
    {"model": "recommend", "inputs": [["user_ids", "BYTES", ["u1"]]]},
    {"model": "nobody", "inputs": [["user_ids", "BYTES", [["u1"]]]]},
]


def same(found: list[Any], wanted: list[Any]) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert set(one) == set(other) and "error" not in one, (one, other)
        for name in one:
            assert (one[name]["datatype"], one[name]["shape"]) == (other[name]["datatype"], other[name]["shape"])
            if one[name]["datatype"] == "FP32":
                np.testing.assert_allclose(one[name]["data"], other[name]["data"], rtol=1e-5, atol=1e-6)
            else:
                assert one[name]["data"] == other[name]["data"]


def test_triton_answers_as_the_own_server_over_http_and_grpc(own: ServerProcess, other: Triton) -> None:
    models = ["recommend", "query_tower", "ranker"]
    mine = ask("http", own.port, CALLS, models=models)
    theirs = ask("http", other.http, CALLS, models=models)
    same(theirs["answers"], mine["answers"])
    assert theirs["metadata"] == mine["metadata"]
    over_grpc = ask("grpc", other.grpc, CALLS, models=models)
    same(over_grpc["answers"], mine["answers"])


def test_the_own_server_answers_tritons_client_as_it_answers_its_own_interface(own: ServerProcess) -> None:
    (found,) = ask("http", own.port, [recommend(USERS, 5)])["answers"]
    lists = own.call("POST", "/v1/recommend", {"users": USERS, "k": 5}).json["results"]
    assert found["counts"]["data"] == [5] * 5
    assert found["item_ids"]["data"] == [item["id"] for one in lists for item in one["items"]]
    scores = [item["score"] for one in lists for item in one["items"]]
    np.testing.assert_allclose(found["scores"]["data"], scores, rtol=1e-6)
    direct = Recommender.load(onnx_bundle()).recommend(USERS, 5)
    assert found["item_ids"]["data"] == direct["item"].to_list()


def test_the_ensemble_gives_what_the_whole_pipeline_gives(own: ServerProcess, other: Triton) -> None:
    whole = [recommend([user], k, hour) for user in USERS for k, hour in ((3, 12), (30, 20))]
    chained = [{**one, "model": "recommend_ensemble"} for one in whole]
    wanted = ask("http", own.port, whole)["answers"]
    same(ask("http", other.http, chained)["answers"], wanted)
    same(ask("grpc", other.grpc, chained)["answers"], wanted)


def test_both_refuse_what_is_wrong_in_words(own: ServerProcess, other: Triton) -> None:
    for protocol, port in (("http", own.port), ("http", other.http), ("grpc", other.grpc)):
        for found in ask(protocol, port, REFUSED)["answers"]:
            assert found["error"]
    mine = [one["error"] for one in ask("http", own.port, REFUSED)["answers"]]
    theirs = [one["error"] for one in ask("http", other.http, REFUSED)["answers"]]
    assert mine[0] == "inputs.k: row 0: it is 0. Give 1 to 500." and mine[0] in theirs[0]
    assert mine[2] == "inputs.user_ids: row 0 has 501 letters. Give up to 500." and mine[2] in theirs[2]
    same(ask("http", other.http, CALLS)["answers"], ask("http", own.port, CALLS)["answers"])  # and both go on
