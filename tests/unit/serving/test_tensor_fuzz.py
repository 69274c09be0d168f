"""The endpoint for tensors in bytes, asked anything: no 500, no hang, and memory within what the body brings."""

import json
import struct
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving_world import AppClient, app, onnx_bundle
from tensor_world import INFER, RANKER, TOWER


@pytest.fixture(scope="module")
def client() -> Iterator[AppClient]:
    with app(path=onnx_bundle(), max_body_bytes=200_000) as found:
        yield found


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["user_ids", "k", "context_hour", "user", "age", "hour", "item", "category", "price", "x"])
datatypes = st.sampled_from(["BYTES", "INT64", "FP32", "BOOL", "FP16", "int64"]) | json_values
dimensions = st.sampled_from([0, 1, 2, 3, 2**16, 2**31 - 1, 2**31, 2**62, -1])
shapes = st.lists(dimensions, max_size=4) | json_values
sizes = st.sampled_from([0, 1, 4, 6, 8, 16, 2**31, 2**63, -1]) | json_values
tensors = st.fixed_dictionaries(
    {},
    optional={
        "name": names,
        "datatype": datatypes,
        "shape": shapes,
        "data": json_values | st.lists(st.integers(0, 5) | st.sampled_from(["u1", "u2"]), max_size=4),
        "parameters": st.fixed_dictionaries({"binary_data_size": sizes}) | json_values,
    },
)
bodies = st.fixed_dictionaries(
    {"inputs": st.lists(tensors, max_size=6) | json_values},
    optional={
        "outputs": st.lists(st.fixed_dictionaries({"name": names | st.sampled_from(["scores", "item_ids"])}))
        | json_values,
        "parameters": json_values,
        "id": json_values,
    },
)
PARTS = [
    b"\x02\x00\x00\x00u1",
    b"\xff\xff\xff\xff",
    b"\x00" * 8,
    b"\x01" + b"\x00" * 7,
    struct.pack("<f", np.nan),
    b"\xfe",
]


@st.composite
def valid_tensors(draw: Any) -> tuple[str, list[dict[str, Any]], list[bytes]]:
    """A request that could be right, with its tensors in bytes."""
    model = draw(st.sampled_from(["recommend", "query_tower", "ranker"]))
    known = {"query_tower": TOWER, "ranker": RANKER, "recommend": {"k": ("INT64", np.array([[3]]))}}[model]
    heads, raw = [], []
    if model == "recommend":
        heads.append({"name": "user_ids", "datatype": "BYTES", "shape": [1, 1]})
        raw.append(b"\x02\x00\x00\x00u1")
    for name, (datatype, values) in known.items():
        heads.append({"name": name, "datatype": datatype, "shape": list(values.shape)})
        raw.append(values.tobytes())
    for head, one in zip(heads, raw, strict=True):
        head["parameters"] = {"binary_data_size": len(one)}
    return model, heads, raw


@st.composite
def spoiled(draw: Any) -> tuple[str, bytes, str | None]:
    """A right request with one or two things changed: a field, a byte, a length, an end that is missing."""
    model, heads, raw = draw(valid_tensors())
    for _ in range(draw(st.integers(0, 2))):
        head = heads[draw(st.integers(0, len(heads) - 1))]
        field = draw(st.sampled_from(["name", "datatype", "shape", "parameters"]))
        head[field] = draw(
            {"name": names, "datatype": datatypes, "shape": shapes}.get(
                field, st.fixed_dictionaries({"binary_data_size": sizes})
            )
        )
    body = json.dumps({"inputs": heads}).encode()
    length = str(len(body) + draw(st.sampled_from([0, 0, 0, 1, -1, 10**6])))
    content = bytearray(body + b"".join(raw))
    for _ in range(draw(st.integers(0, 2))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    end = draw(st.integers(0, len(content)) | st.just(len(content)))
    return model, bytes(content[:end]), draw(st.just(length) | st.none())


@st.composite
def invented(draw: Any) -> tuple[str, bytes, str | None]:
    """Anything that is JSON, with any bytes behind it."""
    model = draw(st.sampled_from(["recommend", "query_tower", "ranker"]))
    body = json.dumps(draw(bodies)).encode()
    raw = b"".join(draw(st.lists(st.sampled_from(PARTS), max_size=6)))
    return model, body + raw, draw(st.sampled_from([str(len(body)), None, "0", "-1", "1" * 30]))


FUZZ = settings(derandomize=True, deadline=5000, max_examples=300, suppress_health_check=list(HealthCheck))


@FUZZ
@given(asked=spoiled() | invented() | st.tuples(st.just("recommend"), st.binary(max_size=64), st.none()))
def test_no_request_makes_it_fail(client: AppClient, asked: tuple[str, bytes, str | None]) -> None:
    model, body, length = asked
    more = {} if length is None else {"inference_header_content_length": length}
    found = client("POST", INFER.format(model), body, **more)
    assert found.status in (200, 400), (found.status, found.body)
    if found.status == 400:
        assert list(found.json) == ["error"] and found.json["error"].partition(": ")[0]


@pytest.mark.parametrize("datatype", ["BYTES", "INT64", "FP32"])
def test_no_lie_costs_memory(client: AppClient, datatype: str) -> None:
    """Shapes of many gigabytes, and texts that say they are long: what is kept is bounded by the body's own bytes."""
    huge = {"name": "user_ids", "datatype": datatype, "shape": [2**31 - 1, 1], "parameters": {"binary_data_size": 8}}
    head = json.dumps({"inputs": [huge]}).encode()
    client("POST", INFER.format("recommend"), head, inference_header_content_length=str(len(head)))
    tracemalloc.start()
    try:
        for raw in (b"\xff" * 8, b"\x00" * 8, b"\x00" * 100_000):
            huge["parameters"] = {"binary_data_size": len(raw)}
            head = json.dumps({"inputs": [huge]}).encode()
            found = client(
                "POST", INFER.format("recommend"), head + raw, inference_header_content_length=str(len(head))
            )
            assert found.status == 400
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
