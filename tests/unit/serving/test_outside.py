"""Parts outside the process: what an answer does with one that is slow, gone, or has not what is asked for."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest

from tamis.errors import FormatError, SettingError, UnreachableError
from tamis.index import ExactIndex
from tamis.recommender.stored_features import with_stored
from tamis.serving.degradation import BUNDLE_FEATURES, FEWER, FEWER_SOURCES, LEVELS, POPULARITY, worst
from tamis.serving.outside import Outside, answering_until, is_missed
from tamis.serving.remote_index import RemoteIndex
from tamis.serving.serving_settings import read_settings
from tamis.store.feature_store import ID


class Part:
    """Somebody outside, who answers as long as nobody says otherwise."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.gate, self.asked, self.probed = threading.Event(), 0, 0
        self.gate.set()

    def probe(self) -> None:
        self.probed += 1
        self.answer()

    def answer(self) -> str:
        self.asked += 1
        self.gate.wait(30)
        if self.fault is not None:
            raise self.fault
        return "an answer"


@pytest.fixture
def part() -> Part:
    return Part()


@pytest.fixture
def outside(part: Part) -> Iterator[Outside]:
    found = Outside("the part", part.probe, timeout_s=0.2, level=BUNDLE_FEATURES)
    yield found
    part.gate.set()
    found.close()


def until_up(outside: Outside) -> None:
    deadline = time.monotonic() + 20
    while not outside.is_up:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_answer_comes_through_and_nothing_is_missed(part: Part, outside: Outside) -> None:
    with answering_until(time.perf_counter() + 10) as under_way:
        assert outside.ask(part.answer) == "an answer"
    assert not under_way.missed and outside.ask(part.answer) == "an answer"


def test_what_is_gone_is_not_asked_again_until_a_probe_finds_it(
    part: Part, outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    part.fault = UnreachableError("nobody there")
    with answering_until(time.perf_counter() + 10) as under_way:
        assert outside.ask(part.answer) is None and not outside.is_up
        assert is_missed(BUNDLE_FEATURES) and not is_missed(FEWER_SOURCES)
        asked = part.asked - part.probed
        assert outside.ask(part.answer) is None
        assert part.asked - part.probed == asked
    assert under_way.missed == {BUNDLE_FEATURES} and not is_missed(BUNDLE_FEATURES)
    assert "the part is gone, answers do without it: nobody there" in caplog.text
    part.fault = None
    until_up(outside)
    assert outside.ask(part.answer) == "an answer" and "the part is back" in caplog.text


def test_what_hangs_is_given_up_after_the_timeout(part: Part, outside: Outside) -> None:
    part.gate.clear()
    started = time.perf_counter()
    assert outside.ask(part.answer) is None
    assert 0.2 <= time.perf_counter() - started < 2 and not outside.is_up
    part.gate.set()
    until_up(outside)


def test_a_hurried_request_gives_up_sooner_and_blames_nobody(part: Part, outside: Outside) -> None:
    part.gate.clear()
    with answering_until(time.perf_counter() + 0.1) as under_way:
        started = time.perf_counter()
        assert outside.ask(part.answer) is None
        assert time.perf_counter() - started < 0.19
    assert under_way.missed == {BUNDLE_FEATURES} and outside.is_up
    with answering_until(time.perf_counter() - 1):
        assert outside.ask(part.answer) is None and outside.is_up
    part.gate.set()


def test_one_that_has_not_what_is_asked_for_is_there_and_told_once(
    part: Part, outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    part.fault = FormatError("no such bundle")
    with answering_until(time.perf_counter() + 10) as under_way:
        assert [outside.ask(part.answer) for _ in range(3)] == [None] * 3
    assert outside.is_up and under_way.missed == {BUNDLE_FEATURES}
    assert caplog.text.count("the part: no such bundle") == 1


def test_a_fault_of_ours_is_no_silence(part: Part, outside: Outside) -> None:
    part.fault = ZeroDivisionError("ours")
    with pytest.raises(ZeroDivisionError, match="ours"):
        outside.ask(part.answer)


def test_a_part_that_is_gone_at_the_start_is_found_later(part: Part) -> None:
    part.fault = UnreachableError("not yet")
    outside = Outside("the part", part.probe, timeout_s=0.2, level=BUNDLE_FEATURES)
    assert not outside.is_up
    part.fault = None
    until_up(outside)
    outside.close()


def test_the_level_that_leaves_out_most_is_told() -> None:
    assert worst([]) is worst([None]) is None
    assert worst([FEWER, None, BUNDLE_FEATURES]) == FEWER
    assert worst(LEVELS) == POPULARITY


def test_stored_features_take_the_places_of_the_bundles() -> None:
    features = pl.DataFrame({"age": [1.0, 2.0, 3.0], "code": [4, 5, 6]})
    stored = pl.DataFrame({ID: ["c", "a"], "code": [60, 40], "age": [30.0, 10.0]})
    found, known = with_stored(features, np.array([True, True, False]), pl.Series(["a", "b", "c"]), stored)
    assert found.to_dict(as_series=False) == {"age": [10.0, 2.0, 30.0], "code": [40, 5, 60]}
    assert known.tolist() == [True, True, True]
    found, known = with_stored(features, np.array([True, False, False]), pl.Series(["a", None, "x"]), stored)
    assert found["code"].to_list() == [40, 5, 6] and known.tolist() == [True, False, False]


class Base(ExactIndex):
    """An index outside, which may be gone."""

    fault: Exception | None = None

    def check(self) -> None:
        if self.fault is not None:
            raise self.fault


class TestRemoteIndex:
    vectors = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    queries = np.random.default_rng(1).normal(size=(5, 8)).astype(np.float32)

    @pytest.fixture
    def base(self) -> Base:
        return Base().build(self.vectors[:40], np.arange(40))

    @pytest.fixture
    def index(self, base: Base) -> Iterator[RemoteIndex]:
        outside = Outside("the index", base.check, timeout_s=10, level=FEWER_SOURCES)
        yield RemoteIndex(base, outside, recall=0.9)  # type: ignore[arg-type]
        outside.close()

    def test_it_searches_as_one_index_that_took_the_same_updates(self, index: RemoteIndex) -> None:
        alone = ExactIndex().build(self.vectors[:40], np.arange(40))
        for one in (index, alone):
            one.upsert(self.vectors[40:50], np.arange(35, 45))  # five replaced, five new
            one.remove([0, 1, 44, 99])
            one.upsert(self.vectors[50:51], [1])  # back again
        assert index.ids.tolist() == alone.ids.tolist() and len(index) == len(alone)
        assert (index.dim, index.recall) == (8, 0.9)
        exclude = [np.array([3, 36]), np.array([], np.int64), np.arange(30), np.array([77]), np.array([1])]
        for more in ({}, {"exclude": exclude}, {"allow": [1, 2, 36, 42, 44, 99]}):
            for k in (1, 7, 60):
                mine, theirs = index.search(self.queries, k, **more), alone.search(self.queries, k, **more)
                assert mine.ids.tolist() == theirs.ids.tolist()
                assert mine.scores == pytest.approx(theirs.scores, abs=1e-5)

    def test_without_the_base_it_finds_what_changed_and_the_base_stays_as_it_is(
        self, index: RemoteIndex, base: Base
    ) -> None:
        index.upsert(self.vectors[40:42], [7, 50])
        base.fault = UnreachableError("gone")
        with answering_until(time.perf_counter() + 10) as under_way:
            found = index.search(self.queries, 3)
        assert {*found.ids.ravel().tolist()} == {7, 50, -1} and under_way.missed == {FEWER_SOURCES}
        assert len(base) == 40

    def test_it_can_neither_be_built_nor_saved(self, index: RemoteIndex) -> None:
        with pytest.raises(SettingError, match="cannot be built while it is served"):
            index.build(self.vectors, np.arange(60))
        with pytest.raises(SettingError, match="lies outside of the process"):
            index.save("folder")
        with pytest.raises(SettingError, match="it is not in folder"):
            RemoteIndex.load("folder")


def test_secrets_are_not_shown() -> None:
    settings = read_settings(
        {"store": "redis://me:hush@h/0", "index_api_key": "hush hush", "api_key": "hush hush hush"}, environment={}
    )
    assert "hush" not in str(settings.shown()) and settings.shown()["store"] == "redis://me:***@h/0"
    assert settings.shown()["api_key"] == settings.shown()["index_api_key"] == "***"
