"""A request through the stages: the recommender's own lists, and simpler ones when time is short."""

import time
from pathlib import Path

import numpy as np
import pytest

from serving_world import NEW_ITEM, bundle
from tamis import ItemItem, SimilarItems
from tamis.errors import SettingError, UnknownColumnError, UnknownNameError
from tamis.serving.answering import Question, answer
from tamis.serving.asked_users import AskedUser
from tamis.serving.degradation import FEWER, POPULARITY, RETRIEVAL
from tamis.serving.live_version import LiveVersion
from tamis.serving.own_candidates import rank_own
from tamis.serving.similar import similar_lists
from tamis.serving.telling import lists_told
from tamis.serving.update_log import Event, UpdateLog
from two_stage_world import category_of, two_stages


@pytest.fixture(scope="module")
def version() -> LiveVersion:
    return LiveVersion.load(bundle(), "v1")


def ids_of(version: LiveVersion, question: Question, log: UpdateLog | None = None) -> list[list[int]]:
    told = lists_told(version, question.users, answer(version, question, log), (), explain=False)
    return [[item["id"] for item in one["items"]] for one in told]


def raw(version: LiveVersion, rows: np.ndarray) -> list[int]:
    """Raw ids of rows."""
    return version.recommender.catalogue.ids.gather(rows[rows >= 0]).to_list()


def by_popularity(version: LiveVersion) -> list[int]:
    """All raw ids, the most frequent first."""
    return raw(version, np.argsort(-version.recommender.catalogue.counts, kind="stable"))


def test_the_lists_are_those_of_the_recommender(version: LiveVersion) -> None:
    users = ["u1", "u2", "nobody"]
    found = version.recommender.recommend(users, 5, context={"hour": 20})
    mine = ids_of(version, Question([AskedUser(user) for user in users], k=5, context={"hour": 20}))
    for user, items in zip(users, mine, strict=True):
        assert items == found.filter(found["user"] == user)["item"].to_list()


def test_features_of_some_users_do_not_touch_those_of_others(version: LiveVersion) -> None:
    mixed = [AskedUser("u1"), AskedUser(None, {"age": 50}), AskedUser("u2", {"age": 20.5}), AskedUser("nobody")]
    alone = [ids_of(version, Question([user], k=8))[0] for user in mixed]
    assert ids_of(version, Question(mixed, k=8)) == alone
    assert answer(version, Question(mixed, k=8)).queries.has_features.tolist() == [True, True, True, False]


def test_conditions_and_exclusions_hold_and_seen_items_come_back_on_demand(version: LiveVersion) -> None:
    cheap = Question([AskedUser("u1")], k=20, conditions=("price < 10", "category == 'games'"))
    items = ids_of(version, cheap)[0]
    assert items and all(item < 10 and category_of(item) == "games" for item in items)
    without = Question([AskedUser("u1")], k=20, conditions=cheap.conditions, exclude=[items[0], "777"])
    assert ids_of(version, without)[0] == items[1:]
    seen = Question([AskedUser("u1")], k=20, conditions=cheap.conditions, exclude_seen=False)
    assert set(ids_of(version, seen)[0]) == {1, 5, 9}


def test_counts_of_candidates_are_as_asked(version: LiveVersion) -> None:
    found = answer(version, Question([AskedUser("u1")], k=3, num_candidates=30, num_ranked=12))
    assert (found.num_candidates, found.num_ranked, found.degraded) == (30, 12, None)
    found = answer(version, Question([AskedUser("u1")], k=3))
    assert (found.num_candidates, found.num_ranked) == (20, 20)
    assert (answer(version, Question([AskedUser("u1")], k=32)).lists.items >= 0).sum() == 32  # more than the quota


def test_stages_are_timed(version: LiveVersion) -> None:
    found = answer(version, Question([AskedUser("u1")]))
    assert list(found.stage_ms) == ["features", "filters", "retrieval", "ranking", "ordering"]
    assert all(ms >= 0 for ms in found.stage_ms.values())


class TestShortOfTime:
    """Estimates are set by hand: a pair takes 1 ms, a search 5 ms, the rest nothing."""

    @pytest.fixture
    def slow(self) -> LiveVersion:
        version = LiveVersion.load(bundle(), "v1")
        version.estimates.ranking.add(1000.0, units=1)
        version.estimates.retrieval.add(0.0)
        return version

    def question(self, seconds: float, k: int = 3) -> Question:
        return Question([AskedUser("u1")], k=k, deadline=time.perf_counter() + seconds)

    def test_fewer_candidates_are_ranked(self, slow: LiveVersion) -> None:
        found = answer(slow, self.question(10.5))  # 20 would take 20 s
        assert found.degraded == FEWER and 3 <= found.num_ranked < 11
        assert not np.isnan(found.lists.ranking).any()

    def test_then_the_order_of_retrieval_stands(self, slow: LiveVersion) -> None:
        found = answer(slow, self.question(2.5))
        assert found.degraded == RETRIEVAL and found.num_ranked == 0
        plain = slow.recommender
        request = plain.queries(["u1"])
        expected = plain.candidates(request, plain.allowed(request)).items[0, :3]
        assert found.lists.items[0].tolist() == expected.tolist()
        assert np.isnan(found.lists.ranking).all()

    def test_then_popularity_which_keeps_the_conditions(self, slow: LiveVersion) -> None:
        question = Question([AskedUser("u1"), AskedUser("u2")], k=4, conditions=("price < 20",), deadline=0.0)
        found = answer(slow, question)
        assert found.degraded == POPULARITY
        lists = lists_told(slow, question.users, found, (), explain=False)
        for user, one in zip(("u1", "u2"), lists, strict=True):
            seen = raw(slow, slow.recommender.queries([user]).seen[0])
            left = [item for item in by_popularity(slow) if item < 20 and item not in seen]
            assert [item["id"] for item in one["items"]] == left[:4]
            assert all(item["sources"] == ["popularity"] for item in one["items"])

    def test_a_bad_moment_passes(self, slow: LiveVersion) -> None:
        for _ in range(200):
            answer(slow, self.question(1.0))
        assert answer(slow, self.question(1.0)).degraded is None

    def test_no_item_left_is_no_fault(self, slow: LiveVersion) -> None:
        question = Question([AskedUser("u1")], conditions=("price < 0",), deadline=0.0)
        told = lists_told(slow, question.users, answer(slow, question), (), explain=False)[0]
        assert told["items"] == [] and "price < 0" in told["reason"]


def test_an_explanation_holds_raw_values_and_what_the_stages_did(version: LiveVersion) -> None:
    question = Question([AskedUser("u1")], k=2, conditions=("price < 10",), context={"hour": 20})
    told = lists_told(version, question.users, answer(version, question), ("title", "price"), explain=True)[0]
    first, explanation = told["items"][0], told["explanation"]
    assert first["columns"] == {"title": f"games {first['id']}", "price": 5.0}
    assert first["features"]["category"] == "games" and first["features"]["item"] == first["id"]
    assert first["sources"] == ["retrieval"] and first["score"] == first["ranking"]["click"]
    assert explanation["features"]["user"] == "u1" and explanation["features"]["hour"] == 20
    assert explanation["filters"]["left"] == 10 and explanation["filters"]["on_offer"] == 40
    assert explanation["filters"]["leave_each"] == {"Where('price < 10')": 10}
    assert explanation["num_seen"] == len(version.recommender.queries(["u1"]).seen[0])
    assert explanation["ordering"] == ["ByScore()"]


def test_what_is_not_there_is_told(version: LiveVersion) -> None:
    user = [AskedUser("u1")]
    with pytest.raises(UnknownColumnError, match=r"features: the data has no user column 'agee'\. Did you mean 'age'"):
        answer(version, Question([AskedUser(None, {"agee": 3})]))
    with pytest.raises(UnknownColumnError, match="has no context column 'hours'"):
        answer(version, Question(user, context={"hours": 3}))
    with pytest.raises(UnknownColumnError, match=r"no column 'prize'\. Did you mean 'price'"):
        answer(version, Question(user, conditions=("prize < 3",)))
    with pytest.raises(UnknownColumnError, match="show: the data has no column 'titel'"):
        lists_told(version, user, answer(version, Question(user)), ("titel",), explain=False)


class TestUpdates:
    @pytest.fixture
    def live(self) -> LiveVersion:
        return LiveVersion.load(bundle(), "v1")

    def test_events_are_seen_at_once_also_of_users_who_were_not_known(self, live: LiveVersion, tmp_path: Path) -> None:
        log = UpdateLog(tmp_path)
        for user in ("u1", "stranger"):
            question = Question([AskedUser(user)], k=5)
            before = ids_of(live, question, log)[0]
            log.put_events([Event(user, before[0]), Event(user, "12345")])
            assert ids_of(live, question, log)[0][:4] == before[1:5]

    def test_put_features_make_a_known_user_of_a_stranger(self, live: LiveVersion, tmp_path: Path) -> None:
        log = UpdateLog(tmp_path)
        log.put_user("stranger", {"age": 30.0, "shoe size": 43})  # a column of another version is no fault
        stranger, described = AskedUser("stranger"), AskedUser("stranger", {"age": 30.0})
        assert ids_of(live, Question([stranger], k=5), log) == ids_of(live, Question([described], k=5))
        other = Question([AskedUser("stranger", {"age": 50.0})], k=5)
        assert ids_of(live, other, log) == ids_of(live, Question([AskedUser("stranger", {"age": 50.0})], k=5))

    def test_items_come_change_and_go(self, live: LiveVersion, tmp_path: Path) -> None:
        log = UpdateLog(tmp_path)
        columns = {name: value for name, value in NEW_ITEM.items() if name != "item"}
        log.put_items([(1000, columns)])
        assert live.follow(log) == 1 and live.applied == 1
        only = Question([AskedUser("u1")], k=3, conditions=("item == 1000",))
        assert ids_of(live, only) == [[1000]]
        log.put_items([(1000, {"price": 30.0}), (9, {"title": "Nine"})])
        assert live.follow(log) == 2
        assert ids_of(live, Question([AskedUser("u1")], k=3, conditions=("item == 1000 and price > 20",))) == [[1000]]
        log.remove_items(["1000", "no such item"])
        live.follow(log)
        assert ids_of(live, only) == [[]]
        log.put_items([(1000, {"title": "back"})])
        live.follow(log)
        assert ids_of(live, only) == [[1000]]
        assert live.follow(log) == 0

    def test_a_fresh_version_catches_up_to_the_same(self, live: LiveVersion, tmp_path: Path) -> None:
        log = UpdateLog(tmp_path)
        columns = {name: value for name, value in NEW_ITEM.items() if name != "item"}
        for number in range(20):
            log.put_items([(1000 + number, columns | {"price": float(number)})])
            live.follow(log)
        log.remove_items([1003])
        live.follow(log)
        fresh = LiveVersion.load(bundle(), "v2")
        fresh.follow(log)
        question = Question([AskedUser("u1")], k=30, num_candidates=60)
        assert ids_of(fresh, question) == ids_of(live, question)
        assert fresh.recommender.num_items == 59

    def test_an_update_that_a_version_cannot_take_keeps_no_other_out(self, live: LiveVersion, tmp_path: Path) -> None:
        log = UpdateLog(tmp_path)
        columns = {name: value for name, value in NEW_ITEM.items() if name != "item"}
        log.put_items([(1000, columns), (1001, {"colour": "red"}), (1002, columns | {"price": None}), (1003, columns)])
        assert live.follow(log) == 4
        assert live.num_refused == 2
        assert ids_of(live, Question([AskedUser("u1")], k=5, conditions=("item >= 1000",)))[0] in (
            [1000, 1003],
            [1003, 1000],
        )

    def test_the_filter_cache_knows_of_changes(self, live: LiveVersion, tmp_path: Path) -> None:
        question = Question([AskedUser("u1")], k=20, conditions=("price < 10",))
        ids_of(live, question)
        misses = live.filters.misses
        ids_of(live, question)
        assert live.filters.misses == misses and live.filters.hits >= 1
        log = UpdateLog(tmp_path)
        log.put_items([(9, {"price": 99.0})])
        live.follow(log)
        assert 9 not in ids_of(live, question)[0] and live.filters.misses == misses + 1


class TestSimilar:
    def test_like_items_are_of_one_category(self, version: LiveVersion) -> None:
        lists, rows, source = similar_lists(version, [9, "0", 777], 5)
        assert source == "retrieval" and raw(version, rows) == [9, 0] and rows[2] == -1
        games, books = (raw(version, lists.items[number]) for number in (0, 1))
        assert 9 not in games and {category_of(item) for item in games} == {"games"}
        assert {category_of(item) for item in books} == {"books"}
        assert lists.items[2].tolist() == [-1] * 5
        assert (np.diff(lists.scores[0]) <= 0).all() and lists.scores[0].max() <= 1.0001

    def test_the_scores_are_the_cosines_of_the_vectors(self, version: LiveVersion) -> None:
        recommender = version.recommender
        encoder = recommender.sources[0].candidate_encoder
        vectors = np.asarray(recommender.sources[0].vectors_of(recommender.catalogue, np.arange(40)))
        vectors = vectors[:, : vectors.shape[1] - (encoder.tower.bias is not None)]
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        lists, rows, _ = similar_lists(version, [9], 39)
        cosines = unit @ unit[rows[0]]
        cosines[rows[0]] = -2
        assert lists.items[0].tolist() == np.argsort(-cosines, kind="stable")[:39].tolist()

    def test_conditions_and_exclusions_hold(self, version: LiveVersion) -> None:
        items = raw(version, similar_lists(version, [9], 5, conditions=("price < 10",), exclude=[5])[0].items[0])
        assert len(items) == 5 and 5 not in items and all(item < 10 for item in items)

    def test_sources_that_know_items_are_asked_by_name(self) -> None:
        from two_stage_world import fitted

        towers = fitted()[2]
        recommender = two_stages([SimilarItems(towers, quota=10), ItemItem(quota=10)], ranker=None, context=None)
        both = LiveVersion("v", recommender)
        assert similar_lists(both, [9], 3)[2] == "similar_items"
        lists, _, source = similar_lists(both, [9], 3, source="item_item")
        assert source == "item_item" and (lists.items >= 0).any()
        with pytest.raises(UnknownNameError, match=r"similar-items: there is no source 'itemitem'\. Did you mean"):
            similar_lists(both, [9], 3, source="itemitem")

    def test_where_no_source_knows_items_it_is_told(self) -> None:
        from tamis import Popular

        popular = LiveVersion("v", two_stages([Popular(quota=10)], ranker=None, context=None))
        with pytest.raises(SettingError, match="similar-items: no source of the bundle knows"):
            similar_lists(popular, [9], 3)


class TestOwnCandidates:
    def test_they_are_ordered_by_the_ranker(self, version: LiveVersion) -> None:
        answered, unknown = rank_own(version, AskedUser("u1"), [0, 1, 2, 777, 1], {"hour": 20})
        assert unknown == [777] and set(raw(version, answered.lists.items[0])) == {0, 1, 2}
        assert raw(version, answered.lists.items[0])[0] == 1  # u1 likes games
        assert (np.diff(answered.lists.ranking[0, :, 0]) <= 0).all()

    def test_for_strangers_by_popularity(self, version: LiveVersion) -> None:
        answered, _ = rank_own(version, AskedUser("nobody"), list(range(40)))
        assert raw(version, answered.lists.items[0]) == by_popularity(version)

    def test_none_that_is_known_is_an_empty_list(self, version: LiveVersion) -> None:
        answered, unknown = rank_own(version, AskedUser("u1"), ["x", 777])
        assert unknown == ["x", 777] and not (answered.lists.items >= 0).any()
