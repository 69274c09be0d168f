"""Every store of users' features: the embedded one, and Redis' own server."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from redis_world import RedisServer, free_port, redis_server
from tamis.errors import FormatError, NotSavableError, SettingError, UnreachableError
from tamis.recommender.audience import Audience
from tamis.store.feature_store import ID, FeatureStore
from tamis.store.redis_store import RedisStore, without_password

FEATURES = pl.DataFrame(
    {
        "user": pl.Series([3, 4, 5, 6], dtype=pl.Int32),
        "age": pl.Series([0.1, -1e30, float("inf"), 0.0], dtype=pl.Float32),
        "income": pl.Series([0.1, None, float("nan"), 1e300], dtype=pl.Float64),
        "history": pl.Series([[1, 2], [], None, [2**31 - 1]], dtype=pl.List(pl.Int32)),
        "vector": pl.Series([[0.5, 1.0], [1.5, 2.0], [0.1, 0.2], [0.0, -1.0]], dtype=pl.Array(pl.Float32, 2)),
        "is_new": [True, False, None, True],
        "name": ['a "b"', "ü ß 東", "", None],
    }
)
IDS = {"text": pl.Series(["u1", "ü:2", "", "4"]), "numbers": pl.Series([7, 2**63 - 1, -5, 0], dtype=pl.Int64)}


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(params=IDS.keys())
def ids(request: pytest.FixtureRequest) -> pl.Series:
    return IDS[request.param]


STORES = ["embedded", "redis"]
if find_spec("feast") is not None:  # it has an environment of its own, see test_feast_contract.py
    STORES.append("feast")


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, ids: pl.Series, redis: RedisServer, tmp_path: Path) -> Iterator[FeatureStore]:
    if request.param == "embedded":
        Audience(ids, FEATURES).save(tmp_path)
        found: FeatureStore = Audience.load(tmp_path)
    elif request.param == "feast":
        found = in_feast(tmp_path, ids, "bundle")
        found.push(ids, FEATURES)
    else:
        found = in_redis(redis, ids, f"bundle-{ids.dtype}")
        found.push(ids, FEATURES)
    yield found
    found.close()


def in_redis(redis: RedisServer, ids: pl.Series, bundle: str, **settings: Any) -> RedisStore:
    return RedisStore(redis.url, bundle, FEATURES.schema, ids.dtype, **{"timeout_s": 5.0, **settings})


def in_feast(folder: Path, ids: pl.Series, bundle: str) -> Any:
    from tamis.store.feast_store import FeastStore

    config = {
        "project": "tests",
        "provider": "local",
        "registry": str(folder / "registry.db"),
        "online_store": {"type": "sqlite", "path": str(folder / "online.db")},
        "entity_key_serialization_version": 3,
    }
    (folder / "feature_store.yaml").write_text(json.dumps(config))  # which is YAML too
    return FeastStore(folder, bundle, FEATURES.schema, ids.dtype)


def expected(ids: pl.Series, rows: list[int], store: FeatureStore | None = None) -> pl.DataFrame:
    is_feast = type(store).__name__ == "FeastStore"  # which makes null of NaN
    features = FEATURES.with_columns(pl.col("income").fill_nan(None)) if is_feast else FEATURES
    return pl.DataFrame({ID: ids.gather(rows)}).hstack(features[rows])


@pytest.mark.parametrize("rows", [[0], [1], [2], [3], [3, 0, 2], [1, 1]], ids=str)
def test_what_was_put_in_comes_out_to_the_last_bit_in_the_order_asked(
    store: FeatureStore, ids: pl.Series, rows: list[int]
) -> None:
    assert_frame_equal(store.rows(ids.gather(rows)), expected(ids, rows, store), check_exact=True)


def test_unknown_ids_and_nulls_have_no_row(store: FeatureStore, ids: pl.Series) -> None:
    stranger = pl.Series(["stranger"] if ids.dtype == pl.String else [123], dtype=ids.dtype)
    nobody = pl.Series([None], dtype=ids.dtype)
    asked = pl.concat([stranger, ids.gather([2]), nobody, ids.gather([0])])
    assert_frame_equal(store.rows(asked), expected(ids, [2, 0], store))
    for nothing in (stranger, nobody, ids.clear()):
        assert_frame_equal(store.rows(nothing), expected(ids, []))


def test_threads_may_ask_at_once(store: FeatureStore, ids: pl.Series) -> None:
    wrong: list[int] = []

    def ask(row: int) -> None:
        for _ in range(20):
            is_right = store.rows(ids.gather([row])).equals(expected(ids, [row]))
            wrong.extend([] if is_right else [row])

    threads = [threading.Thread(target=ask, args=(row,)) for row in (0, 1, 3, 0, 1, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_mapped_file_may_be_replaced_while_it_is_read(tmp_path: Path) -> None:
    Audience(IDS["text"], FEATURES).save(tmp_path)
    old = Audience.load(tmp_path)
    (tmp_path / "users.arrow").unlink()
    Audience(IDS["text"], FEATURES[[3, 2, 1, 0]]).save(tmp_path)
    assert_frame_equal(old.rows(IDS["text"]), expected(IDS["text"], [0, 1, 2, 3]))
    assert Audience.load(tmp_path).features["user"].to_list() == [6, 5, 4, 3]


def test_a_mapped_file_takes_no_memory_of_its_own(tmp_path: Path) -> None:
    num_users = 400_000
    features = pl.DataFrame({f"f{i}": np.ones(num_users, np.float64) for i in range(20)})  # 64 MB
    Audience(pl.Series(range(num_users)), features).save(tmp_path)
    del features
    before = private_bytes()
    audience = Audience.load(tmp_path)
    assert audience.rows(pl.Series([1, 399_999]))["f19"].to_list() == [1.0, 1.0]
    assert private_bytes() - before < 30e6


def private_bytes() -> int:
    """Memory of this process that is in no file."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_Dirty"))


class TestRedis:
    ids = IDS["text"]

    def test_a_bundle_that_was_not_pushed_is_told(self, redis: RedisServer) -> None:
        with (
            in_redis(redis, self.ids, "unpushed") as store,
            pytest.raises(FormatError, match=r"no features of the bundle unpushed\. Run: tamis push BUNDLE --to URL"),
        ):
            store.rows(self.ids)

    def test_bundles_lie_side_by_side_and_the_oldest_go(self, redis: RedisServer) -> None:
        stores = [in_redis(redis, self.ids, f"kept-{number}") for number in range(3)]
        for number, store in enumerate(stores):
            store.push(self.ids, FEATURES.with_columns(user=pl.lit(number, pl.Int32)), keep=2)
        assert [store.rows(self.ids[:1])["user"][0] for store in stores[1:]] == [1, 2]
        with pytest.raises(FormatError, match="no features of the bundle kept-0"):
            stores[0].rows(self.ids[:1])
        stores[1].push(self.ids[:1], FEATURES[:1], keep=1)  # again: what it had before is gone
        assert len(stores[1].rows(self.ids)) == 1
        with pytest.raises(SettingError, match="keep is 0"):
            stores[1].push(self.ids, FEATURES, keep=0)
        for store in stores:
            store.close()

    @pytest.mark.parametrize("value", ["{", "[]", "{}", '{"user": "x"}', "null"])
    def test_a_damaged_value_is_told(self, redis: RedisServer, value: str) -> None:
        with in_redis(redis, self.ids, "damaged") as store:
            store.push(self.ids, FEATURES)
            store._redis.hset("tamis:damaged:users", "u1", value)
            with pytest.raises(FormatError, match=r"users \['u1'\] does not fit the bundle damaged"):
                store.rows(self.ids[:1])
            assert len(store.rows(self.ids[1:])) == 3

    def test_what_json_cannot_hold_is_not_pushed(self, redis: RedisServer) -> None:
        from datetime import date

        with (
            in_redis(redis, self.ids, "dates") as store,
            pytest.raises(NotSavableError, match="'born' holds Date, which JSON does not"),
        ):
            store.push(self.ids[:1], pl.DataFrame({"born": [date(2000, 1, 1)]}))

    def test_a_server_that_is_gone_is_told_and_its_password_is_not(self) -> None:
        url = f"redis://me:hush@127.0.0.1:{free_port()}/0"
        with RedisStore(url, "b", FEATURES.schema, pl.String(), timeout_s=0.5) as store:
            for ask in (lambda: store.rows(self.ids), store.ping, lambda: store.push(self.ids, FEATURES)):
                with pytest.raises(UnreachableError, match="it does not answer") as told:
                    ask()
                assert "hush" not in str(told.value) and "me:***@" in str(told.value)

    def test_a_server_that_hangs_costs_no_more_than_the_timeout(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
            with RedisStore(url, "b", FEATURES.schema, pl.String(), timeout_s=0.05) as store:
                started = time.perf_counter()
                with pytest.raises(UnreachableError):
                    store.rows(self.ids)
                assert time.perf_counter() - started < 1.0

    def test_it_answers_again_when_the_server_is_back(self) -> None:
        with redis_server() as server, in_redis(server, self.ids, "back", timeout_s=1.0) as store:
            store.push(self.ids, FEATURES)
            server.save()
            server.kill()
            with pytest.raises(UnreachableError):
                store.rows(self.ids)
            server.start()
            assert_frame_equal(store.rows(self.ids[:1]), expected(self.ids, [0]))

    def test_a_url_of_something_else_is_refused(self) -> None:
        with pytest.raises(SettingError, match="'http://x' is no URL of Redis"):
            RedisStore("http://x", "b", FEATURES.schema, pl.String())


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://:pa@ss@h:1", "redis://:***@h:1"),
        ("rediss://me:secret@h", "rediss://me:***@h"),
        ("redis://me@h", "redis://me@h"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown


class TestFeast:
    __test__ = "feast" in STORES
    ids = IDS["text"]

    def test_bundles_lie_side_by_side_and_the_oldest_go(self, tmp_path: Path) -> None:
        stores = [in_feast(tmp_path, self.ids, f"kept{number}") for number in range(3)]
        for number, store in enumerate(stores):
            store.push(self.ids, FEATURES.with_columns(user=pl.lit(number, pl.Int32)), keep=2)
        assert [store.rows(self.ids[:1])["user"][0] for store in stores[1:]] == [1, 2]
        with pytest.raises(FormatError, match=r"no features of the bundle kept0\. Run: tamis push BUNDLE --to URL"):
            in_feast(tmp_path, self.ids, "kept0").rows(self.ids[:1])

    def test_one_that_was_not_pushed_is_found_once_it_was(self, tmp_path: Path) -> None:
        asking = in_feast(tmp_path, self.ids, "later")
        in_feast(tmp_path, self.ids, "other").push(self.ids, FEATURES)
        asking.ping()
        with pytest.raises(FormatError, match="no features of the bundle later"):
            asking.rows(self.ids)
        in_feast(tmp_path, self.ids, "later").push(self.ids, FEATURES)
        assert len(asking.rows(self.ids)) == 4

    def test_a_store_that_is_gone_is_told(self, tmp_path: Path) -> None:
        with redis_server() as server:
            store = in_feast(tmp_path, self.ids, "gone")
            config = json.loads((tmp_path / "feature_store.yaml").read_text())
            config["online_store"] = {"type": "redis", "connection_string": f"127.0.0.1:{server.port}"}
            (tmp_path / "feature_store.yaml").write_text(json.dumps(config))
            store = type(store)(tmp_path, "gone", FEATURES.schema, pl.String())
            store.push(self.ids, FEATURES)
            assert_frame_equal(store.rows(self.ids[:2]), expected(self.ids, [0, 1]))
            server.kill()
            for ask in (lambda: store.rows(self.ids), store.ping):
                with pytest.raises(UnreachableError, match="it does not answer"):
                    ask()

    def test_what_it_cannot_hold_or_is_not_there_is_told(self, tmp_path: Path) -> None:
        from tamis.store.feast_store import FeastStore

        with pytest.raises(SettingError, match=r"has no feature_store\.yaml"):
            FeastStore(tmp_path / "nothing", "b", FEATURES.schema, pl.String())
        in_feast(tmp_path, self.ids, "b")
        with pytest.raises(NotSavableError, match="'born' holds Date, which Feast does not"):
            FeastStore(tmp_path, "b", {"born": pl.Date()}, pl.String())
