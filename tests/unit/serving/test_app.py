"""The HTTP interface: what it answers, what it refuses and in which words, and what it counts."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from serving_world import NEW_ITEM, AppClient, app, bundle
from tamis.serving.published import PublishedPlace
from two_stage_world import category_of


@pytest.fixture(scope="module")
def plain() -> Any:
    with app() as client:
        yield client


@pytest.fixture
def live(tmp_path: Path) -> Any:
    with app(tmp_path) as client:
        yield client


def recommended(client: AppClient, **asked: Any) -> list[int]:
    found = client("POST", "/v1/recommend", {"k": 5, **asked})
    assert found.status == 200, found.body
    return [item["id"] for item in found.json["results"][0]["items"]]


def _ids(result: Any) -> list[int]:
    return [item["id"] for item in result["items"]]


def test_lists_come_with_version_times_and_a_request_id(plain: AppClient) -> None:
    found = plain(
        "POST", "/v1/recommend", {"users": ["u1", "nobody"], "k": 3, "show": ["title"]}, x_request_id="my.id-1"
    )
    assert found.status == 200 and found.headers["x-request-id"] == "my.id-1" == found.json["request_id"]
    assert found.json["degraded"] is None
    assert set(found.json["stage_ms"]) == {"features", "filters", "retrieval", "ranking", "ordering", "telling"}
    mine, nobodys = found.json["results"]
    assert mine["known"] and not nobodys["known"] and mine["user"] == "u1"
    assert mine["version"] == plain.service.live.served.state.current
    first = mine["items"][0]
    assert first["columns"]["title"] == f"{category_of(first['id'])} {first['id']}"
    assert [item["rank"] for item in mine["items"]] == [1, 2, 3]
    assert {source for item in nobodys["items"] for source in item["sources"]} == {"popularity"}
    assert nobodys["items"][0]["ranking"] == {"click": None}


def test_an_id_that_could_break_a_log_is_replaced(plain: AppClient) -> None:
    found = plain("GET", "/healthz", x_request_id="evil\tid")
    assert found.status == 200 and len(found.headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    ("asked", "where", "words"),
    [
        ({}, "body", "give `users`, `features`, or both"),
        ({"users": []}, "body", "give `users`, `features`, or both"),
        ({"users": ["u1"], "kk": 3}, "body.kk", "Extra inputs are not permitted"),
        ({"users": ["u1"], "k": 0}, "body.k", "greater than or equal to 1, but got 0"),
        ({"users": ["u1"], "k": 501}, "body.k", "less than or equal to 500"),
        ({"users": ["u1"], "k": "3"}, "body.k", "valid integer, but got '3'"),
        ({"users": ["u1"], "k": True}, "body.k", "valid integer"),
        ({"users": ["u1"] * 257}, "body.users", "at most 256"),
        ({"users": [True]}, "body.users.0", "give a whole number of 64 bits, or a text"),
        ({"users": ["u1", 1.5]}, "body.users.1", "give a whole number of 64 bits, or a text"),
        ({"users": [None]}, "body.users.0", "give a whole number of 64 bits, or a text"),
        ({"users": [2**63]}, "body.users.0", "give a whole number of 64 bits, or a text"),
        ({"users": ["x" * 501]}, "body.users.0", "up to 500 letters"),
        ({"users": "u1"}, "body.users", "valid list"),
        ({"users": ["u1"], "features": [{}, {}]}, "body", "there are 1 users, but features of 2"),
        ({"users": ["u1"], "filters": ["x" * 2001]}, "body.filters.0", "at most 2000"),
        ({"users": ["u1"], "filters": ["price < 1"] * 21}, "body.filters", "at most 20"),
        ({"users": ["u1"], "filters": ["price <"]}, "Where", "it cannot be read here"),
        ({"users": ["u1"], "filters": ["prize < 3"]}, "Where", "Did you mean 'price'?"),
        ({"users": ["u1"], "filters": ["(" * 1900]}, "Where", "Where: "),
        ({"users": ["u1"], "exclude": list(range(10_001))}, "body.exclude", "at most 10000"),
        ({"users": ["u1"], "show": ["titel"]}, "show", "Did you mean 'title'?"),
        ({"users": ["u1"], "show": ["title", "title"]}, "body.show", "given twice"),
        ({"users": ["u1"], "timeout_ms": 0}, "body.timeout_ms", "greater than 0"),
        ({"users": ["u1"], "num_ranked": 3}, "body", "num_ranked is 3, less than k, which is 10"),
        ({"users": ["u1"], "num_candidates": 5001}, "body.num_candidates", "less than or equal to 5000"),
        ({"users": ["u1"], "context": {"hour": "noon"}}, "Workflow.online", "'hour' got 'noon', a str"),
        ({"users": ["u1"], "context": {"hours": 3}}, "recommend", "Did you mean 'hour'?"),
        ({"users": ["u1"], "context": {"hour": {"a": 1}}}, "body.context.hour", "give a finite number"),
        ({"users": ["u1"], "context": [1]}, "body.context", "valid dictionary"),
        ({"features": [{"age": "old"}]}, "Workflow.online", "'age' got 'old', a str"),
        ({"features": [{"age": [1.0]}]}, "Workflow.online", "'age' got [1.0], a list"),
        ({"features": [{"agee": 1.0}]}, "features", "Did you mean 'age'?"),
        ({"features": [{"user": "u1"}]}, "features", "no user column 'user'"),
        ({"features": [{"age": 30}, {"age": "x"}]}, "Workflow.online", "'age' got 'x', a str"),
        ({"features": [{"age": 1e300}]}, "ExactIndex.search", "not finite"),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else "",
)
def test_a_bad_question_is_answered_with_what_is_wrong_and_where(
    plain: AppClient, asked: Any, where: str, words: str
) -> None:
    found = plain("POST", "/v1/recommend", asked)
    assert found.status == 422
    assert found.error["where"] == where and words in found.error["message"]
    assert found.error["code"] == "invalid_request" and found.json["request_id"]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nul",
        b'{"users":["u1"],"k":NaN}',
        b'{"users":["u1"],"timeout_ms":Infinity}',
        b'{"users":["u1"],"timeout_ms":1e400}',
        b'{"users":["\\ud800"]}',
        b'{"users":["\xff"]}',
        b"[" * 5000,
    ],
)
def test_what_is_no_json_is_told(plain: AppClient, body: bytes) -> None:
    found = plain("POST", "/v1/recommend", body)
    assert found.status == 400 and found.error["code"] == "invalid_json"
    assert found.error["message"].startswith("The body is no JSON: ")


def test_no_object_and_no_body_are_refused(plain: AppClient) -> None:
    assert plain("POST", "/v1/recommend", [1]).error["where"] == "body"
    assert plain("POST", "/v1/recommend").status == 422


def test_a_body_too_large_is_refused_whether_its_length_is_told_or_not(plain: AppClient) -> None:
    large = b" " * 1_000_001
    told, untold = plain("POST", "/v1/recommend", large), plain("POST", "/v1/recommend", large, content_length="")
    assert told.status == untold.status == 413
    assert (
        told.error["message"]
        == untold.error["message"]
        == ("The body is larger than 1,000,000 bytes. Send less at once.")
    )


def test_paths_and_methods_that_there_are_not(plain: AppClient) -> None:
    found = plain("GET", "/v1/nothing")
    assert found.status == 404 and "There is no GET /v1/nothing" in found.error["message"]
    found = plain("GET", "/v1/recommend")
    assert found.status == 405 and found.error["code"] == "method_not_allowed"


def test_without_time_the_answer_says_that_it_is_a_simple_one(plain: AppClient) -> None:
    found = plain("POST", "/v1/recommend", {"users": ["u1"], "timeout_ms": 0.001, "k": 3})
    assert found.status == 200 and found.json["degraded"] == "popularity"
    assert len(found.json["results"][0]["items"]) == 3


def test_similar_items_and_own_candidates(plain: AppClient) -> None:
    found = plain("POST", "/v1/similar-items", {"items": [9, 777], "k": 3, "show": ["category"]})
    assert found.status == 200 and found.json["source"] == "retrieval"
    like, nothing = found.json["results"]
    assert [item["columns"]["category"] for item in like["items"]] == ["games"] * 3
    assert nothing == {"item": 777, "known": False, "items": []}
    found = plain("POST", "/v1/rank", {"user": "u1", "items": [0, 1, 777], "context": {"hour": 20}, "explain": True})
    assert [item["id"] for item in found.json["items"]] == [1, 0] and found.json["unknown_items"] == [777]
    assert found.json["explanation"]["num_candidates"] == 2
    assert plain("POST", "/v1/rank", {"items": []}).error["where"] == "body.items"
    assert plain("POST", "/v1/similar-items", {"items": [9], "source": "x"}).error["where"] == "similar-items"


def test_an_item_is_live_when_the_answer_comes(live: AppClient) -> None:
    assert live("PUT", "/v1/items", {"items": [NEW_ITEM]}).json["accepted"] == 1
    assert recommended(live, users=["u1"], filters=["item == 1000"]) == [1000]
    live("PUT", "/v1/items", {"items": [{"item": "1000", "price": 30}]})
    assert recommended(live, users=["u1"], filters=["item == 1000 and price == 30"]) == [1000]
    assert live("DELETE", "/v1/items?id=1000&id=31").json["accepted"] == 2
    assert recommended(live, users=["u1"], filters=["item == 1000 or item == 31"]) == []


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"item": 1001, "price": 3}, "['category'] are missing"),
        ({"item": 1001}, "1 items are new"),
        ({"price": 3}, "items.1: 'item' is None"),
        ({"item": 1.5}, "items.1: 'item' is 1.5"),
        ({"item": "abc", "price": 3.0}, "'item' is 'abc', but ids are Int64"),
        ({"item": 9, "price": "dear"}, "'price' holds Float64, but got 'dear'"),
        ({"item": 9, "in_stock": "yes"}, "'in_stock' holds Boolean, but got 'yes'"),
        ({"item": 9, "title": 5}, "'title' holds String, but got 5"),
        ({"item": 9, "colour": 1}, "no item column 'colour'"),
        ({"item": 9, "price": [1]}, "'price' holds Float64"),
        ({"item": 9, "price": None}, "no usable number in 'price'"),
        ({"item": 9, "price": 1e300}, "no usable number in 'price'"),
    ],
)
def test_an_item_that_could_not_be_served_is_refused_and_nothing_is_kept(
    live: AppClient, item: Any, words: str
) -> None:
    before = recommended(live, users=["u1"], k=20)
    found = live("PUT", "/v1/items", {"items": [NEW_ITEM, item]})
    assert found.status == 422 and words in found.error["message"]
    assert live.service.log.counts()["item"] == 0
    assert recommended(live, users=["u1"], k=20) == before


def test_an_item_twice_is_refused(live: AppClient) -> None:
    found = live("PUT", "/v1/items", {"items": [{"item": 9, "price": 1}, {"item": "9", "price": 2}]})
    assert found.status == 422 and "the item 9 is given more than once" in found.error["message"]


def test_users_and_events_change_the_next_list(live: AppClient) -> None:
    assert live("PUT", "/v1/users/stranger", {"features": {"age": 40.0}}).status == 200
    found = live("POST", "/v1/recommend", {"users": ["stranger"], "k": 3, "explain": True}).json["results"][0]
    assert found["explanation"]["features"]["age"] is not None
    first = found["items"][0]["id"]
    assert live("POST", "/v1/events", {"events": [{"user": "stranger", "item": first, "kind": "click"}]}).status == 200
    assert first not in recommended(live, users=["stranger"])
    assert first in recommended(live, users=["stranger"], exclude_seen=False)
    for features, words in (({"age": "x"}, "'age' got 'x'"), ({"size": 1}, "no user column 'size'")):
        assert words in live("PUT", "/v1/users/stranger", {"features": features}).error["message"]
    assert live("POST", "/v1/events", {"events": []}).error["where"] == "body.events"
    assert live("POST", "/v1/events", {"events": [{"user": "a"}]}).error["where"] == "body.events.0.item"


def test_without_a_place_for_updates_they_are_refused(plain: AppClient) -> None:
    found = plain("PUT", "/v1/items", {"items": [NEW_ITEM]})
    assert found.status == 503 and "started without a folder for its state" in found.error["message"]


def test_a_full_disk_is_told_and_answers_go_on(tmp_path: Path) -> None:
    with app(tmp_path, max_updates_mb=0.06) as client:
        statuses = []
        for number in range(200):
            item = NEW_ITEM | {"item": 2000 + number, "title": "x" * 2000}
            found = client("PUT", "/v1/items", {"items": [item]})
            statuses.append(found.status)
            if found.status == 507:
                break
        assert statuses[0] == 200 and statuses[-1] == 507 and set(statuses) == {200, 507}
        assert found.error["code"] == "disk_full" and "nothing earlier is lost" in found.error["message"]
        kept = set(recommended(client, users=["u1"], k=200, filters=["item >= 2000"]))
        assert kept == {2000 + number for number, status in enumerate(statuses) if status == 200}


def test_a_key_is_asked_for_where_there_is_one() -> None:
    with app(api_key="a secret key") as client:
        asked = {"users": ["u1"]}
        assert client("POST", "/v1/recommend", asked).status == 401
        found = client("POST", "/v1/recommend", asked, authorization="Bearer wrong")
        assert found.status == 401 and found.error["where"] == "header.authorization"
        assert client("POST", "/v1/recommend", asked, authorization="Bearer a secret key").status == 200
        assert client("POST", "/v1/recommend", asked, x_api_key="a secret key").status == 200
        assert client("GET", "/healthz").status == client("GET", "/readyz").status == 200
        assert client("GET", "/metrics").status == 401


def test_pages_of_other_origins_may_call_where_they_are_named() -> None:
    with app(cors_origins=("https://shop.example",)) as client:
        found = client("GET", "/healthz", origin="https://shop.example")
        assert found.headers["access-control-allow-origin"] == "https://shop.example"
        assert "access-control-allow-origin" not in client("GET", "/healthz", origin="https://evil.example").headers
        asked = {"origin": "https://shop.example", "access_control_request_method": "POST"}
        assert client("OPTIONS", "/v1/recommend", **asked).status == 200


def test_more_than_the_queue_holds_is_told_to_come_later() -> None:
    with app(threads=1, queue=1) as client:
        gate, real = threading.Event(), client.service.recommend

        def slow(*arguments: Any, **named: Any) -> Any:
            gate.wait(10)
            return real(*arguments, **named)

        client.service.recommend = slow  # type: ignore[method-assign]

        async def run() -> list[Any]:
            body = {"users": ["u1", "u2"]}  # a single user is answered at once
            asked = [asyncio.ensure_future(client.call("POST", "/v1/recommend", body)) for _ in range(4)]
            while sum(one.done() for one in asked) < 2:
                await asyncio.sleep(0.001)
            gate.set()
            return await asyncio.gather(*asked)

        found = asyncio.run(run())
        assert sorted(one.status for one in found) == [200, 200, 429, 429]
        refused = next(one for one in found if one.status == 429)
        assert refused.headers["retry-after"] == "1" and refused.error["code"] == "too_busy"


def test_what_fails_inside_is_500_without_the_inside(plain: AppClient, caplog: pytest.LogCaptureFixture) -> None:
    def broken(*arguments: Any, **named: Any) -> Any:
        raise RuntimeError("a secret of ours")

    real, plain.service.similar = plain.service.similar, broken  # type: ignore[method-assign]
    found = plain("POST", "/v1/similar-items", {"items": [9]})
    plain.service.similar = real  # type: ignore[method-assign]
    assert found.status == 500 and b"secret" not in found.body and found.error["code"] == "internal_error"
    assert "a secret of ours" in caplog.text


def test_the_numbers_are_those_of_what_happened(tmp_path: Path) -> None:
    with app(tmp_path) as client:
        client("POST", "/v1/recommend", {"users": ["u1", "u2", "nobody", "no one"], "filters": ["price < 10"]})
        client("POST", "/v1/recommend", {"users": ["u1"], "timeout_ms": 0.001, "filters": ["price < 10"]})
        client("POST", "/v1/recommend", {"users": ["u1"], "k": 0})
        client("PUT", "/v1/items", {"items": [NEW_ITEM]})
        page = client("GET", "/metrics")
        assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = page.body.decode().splitlines()
        name = client.service.live.served.state.current
        for line in (
            'tamis_requests_total{route="/v1/recommend",status="200"} 2.0',
            'tamis_requests_total{route="/v1/recommend",status="422"} 1.0',
            f'tamis_lists_total{{known="false",version="{name}"}} 2.0',
            f'tamis_lists_total{{known="true",version="{name}"}} 3.0',
            f'tamis_unknown_user_share{{version="{name}"}} 0.4',
            f'tamis_degraded_total{{level="popularity",version="{name}"}} 1.0',
            f'tamis_version_info{{role="current",version="{name}"}} 1.0',
            f'tamis_items{{version="{name}"}} 41.0',
            f'tamis_index_items{{source="retrieval",version="{name}"}} 41.0',
            f'tamis_index_recall{{source="retrieval",version="{name}"}} 1.0',
            'tamis_updates_total{kind="items"} 1.0',
            "tamis_failed_versions 0.0",
        ):
            assert line in lines, line
        assert any(line.startswith(f'tamis_stage_seconds_count{{stage="ranking",version="{name}"}}') for line in lines)
        assert any(line.startswith(f'tamis_score_drift{{version="{name}"}}') for line in lines)


def test_a_split_gives_each_user_one_version_and_a_shadow_is_compared(tmp_path: Path) -> None:
    from serving_world import other_bundle

    place = PublishedPlace(tmp_path / "place")
    first = place.publish(bundle()).current
    state = place.publish(other_bundle(), share=0.5)
    place.publish(place.path_of(next(iter(state.split))), shadow=True)
    with app(tmp_path / "state", place.folder, shadow_share=1.0) as client:
        users = [f"u{number}" for number in range(40)]
        found = client("POST", "/v1/recommend", {"users": users, "k": 3}).json["results"]
        assert [one["user"] for one in found] == users
        assert all(one["version"] == place.read().version_of(one["user"]) for one in found)
        assert {one["version"] for one in found} == {first, *state.split}
        assert all(("ranking" in one["items"][0]) == (one["version"] == first) for one in found)
        again = [client("POST", "/v1/recommend", {"users": [user], "k": 3}).json["results"][0] for user in users[:5]]
        assert [_ids(one) for one in again] == [_ids(one) for one in found[:5]]
        client.service.shadow.close()
        assert (
            f'tamis_shadow_overlap_count{{version="{next(iter(state.split))}"}} '
            in client("GET", "/metrics").body.decode()
        )


def test_the_interface_describes_itself(plain: AppClient) -> None:
    found = plain("GET", "/openapi.json").json
    assert {"/v1/recommend", "/v1/similar-items", "/v1/rank", "/v1/items", "/v1/users/{user}", "/v1/events"} <= set(
        found["paths"]
    )
    assert found["components"]["schemas"]["RecommendRequest"]["properties"]["k"]["maximum"] == 500


def test_readiness_says_what_is_served(live: AppClient) -> None:
    found = live("GET", "/readyz").json
    assert found["ready"] and found["version"] == live.service.live.served.state.current
    assert found["updates"] == {"applied": 0, "item": 0, "user": 0, "event": 0} and found["failed_versions"] == {}
