"""Users' features in Redis and vectors in Qdrant: gone, standing still and back, while the server answers."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from qdrant_world import QdrantServer, qdrant_server
from redis_world import RedisServer, redis_server
from serving_world import NEW_ITEM, AppClient, app, bundle, other_bundle, server
from tamis.errors import FormatError, SettingError, UnreachableError
from tamis.recommender.recommender_folder import identity_of
from tamis.serving.published import PublishedPlace
from tamis.serving.pushing import push

SLOW_MACHINE_S = 20.0


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as found:
        assert push(bundle(), found.url) == {"users": 60}
        found.save()
        yield found


@pytest.fixture(scope="module")
def qdrant() -> Iterator[QdrantServer]:
    with qdrant_server() as found:
        push(bundle(), qdrant_url(found))
        yield found


def qdrant_url(found: QdrantServer) -> str:
    return f"qdrant://127.0.0.1:{found.port}"


def asked(client: AppClient, user: str = "u1", **more: Any) -> tuple[str | None, list[int], bool]:
    """The degradation, the items and whether the user is known."""
    found = client("POST", "/v1/recommend", {"users": [user], "k": 5, **more})
    assert found.status == 200, found.body
    one = found.json["results"][0]
    return found.json["degraded"], [item["id"] for item in one["items"]], one["known"]


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SLOW_MACHINE_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def users_in(redis: RedisServer) -> tuple[Redis, str]:
    return Redis.from_url(redis.url), f"tamis:{identity_of(bundle())[:12]}:users"


class TestRedis:
    def test_features_come_from_the_store_and_the_request_counts_more(self, redis: RedisServer) -> None:
        with app() as plain, app(store=redis.url, store_timeout_ms=5000) as client:
            assert asked(client) == asked(plain) and asked(client)[0] is None
            assert asked(client, "stranger") == (*asked(plain, "stranger")[:2], False)
            store, key = users_in(redis)
            store.hset(key, "stranger", store.hget(key, "u1") or b"")
            store.hset(key, "u2", store.hget(key, "u1") or b"")
            mine = asked(plain, exclude_seen=False)[1]
            assert asked(client, "stranger") == (None, mine, False)  # the bundle does not know them, the store does
            assert asked(client, "u2", exclude_seen=False)[1] == mine
            described = [{"age": 50.0}]
            assert asked(client, features=described) == asked(plain, features=described)
            together = client("POST", "/v1/recommend", {"users": ["nobody", "u1", "stranger"], "k": 5}).json["results"]
            assert [[item["id"] for item in one["items"]] for one in together[1:]] == [asked(plain)[1], mine]
            ranked = client("POST", "/v1/rank", {"user": "stranger", "items": mine}).json
            assert [item["id"] for item in ranked["items"]] == mine and ranked["degraded"] is None
            store.close()

    def test_gone_the_bundles_features_stand_in_and_back_it_is_asked_again(self, redis: RedisServer) -> None:
        with app() as plain, app(store=redis.url, store_timeout_ms=5000) as client:
            assert client("GET", "/readyz").json["outside"] == {"store": True}
            redis.kill()
            for _ in range(3):
                assert asked(client) == ("bundle_features", *asked(plain)[1:])
            assert client("POST", "/v1/rank", {"user": "u1", "items": [1]}).json["degraded"] == "bundle_features"
            assert client("GET", "/readyz").json["outside"] == {"store": False}
            page = client("GET", "/metrics").body.decode()
            assert 'tamis_outside_up{part="store"} 0.0' in page and 'level="bundle_features"' in page
            redis.start()
            until(lambda: asked(client)[0] is None)
            assert 'tamis_outside_up{part="store"} 1.0' in client("GET", "/metrics").body.decode()

    def test_standing_still_it_costs_one_answer_its_timeout_and_the_next_ones_nothing(self, redis: RedisServer) -> None:
        with app(store=redis.url, store_timeout_ms=300.0) as client:
            assert asked(client)[0] is None
            redis.stand_still()
            started = time.perf_counter()
            found = client("POST", "/v1/recommend", {"users": ["u1"], "k": 5}).json
            assert found["degraded"] == "bundle_features" and 290 < found["stage_ms"]["features"] < 2000
            for _ in range(20):
                found = client("POST", "/v1/recommend", {"users": ["u1"], "k": 5}).json
                assert found["degraded"] == "bundle_features"
            assert time.perf_counter() - started < 5  # and not 21 times 0.3 s
            redis.go_on()
            until(lambda: asked(client)[0] is None)

    def test_a_slow_store_does_not_break_the_deadline(self, redis: RedisServer) -> None:
        with app(store=redis.url, store_timeout_ms=60_000.0) as client:
            asked(client)
            redis.stand_still()
            for _ in range(3):
                started = time.perf_counter()
                degraded, items, _ = asked(client, timeout_ms=400)
                assert time.perf_counter() - started < 2 and degraded is not None and len(items) == 5
            assert client("GET", "/readyz").json["outside"] == {"store": True}  # it was the requests that hurried
            redis.go_on()
            until(lambda: asked(client)[0] is None)

    def test_a_server_that_starts_without_it_finds_it_later(self, redis: RedisServer) -> None:
        redis.kill()
        with app(store=redis.url, store_timeout_ms=5000) as client:
            assert asked(client)[0] == "bundle_features"
            redis.start()
            until(lambda: asked(client)[0] is None)

    def test_a_bundle_that_was_not_pushed_is_told_and_marked(
        self, redis: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        with app(store=redis.url, path=other_bundle(), store_timeout_ms=5000) as client:
            assert asked(client)[0] == "bundle_features"
            assert "Run: tamis push BUNDLE --to URL" in caplog.text
            push(other_bundle(), redis.url)
            assert asked(client)[0] is None

    def test_versions_read_their_own_features(self, redis: RedisServer, tmp_path: Path) -> None:
        push(other_bundle(), redis.url)
        place = PublishedPlace(tmp_path / "place")
        place.publish(bundle())
        with app(tmp_path / "state", place.folder, store=redis.url, store_timeout_ms=5000) as client:
            first = asked(client)
            name = place.publish(other_bundle()).current
            until(lambda: client.service.live.served.state.current == name)
            assert first[0] is None and asked(client)[0] is None


class TestQdrant:
    def test_its_lists_are_those_of_the_bundles_own_index(self, qdrant: QdrantServer) -> None:
        with app() as plain, app(index=qdrant_url(qdrant), index_timeout_ms=10_000) as client:
            for user in ("u1", "u2", "nobody"):
                for more in ({}, {"filters": ["price < 10"]}, {"exclude_seen": False}, {"exclude": [1, 5]}):
                    assert asked(client, user, **more) == asked(plain, user, **more)
            body = {"items": [9, 0], "k": 4}
            mine, theirs = client("POST", "/v1/similar-items", body).json, plain("POST", "/v1/similar-items", body).json
            assert [[item["id"] for item in one["items"]] for one in mine["results"]] == [
                [item["id"] for item in one["items"]] for one in theirs["results"]
            ]

    def test_updates_are_live_and_touch_no_other_server(self, qdrant: QdrantServer, tmp_path: Path) -> None:
        settings = {"index": qdrant_url(qdrant), "index_timeout_ms": 10_000}
        with app(tmp_path, **settings) as client, app(**settings) as other, app() as plain:
            client("PUT", "/v1/items", {"items": [NEW_ITEM, {"item": 9, "price": 1.5, "category": "games"}]})
            assert asked(client, filters=["item == 1000 or item == 9"], exclude_seen=False)[1] != []
            client("DELETE", "/v1/items?id=5")
            assert 5 not in asked(client, "u1", k=41)[1]
            assert asked(other, "u1", k=30) == asked(plain, "u1", k=30)
            again = asked(client, "u1", k=30)
        with app(tmp_path, **settings) as client:
            assert asked(client, "u1", k=30) == again  # the log tells the next start the same

    def test_gone_still_and_back(self) -> None:
        with qdrant_server() as server, app() as plain:
            push(bundle(), qdrant_url(server))
            with app(index=qdrant_url(server), index_timeout_ms=2000) as client:
                assert asked(client) == asked(plain)
                server.stand_still()
                degraded, items, known = asked(client)
                assert (degraded, len(items), known) == ("fewer_sources", 5, True)
                started = time.perf_counter()
                assert {asked(client)[0] for _ in range(10)} == {"fewer_sources"}
                assert time.perf_counter() - started < 5
                similar = client("POST", "/v1/similar-items", {"items": [9], "k": 4}).json
                assert similar["degraded"] == "fewer_sources"
                server.go_on()
                until(lambda: asked(client)[0] is None)
                server.kill()
                assert asked(client)[0] == "fewer_sources"
                cheap = asked(client, filters=["price < 10"])[1]
                assert cheap and all(item < 10 for item in cheap)  # popular items, through the filters
                server.start()  # it comes back empty
                until(lambda: client.service.outside.are_up == {"index": True})
                assert asked(client)[0] == "fewer_sources"
                push(bundle(), qdrant_url(server))
                until(lambda: asked(client) == asked(plain))


def test_the_commands(redis: RedisServer, qdrant: QdrantServer) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from tamis.cli import cli; cli()", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    done = run("push", str(bundle()), "--to", redis.url)
    assert json.loads(done.stdout) == {"users": 60}, done.stderr
    settings = ["--set", "store_timeout_ms=5000", "--set", "index_timeout_ms=5000", "--state", "none"]
    with server(bundle(), "--store", redis.url, "--index", qdrant_url(qdrant), *settings) as process:
        assert process.call("GET", "/readyz").json["outside"] == {"store": True, "index": True}
        found = process.call("POST", "/v1/recommend", {"users": ["u1"], "k": 3})
        assert found.status == 200 and found.json["degraded"] is None
        redis.kill()
        assert process.call("POST", "/v1/recommend", {"users": ["u1"], "k": 3}).json["degraded"] == "bundle_features"
        process.wait_for(f"the store {redis.url} is gone, answers do without it")
        redis.start()
        process.wait_for(f"the store {redis.url} is back")
        assert process.call("POST", "/v1/recommend", {"users": ["u1"], "k": 3}).json["degraded"] is None
        assert process.terminate() == 0


def test_what_cannot_be_pushed_or_asked_is_told(redis: RedisServer) -> None:
    with pytest.raises(SettingError, match=r"push: 'ftp://x' is not known\. Give redis://HOST:PORT/0, qdrant://"):
        push(bundle(), "ftp://x")
    with pytest.raises(FormatError, match="not a saved recommender"):
        push("/nothing", redis.url)
    redis.kill()
    with pytest.raises(UnreachableError, match="See that Redis runs there"):
        push(bundle(), redis.url)
    for wrong in ({"store": "ftp://x"}, {"index": "ftp://x"}):
        with pytest.raises(SettingError, match=r"'ftp://x' is not known\. Give"), app(**wrong):
            pass
