"""Requests and answers of the Open Inference Protocol, byte by byte."""

import json
from typing import Any

import numpy as np
import pytest

from tamis.serving.inference_protocol import InferRequest, read_request, write_answer
from tamis.serving.tensors import ProtocolError, TensorSpec, as_texts

TAKEN = (TensorSpec("users", "BYTES", (-1, 1)), TensorSpec("k", "INT64", (-1, 1), is_optional=True))
GIVEN = (TensorSpec("items", "BYTES", (-1, -1)), TensorSpec("scores", "FP32", (-1, -1)))
USERS = {"name": "users", "datatype": "BYTES", "shape": [1, 1], "data": ["u1"]}


def read(told: Any, raw: bytes = b"", length: str | None = "right") -> InferRequest:
    head = told if isinstance(told, bytes) else json.dumps(told).encode()
    if length == "right":
        length = str(len(head)) if raw else None
    return read_request(head + raw, length, TAKEN, GIVEN)


def test_a_request_in_json() -> None:
    k = {"name": "k", "datatype": "INT64", "shape": [1, 1], "data": [3]}
    found = read({"id": "7", "inputs": [USERS, k], "parameters": {"timeout": 5}})
    assert {name: one.tolist() for name, one in found.inputs.items()} == {"users": [["u1"]], "k": [[3]]}
    assert found.id == "7" and found.parameters == {"timeout": 5}
    assert found.outputs == {"items": False, "scores": False}
    only = read({"inputs": [USERS], "outputs": [{"name": "scores", "parameters": {"binary_data": True}}]})
    assert only.outputs == {"scores": True} and only.id is None
    assert read({"inputs": [USERS], "parameters": {"binary_data_output": True}}).outputs["items"]


def test_bytes_of_tensors_stand_behind_the_json_in_their_order() -> None:
    users = {"name": "users", "datatype": "BYTES", "shape": [1, 1], "parameters": {"binary_data_size": 6}}
    k = {"name": "k", "datatype": "INT64", "shape": [1, 1], "parameters": {"binary_data_size": 8}}
    raw_users, raw_k = b"\x02\x00\x00\x00u1", b"\x03\x00\x00\x00\x00\x00\x00\x00"
    found = read({"inputs": [users, k]}, raw_users + raw_k)
    assert found.inputs["users"].tolist() == [["u1"]] and found.inputs["k"].tolist() == [[3]]
    found = read({"inputs": [k, users]}, raw_k + raw_users)
    assert found.inputs["users"].tolist() == [["u1"]] and found.inputs["k"].tolist() == [[3]]
    mixed = read({"inputs": [USERS, k]}, raw_k)  # one tensor in JSON, one in bytes
    assert mixed.inputs["users"].tolist() == [["u1"]] and mixed.inputs["k"].tolist() == [[3]]


SIZED = {"name": "users", "datatype": "BYTES", "shape": [1, 1], "parameters": {"binary_data_size": 6}}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (b"", "body: it is no JSON"),
        (b"{", "body: it is no JSON"),
        (b"[" * 100_000, "body: it is no JSON"),
        ([], r"body: it is \[\]. Give a JSON object"),
        ({}, r"inputs: \['users'\] are missing. The model takes \['users', 'k'\]"),
        ({"inputs": 3}, "inputs: it is 3. Give a list"),
        ({"inputs": [3]}, "inputs.0: it is 3. Give a JSON object"),
        ({"inputs": [{"name": "user"}]}, r"inputs.0: there is no tensor 'user'. There are \['users', 'k'\]"),
        ({"inputs": [{"name": ["users"]}]}, r"inputs.0: there is no tensor \['users'\]"),
        ({"inputs": [USERS, USERS]}, "inputs.users: it is given twice"),
        ({"inputs": [{**USERS, "shape": [-1, 1]}]}, r"inputs.users: the shape is \[-1, 1\]. Give a list of up to 8"),
        ({"inputs": [{**USERS, "shape": [2**31, 1]}]}, "Give a list of up to 8 whole numbers"),
        ({"inputs": [{**USERS, "shape": [1.0, 1]}]}, "Give a list of up to 8 whole numbers"),
        ({"inputs": [{**USERS, "shape": [True, 1]}]}, "Give a list of up to 8 whole numbers"),
        ({"inputs": [{**USERS, "shape": [1] * 9}]}, "Give a list of up to 8 whole numbers"),
        ({"inputs": [{**USERS, "shape": None}]}, "the shape is None"),
        ({"inputs": [{**USERS, "shape": [1]}]}, r"inputs.users: the shape is \[1\]. Give \[-1, 1\]"),
        ({"inputs": [{**USERS, "datatype": "INT64"}]}, "inputs.users: the datatype is 'INT64'. Give BYTES"),
        ({"inputs": [{**USERS, "datatype": {}}]}, "inputs.users: the datatype is {}. Give BYTES"),
        ({"inputs": [{**USERS, "parameters": 3}]}, "inputs.users.parameters: it is 3. Give a JSON object"),
        ({"inputs": [{**USERS, "parameters": {"shared_memory_region": "x"}}]}, "this server does not have it"),
        ({"inputs": [{**USERS, **SIZED}]}, "inputs.users: it has data and binary_data_size"),
        ({"inputs": [SIZED]}, "binary_data_size: it is 6, but 0 bytes are left. Say in the header"),
        ({"inputs": [{**SIZED, "parameters": {"binary_data_size": -1}}]}, "it is -1. Give a number of bytes"),
        ({"inputs": [{**SIZED, "parameters": {"binary_data_size": 2**70}}]}, "binary_data_size: it is"),
        ({"inputs": [{**SIZED, "parameters": {"binary_data_size": "6"}}]}, "it is '6'. Give a number of bytes"),
        ({"inputs": [USERS], "id": 3}, "id: it is 3. Give a text"),
        ({"inputs": [USERS], "outputs": {}}, "outputs: it is {}. Give a list"),
        ({"inputs": [USERS], "outputs": [{"name": "ids"}]}, "outputs.0: there is no tensor 'ids'"),
        ({"inputs": [USERS], "outputs": [{"name": "items"}] * 2}, "outputs.items: it is asked for twice"),
        (
            {"inputs": [USERS], "outputs": [{"name": "items", "parameters": {"classification": 2}}]},
            "outputs.items.parameters.classification: this server does not have it",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(told: Any, words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        read(told)


@pytest.mark.parametrize("length", ["", "-1", "1.5", "x", "9" * 5000, "\u0663", "99999"])
def test_a_lying_header_is_refused(length: str) -> None:
    with pytest.raises(ProtocolError, match=r"header\.Inference-Header-Content-Length: "):
        read({"inputs": [USERS]}, b"", length)


def test_bytes_that_no_tensor_has_are_refused() -> None:
    with pytest.raises(ProtocolError, match="body: 3 bytes are left over behind the tensors"):
        read({"inputs": [USERS]}, b"abc")


def test_an_answer_holds_what_was_asked_for_in_that_order() -> None:
    outputs = {"items": as_texts(["a", "bc"]).reshape(1, 2), "scores": np.array([[0.5, 0.25]], np.float32)}
    said = {"model": "recommend", "version": "v1"}
    body, headers = write_answer(InferRequest({}, {"scores": False}, "7"), outputs, GIVEN, **said)
    assert headers == {"Content-Type": "application/json"}
    assert json.loads(body) == {
        "model_name": "recommend",
        "model_version": "v1",
        "id": "7",
        "outputs": [{"name": "scores", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 0.25]}],
    }
    asked = InferRequest({}, {"scores": False, "items": True})
    body, headers = write_answer(asked, outputs, GIVEN, parameters={"degraded": "popularity"}, **said)
    length = int(headers["Inference-Header-Content-Length"])
    head = json.loads(body[:length])
    assert [one["name"] for one in head["outputs"]] == ["scores", "items"]
    assert head["outputs"][1]["parameters"] == {"binary_data_size": 11} and "id" not in head
    assert head["parameters"] == {"degraded": "popularity"}
    assert body[length:] == b"\x01\x00\x00\x00a\x02\x00\x00\x00bc"
