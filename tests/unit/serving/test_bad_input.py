"""What a caller may send by mistake or in bad faith: refused with what and where, in no time, and never by a 500."""

import json
import time
from typing import Any

import pytest

from serving_world import NEW_ITEM, Answer, AppClient, app

RECOMMEND, SIMILAR, RANK, ITEMS, EVENTS = (
    "/v1/recommend",
    "/v1/similar-items",
    "/v1/rank",
    "/v1/items",
    "/v1/events",
)
POSTS = (
    (RECOMMEND, "POST"),
    (SIMILAR, "POST"),
    (RANK, "POST"),
    (ITEMS, "PUT"),
    (EVENTS, "POST"),
    ("/v1/users/u1", "PUT"),
)


@pytest.fixture(scope="module")
def live(tmp_path_factory: Any) -> Any:
    with app(tmp_path_factory.mktemp("state")) as client:
        yield client


def refused(found: Answer, *statuses: int) -> str:
    """The message of a refusal that says where."""
    assert found.status in (statuses or (400, 413, 422)), found.body
    error = found.error
    assert error["code"] and error["where"] and error["message"] and found.json["request_id"]
    assert "Traceback" not in error["message"] and len(found.body) < 20_000
    return str(error["message"])


def quick(client: AppClient, method: str, path: str, body: Any, *, most_s: float = 3.0) -> Answer:
    start = time.perf_counter()
    found = client(method, path, body)
    assert time.perf_counter() - start < most_s
    return found


@pytest.mark.parametrize(("path", "method"), POSTS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"7",
        b"{}",
        b"{",
        b"\x00\xff\xfe",
        b'{"users":',
        b'{"a":' * 2000,
        b"[" * 100_000,
        b"1" * 100_000,
        b'{"' + b"x" * 100_000 + b'":1}',
        json.dumps({f"field {n}": n for n in range(5000)}).encode(),
    ],
    ids=lambda body: repr(body[:12]),
)
def test_bodies_that_are_no_request(live: AppClient, path: str, method: str, body: bytes) -> None:
    refused(quick(live, method, path, body))


@pytest.mark.parametrize(("path", "method"), POSTS)
def test_bodies_of_ten_megabytes(live: AppClient, path: str, method: str) -> None:
    assert "larger than 1,000,000 bytes" in refused(quick(live, method, path, b'{"users":["' + b"x" * 10_000_000), 413)


@pytest.mark.parametrize(
    "condition",
    [
        "price < 20; import os",
        "__import__('os').system('true')",
        "price.__class__",
        "lambda: 1",
        "price < 20 and",
        "(((((price",
        "price",
        "price + 1",
        "1 < 2",
        "'a'",
        "price < 'cheap'",
        "title < 3",
        "price in [1, 'a']",
        "price ** 1e9 < 1",
        "9" * 1900 + " < price",
        "price < " + "9" * 1900,
        "not " * 400 + "in_stock",
        "(" * 900 + "price < 1" + ")" * 900,
        " and ".join(["price < 1"] * 150) + " and",
        "price < 1 \x00",
        "price < 1 # comment",
        "price\n<\n1\n)",
        "préz < 1",
        "\ud7ff < 1",
        "SELECT * FROM items",
        "%s%s%n",
        " ",
    ],
    ids=lambda text: text[:24],
)
def test_expressions_that_are_no_filter(live: AppClient, condition: str) -> None:
    for path, asked in ((RECOMMEND, {"users": ["u1"]}), (SIMILAR, {"items": [9]})):
        assert refused(quick(live, "POST", path, {**asked, "filters": [condition]}), 422)


@pytest.mark.parametrize("depth", [100, 1000])
def test_deep_filters_are_answered_or_refused_but_break_nothing(live: AppClient, depth: int) -> None:
    nested = "(" * depth + "price < 20" + ")" * depth
    for condition in (nested, "not " * (depth // 3) + "in_stock", " and ".join(["price < 20"] * (depth // 10))):
        found = quick(live, "POST", RECOMMEND, {"users": ["u1"], "filters": [condition[:2000]] * 20}, most_s=10)
        assert found.status == 200 or refused(found, 422)


@pytest.mark.parametrize("k", [0, -1, 501, 10**9, 10**30, 1.5, "10", None, [10], True, 1e300])
def test_a_k_out_of_range_or_of_another_kind(live: AppClient, k: Any) -> None:
    for path, asked in ((RECOMMEND, {"users": ["u1"]}), (SIMILAR, {"items": [9]})):
        found = quick(live, "POST", path, {**asked, "k": k})
        if k != 10**30:
            assert found.error["where"] == "body.k"
        refused(found)


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e999", b'"nan"', b"{}", b"[[1]]"])
def test_features_that_are_no_number(live: AppClient, value: bytes) -> None:
    for body in (b'{"features":[{"age":%s}]}', b'{"users":["u1"],"context":{"hour":%s}}'):
        refused(quick(live, "POST", RECOMMEND, body % value))
    refused(quick(live, "PUT", "/v1/users/u1", b'{"features":{"age":%s}}' % value))
    refused(quick(live, "PUT", ITEMS, b'{"items":[{"item":1,"category":"games","price":%s}]}' % value))


def test_unknown_users_and_items_get_an_answer(live: AppClient) -> None:
    for user in ("nobody", "", " ", "u1\x00", "💥", "x" * 500, 0, -1, 2**63 - 1):
        found = live("POST", RECOMMEND, {"users": [user], "k": 3})
        assert found.status == 200 and not found.json["results"][0]["known"] and found.json["results"][0]["items"]
    found = live("POST", RANK, {"user": "nobody", "items": [0, "no such item", 2**62, -5]})
    assert found.status == 200 and len(found.json["unknown_items"]) == 3
    assert live("POST", SIMILAR, {"items": ["no such item"]}).json["results"][0]["items"] == []
    assert live("DELETE", f"{ITEMS}?id=no-such-item").json["accepted"] == 1


def test_wrong_paths_and_queries(live: AppClient) -> None:
    found = live("DELETE", ITEMS)
    assert refused(found, 422) and found.error["where"] == "query.id"
    refused(live("DELETE", f"{ITEMS}?id={'x' * 501}"), 422)
    refused(live("DELETE", ITEMS + "?" + "&".join(f"id={n}" for n in range(1001))), 422)
    refused(live("PUT", "/v1/users/" + "x" * 501, {"features": {}}), 422)
    for path in ("/v1/users/", "/v1", "/../etc/passwd", "/%00", "/v1/%2e%2e"):
        refused(live("GET", path), 404, 405)


def test_the_server_answers_as_before_after_all_of_it(live: AppClient) -> None:
    assert live("PUT", ITEMS, {"items": [NEW_ITEM]}).status == 200
    assert live("POST", RECOMMEND, {"users": ["u1"], "filters": ["item == 1000"]}).json["results"][0]["items"]
