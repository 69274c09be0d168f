"""The short way of a request: the same answers as the framework's, together as alone, and counted one by one."""

import asyncio
import json
import math
import re
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from serving_world import Answer, AppClient, app, onnx_bundle, other_bundle
from tamis.serving.published import PublishedPlace
from tamis.serving.read_write_lock import WouldWaitError
from tamis.serving.request_models import EventsRequest, PutUserRequest

USERS = [f"u{number}" for number in range(12)]
LONG_WAY = {"content_type": "application/vnd.tamis+json"}  # JSON too, but only the framework knows


@pytest.fixture(scope="module", params=["torch", "onnx"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    state = tmp_path_factory.mktemp("state")
    with app(state, path=onnx_bundle(), runtime=request.param) as found:
        yield found


def lists(found: Answer) -> Any:
    assert found.status == 200, found.body
    return [{**one, "version": ""} for one in found.json["results"]]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"k": 20, "explain": True, "show": ["title"]},
        {"context": {"hour": 20}},
        {"exclude_seen": False},
        {"exclude": [1, 2, 3], "filters": ["price < 30"]},
        {"features": [{"age": 30.0}]},
        {"num_candidates": 15, "num_ranked": 10},
    ],
    ids=str,
)
def test_the_short_way_leads_to_the_same_answer(client: AppClient, more: dict[str, Any]) -> None:
    for user in ("u3", "nobody"):
        asked = {"users": [user], **more}
        short = client("POST", "/v1/recommend", asked)
        long = client("POST", "/v1/recommend", asked, **LONG_WAY)
        assert lists(short) == lists(long)
        assert set(short.json) == set(long.json) and short.headers.keys() == long.headers.keys()


@pytest.fixture
def all_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is."""
    monkeypatch.setattr("tamis.serving.service._SHORT_MS", math.inf)


@pytest.mark.usefixtures("all_short")
def test_those_asked_at_the_same_time_get_to_the_last_digit_what_they_get_alone(client: AppClient) -> None:
    client.service.put_events(EventsRequest.model_validate({"events": [{"user": "u2", "item": 7}]}))
    client.service.put_user("u3", PutUserRequest.model_validate({"features": {"age": 71.0}}))

    async def all_at_once(asked: list[dict[str, Any]]) -> list[Answer]:
        return await asyncio.gather(*(client.call("POST", "/v1/recommend", one) for one in asked))

    together: list[int] = []
    real = client.service.recommend_together

    def counting(several: Any) -> Any:
        together.append(len(several))
        return real(several)

    client._app.state.parts.short._work = counting
    asked = [{"users": [user], "k": 5} for user in (*USERS, "nobody", "u1")]
    asked += [{"users": ["u1"], "k": 3}, {"users": ["u2"], "context": {"hour": 4}}, {"users": ["u3"], "exclude": [5]}]
    asked += [{"users": ["u4", "u5"]}, {"users": ["u6"], "show": ["titel"]}]
    try:
        found = asyncio.run(all_at_once(asked))
    finally:
        client._app.state.parts.short._work = real
    assert found.pop().status == 422  # and nobody else suffers for it
    alone = [client("POST", "/v1/recommend", one) for one in asked[:-1]]
    assert [lists(one) for one in found] == [lists(one) for one in alone]
    assert len({one.json["request_id"] for one in found}) == len(found)
    assert max(together) == 4 and sum(together) >= len(asked) - 1  # but two users at once go to a thread


@pytest.mark.usefixtures("all_short")
def test_each_of_those_answered_together_is_counted(tmp_path: Path) -> None:
    together: list[int] = []

    async def all_at_once(client: AppClient) -> None:
        await asyncio.gather(*(client.call("POST", "/v1/recommend", {"users": [user]}) for user in USERS))

    with app(tmp_path) as client:
        real = client.service.recommend_together
        client._app.state.parts.short._work = lambda several: together.append(len(several)) or real(several)
        asyncio.run(all_at_once(client))
        page = client("GET", "/metrics").body.decode()

    assert max(together) == 4

    def number(name: str, *labels: str) -> float:
        lines = [line for line in page.splitlines() if line.startswith(name + "{")]
        lines = [line for line in lines if all(one in line for one in labels)]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    assert number("tamis_requests_total", 'route="/v1/recommend"', 'status="200"') == len(USERS)
    assert number("tamis_request_seconds_count", 'route="/v1/recommend"') == len(USERS)
    assert number("tamis_stage_seconds_count", 'stage="retrieval"') == len(USERS)
    assert number("tamis_lists_total", 'known="true"') == len(USERS)


@pytest.mark.usefixtures("all_short")
def test_with_a_split_each_is_counted_for_the_version_that_it_got(tmp_path: Path) -> None:
    place = PublishedPlace(tmp_path / "place")
    names = [place.publish(onnx_bundle()).current]
    place.publish(other_bundle(), share=0.5)
    with app(path=place.folder) as client:

        async def all_at_once() -> list[Answer]:
            return await asyncio.gather(
                *(client.call("POST", "/v1/recommend", {"users": [user], "context": {}}) for user in USERS)
            )

        got = Counter(one.json["results"][0]["version"] for one in asyncio.run(all_at_once()))
        page = client("GET", "/metrics").body.decode()
    assert len(got) == 2 and names[0] in got
    for name, count in got.items():
        line = f'tamis_stage_seconds_count{{stage="retrieval",version="{name}"}} {count:.1f}'
        assert line in page.splitlines(), (line, got)


@pytest.mark.usefixtures("all_short")
@pytest.mark.parametrize("is_seen", [True, False], ids=["before", "only when its turn comes"])
def test_while_an_update_is_applied_a_short_request_waits_in_a_thread_and_the_loop_goes_on(
    client: AppClient, monkeypatch: pytest.MonkeyPatch, is_seen: bool
) -> None:
    if not is_seen:
        monkeypatch.setattr(client.service, "is_short", lambda asked: True)
    version = client.service.live.served.current

    async def run() -> Answer:
        asked = asyncio.ensure_future(client.call("POST", "/v1/recommend", {"users": ["u1"]}))
        await asyncio.sleep(0.2)
        assert not asked.done() and (await client.call("GET", "/healthz")).status == 200
        leave.set()
        return await asked

    def write() -> None:
        with version.lock.writing():
            inside.set()
            leave.wait(10)

    inside, leave = threading.Event(), threading.Event()
    writer = threading.Thread(target=write)
    writer.start()
    inside.wait(10)
    assert asyncio.run(run()).status == 200
    writer.join()
    with version.lock.writing(), pytest.raises(WouldWaitError), version.lock.reading(wait=False):
        pass


@pytest.mark.parametrize("way", [{}, LONG_WAY], ids=["short", "long"])
def test_what_every_request_passes_is_on_both_ways(way: dict[str, str]) -> None:
    body = {"users": ["u1"]}
    with app(api_key="secret-key", max_body_bytes=2000, cors_origins=("https://shop.example",)) as client:
        assert client("POST", "/v1/recommend", body, **way).status == 401
        headers = {"authorization": "Bearer secret-key", "origin": "https://shop.example", "x_request_id": "mine"} | way
        found = client("POST", "/v1/recommend", body, **headers)
        assert found.status == 200 and found.headers["x-request-id"] == found.json["request_id"] == "mine"
        assert found.headers["access-control-allow-origin"] == "https://shop.example"
        large = json.dumps({"users": ["u" * 400] * 10}).encode()
        for told in (str(len(large)), "10"):  # also where the head says otherwise
            refused = client("POST", "/v1/recommend", large, **{**headers, "content_length": told})
            assert refused.status == 413 and refused.error["code"] == "too_large"


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"users": ["u1"], "k": NaN}', b'{"users": ["\xff"]}', b"null"])
def test_what_cannot_be_read_is_refused_in_the_same_words_on_both_ways(client: AppClient, body: bytes) -> None:
    short, long = (client("POST", "/v1/recommend", body, **way) for way in ({}, LONG_WAY))
    assert short.status == long.status and short.status in (400, 422)
    assert short.error == long.error
    assert re.fullmatch("[0-9a-f]{32}", short.json["request_id"])


def test_a_body_in_pieces_and_a_media_type_with_a_charset_are_read(client: AppClient) -> None:
    pieces = [b'{"users": ', b"", b'["u1"], "k"', b": 3}"]

    async def send_in_pieces() -> list[Any]:
        parts = iter({"type": "http.request", "body": one, "more_body": one != pieces[-1]} for one in pieces)
        sent: list[Any] = []
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": "/v1/recommend",
            "raw_path": b"/v1/recommend",
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "headers": [(b"content-type", b"application/json; charset=utf-8")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }

        async def receive() -> Any:
            return next(parts)

        async def send(message: Any) -> None:
            sent.append(message)

        await client._app(scope, receive, send)
        return sent

    head, body = asyncio.run(send_in_pieces())
    assert head["status"] == 200 and len(json.loads(body["body"])["results"][0]["items"]) == 3
