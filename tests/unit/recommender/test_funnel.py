"""A world whose every loss is placed by hand: what each stage keeps, loses and is worth."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tamis import Dataset, Recommender, Workflow, ops
from tamis.errors import DataError, SettingError, UnknownColumnError, UnknownNameError
from tamis.index import SearchResult
from tamis.recommender.candidates import Candidates
from tamis.recommender.filters import DenyItems, SeenItems, Where
from tamis.recommender.funnel import Funnel
from tamis.recommender.ordering import Caps, Pins, SoftmaxSampling
from tamis.recommender.source import Source

# k is 2. The ranker's scores by item; 50 and 60 are of one kind, of which the ordering lets one pass.
SCORES = {10: 0.2, 20: 0.3, 30: 0.75, 40: 0.1, 50: 0.8, 60: 0.9, 70: 0.7, 80: 0.6, 90: 0.4, 100: 0.5}
TRAIN = {1: [10], 2: [20], 3: [30], 4: [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]}
FIRST = {1: [40, 50, 60, 70], 2: [50, 60], 3: [40], 4: []}
SECOND = {1: [60, 80], 2: [], 3: [40], 4: []}
HELD_OUT = [
    (1, 999),  # outside the catalogue
    (1, 10),  # met before: not relevant
    (1, 20),  # denied twice
    (1, 30),  # not retrieved
    (1, 40),  # the ranker's fifth of five
    (1, 50),  # the ranker's second, too many of a kind
    (1, 60),  # served
    (2, 70),  # not retrieved
    (2, 90),  # denied by one filter
    (2, 100),  # no longer on offer
    (2, 50),  # too many of a kind
    (2, 60),  # served
    (3, 30),  # met before: user 3 has nothing relevant
    (9, 60),  # nobody knows user 9
]
SECOND_HIT = 1 / math.log2(3)


class Placed(Source):
    """Lists as they were placed, by raw user id."""

    def __init__(self, lists: dict[int, list[int]], *, quota: int, name: str) -> None:
        super().__init__(quota=quota, name=name)
        self.lists = lists

    def fit(self, catalogue: Any, interactions: Any, audience: Any) -> None:
        self.catalogue, self.audience = catalogue, audience

    def can_answer(self, queries: Any) -> Any:
        return queries.users >= 0

    def search(self, queries: Any, k: int, *, exclude: Any = None, allow: Any = None) -> SearchResult:
        ids, scores = np.full((len(queries), k), -1), np.full((len(queries), k), -np.inf, np.float32)
        for row, user in enumerate(queries.users.tolist()):
            items = self.catalogue.rows_of(pl.Series(self.lists[self.audience.ids[user]], dtype=pl.Int64)).tolist()
            kept = [i for i in items if (allow is None or i in allow) and (exclude is None or i not in exclude[row])]
            ids[row, : len(kept)], scores[row, : len(kept)] = kept[:k], np.arange(k, k - len(kept), -1)
        return SearchResult(scores, ids)

    def settings(self) -> dict[str, Any]:
        return {}

    def save(self, folder: Path) -> None: ...

    @classmethod
    def load(cls, folder: Path, settings: dict[str, Any]) -> Placed:
        raise NotImplementedError


class ByTable:
    """A ranker that knows each item's score."""

    targets: Sequence[str] = ("click",)

    def rank(self, queries: Any, candidates: Candidates, catalogue: Any) -> Candidates:
        table = np.array([SCORES[item] for item in catalogue.ids.to_list()], np.float32)
        found = np.where(candidates.items >= 0, table[candidates.items], np.nan)[:, :, None].astype(np.float32)
        found[~queries.has_features] = np.nan
        return replace(candidates, ranking=found)


@pytest.fixture(autouse=True, scope="module")
def forget_the_source() -> Iterator[None]:
    yield
    Source.kinds.pop("Placed", None)


def build(*, ranker: bool = True, second: bool = True, **settings: Any) -> Recommender:
    rows = pl.DataFrame(
        [(user, item) for user, items in TRAIN.items() for item in items], ["user", "item"], orient="row"
    )
    graph = (["user"] >> ops.Categorify() >> ops.TagAsUserID()) + (["item"] >> ops.Categorify() >> ops.TagAsItemID())
    workflow = Workflow(graph).fit(Dataset(rows))
    kinds = ["x" if item in (50, 60) else f"kind {item}" for item in SCORES]
    prices = [9 if item == 20 else 1 for item in SCORES]
    sources = [Placed(FIRST, quota=4, name="first"), Placed(SECOND, quota=2, name="second")]
    given = {
        "filters": [SeenItems(), Where("price < 5"), DenyItems([20, 90])],
        "ordering": [Caps({"kind": 1})],
        **settings,
    }
    built = Recommender(sources if second else sources[:1], **given)
    items = pl.DataFrame({"item": list(SCORES), "kind": kinds, "price": prices})
    built.fit(workflow, workflow.transform(Dataset(rows)), items=items)
    if ranker:
        built.ranker = ByTable()  # type: ignore[assignment]
    built.remove_items([100])
    return built


def held_out(rows: Sequence[tuple[int, int]] = HELD_OUT) -> Dataset:
    country = ["de" if user == 1 else "fr" for user, _ in rows]
    return Dataset(pl.DataFrame(rows, ["user", "item"], orient="row").with_columns(country=pl.Series(country)))


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    return build()


@pytest.fixture(scope="module")
def funnel(recommender: Recommender) -> Funnel:
    return recommender.funnel(held_out(), k=2, slices=["country", "kind"], num_samples=200)


def column(table: pl.DataFrame, key: str, value: str) -> dict[str, Any]:
    return dict(zip(table[key].to_list(), table[value].to_list(), strict=True))


def test_every_stage_loses_what_was_placed_for_it(funnel: Funnel) -> None:
    assert (funnel.num_users, funnel.num_relevant) == (2, 11)
    assert (funnel.num_rows, funnel.num_unknown_rows, funnel.num_seen_items) == (14, 1, 2)
    assert funnel.stages.select("stage", "items", "lost", "loss").rows() == [
        ("relevant", 11, 0, None),
        ("in the catalogue", 9, 2, "outside the catalogue"),
        ("left by the filters", 7, 2, "filtered"),
        ("retrieved", 5, 2, "not retrieved"),
        ("ranked in the top 2", 4, 1, "ranked below k"),
        ("served", 2, 2, "moved out by the ordering"),
    ]
    assert funnel.stages["gained"].to_list() == [0] * 6
    assert funnel.stages["share"].to_list() == pytest.approx([1, 9 / 11, 7 / 11, 5 / 11, 4 / 11, 2 / 11])
    assert column(funnel.stages, "stage", "recall")["retrieved"] == pytest.approx((3 / 6 + 2 / 5) / 2)
    assert column(funnel.stages, "stage", "recall")["served"] == pytest.approx((1 / 6 + 1 / 5) / 2)


def test_every_lost_item_is_named_with_the_stage_that_lost_it(funnel: Funnel) -> None:
    assert funnel.lost.columns == ["user", "item", "stage", "detail", "retrieval_rank", "ranker_rank"]
    assert funnel.lost.rows() == [
        (1, 999, "outside the catalogue", "unknown", None, None),
        (1, 20, "filtered", "Where('price < 5'), DenyItems(2 ids)", None, None),
        (1, 30, "not retrieved", "no source found it", None, None),
        (1, 40, "ranked below k", "place 5 of 5", 2, 5),
        (1, 50, "moved out by the ordering", "place 2, left at step 1, Caps", 3, 2),
        (2, 70, "not retrieved", "no source found it", None, None),
        (2, 90, "filtered", "DenyItems(2 ids)", None, None),
        (2, 100, "outside the catalogue", "no longer on offer", None, None),
        (2, 50, "moved out by the ordering", "place 2, left at step 1, Caps", 1, 2),
    ]


def test_sources_have_what_they_found_and_what_no_other_found(funnel: Funnel) -> None:
    assert funnel.sources.select("source", "candidates", "items", "alone").rows() == [
        ("first", 4, 5, 4),  # of user 1 the other source has 60 too
        ("second", 2, 1, 0),
        ("all sources", 5, 5, 0),
    ]
    recall = column(funnel.sources, "source", "recall")
    assert [recall[name] for name in ("first", "second")] == pytest.approx([(3 / 6 + 2 / 5) / 2, (1 / 6 + 0) / 2])
    alone = column(funnel.sources, "source", "alone_recall")
    assert [alone[name] for name in ("first", "second")] == pytest.approx([(2 / 6 + 2 / 5) / 2, 0])


def test_filters_have_what_they_deny_first_and_alone(funnel: Funnel) -> None:
    assert funnel.filters.select("filter", "denied", "lost", "alone").rows() == [
        ("SeenItems()", 0, 0, 0),
        ("Where('price < 5')", 1, 1, 0),
        ("DenyItems(2 ids)", 2, 1, 1),
    ]


def test_items_met_before_count_when_asked_for(recommender: Recommender) -> None:
    found = recommender.funnel(held_out(), k=2, count_seen=True, num_samples=20)
    assert (found.num_users, found.num_relevant, found.num_seen_items) == (3, 13, 0)
    assert column(found.filters, "filter", "lost")["SeenItems()"] == 2
    assert found.lost.filter(pl.col("detail") == "SeenItems()").select("user", "item").rows() == [(1, 10), (3, 30)]


def test_the_lists_are_worth_what_they_are_by_hand(funnel: Funnel) -> None:
    values = {(row["system"], row["metric"]): row["value"] for row in funnel.systems.to_dicts()}
    one_hit = 1 / (1 + SECOND_HIT)  # at the first of two places
    # retrieval: 60, 40 and 50, 60; the ranker: 60, 50 twice; served: 60, 70 and 60 alone; popularity: 30, 40 and 10, 30
    assert [values[name, "ndcg_at_2"] for name in ("popularity", "retrieval", "ranker", "funnel")] == pytest.approx(
        [0.5, 1, 1, one_hit]
    )
    assert values["funnel", "recall_at_2"] == pytest.approx((1 / 6 + 1 / 5) / 2)
    assert values["funnel", "mrr_at_2"] == 1
    assert funnel["ndcg_at_2"] == pytest.approx(one_hit)
    assert funnel.users["user"].to_list() == [1, 2]
    assert funnel.users["popularity: ndcg_at_2"].to_list() == [1, 0]


def test_the_lift_is_over_the_same_candidates(funnel: Funnel) -> None:
    value = {(row["order"], row["metric"]): row["value"] for row in funnel.lift.to_dicts()}
    lift = {(row["order"], row["metric"]): row["lift"] for row in funnel.lift.to_dicts()}
    # of user 1 three relevant items were found, of user 2 two; only these count
    assert value["retrieval", "recall_at_2"] == pytest.approx((2 / 3 + 1) / 2)
    assert value["funnel", "recall_at_2"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert lift["funnel", "recall_at_2"] == pytest.approx((1 / 3 + 1 / 2) / 2 - (2 / 3 + 1) / 2)
    # user 1: 60 and 50 are above 70 and 80, 40 below; user 2 has relevant candidates only, so nothing to compare
    assert [value["ranker", "gauc"], value["ranker", "auc"]] == pytest.approx([4 / 6, 4 / 6])
    assert value["retrieval", "gauc"] == pytest.approx(5.5 / 6)  # 60, 40, then 50 and 80 with one score, then 70
    assert lift["ranker", "gauc"] == pytest.approx(-1.5 / 6)


def test_ceilings_are_what_perfect_stages_would_reach(funnel: Funnel) -> None:
    values = {(row["ceiling"], row["metric"]): row["value"] for row in funnel.ceilings.to_dicts()}
    reached = {(row["ceiling"], row["metric"]): row["reached"] for row in funnel.ceilings.to_dicts()}
    assert values["perfect_ranker", "recall_at_2"] == pytest.approx((2 / 6 + 2 / 5) / 2)
    assert values["perfect", "ndcg_at_2"] == 1
    assert values["perfect_retrieval", "ndcg_at_2"] == 1  # 30 and 70 join; the first two are 60 and 50 still
    assert reached["perfect", "recall_at_2"] == pytest.approx((1 / 6 + 1 / 5) / (2 / 6 + 2 / 5))


def test_perfect_retrieval_lets_the_ranker_order_what_was_missing() -> None:
    found = build().funnel(held_out([(3, 70), (3, 10), (3, 40)]), k=1, metrics=["recall_at_1"], num_samples=20)
    assert found.stages["items"].to_list() == [3, 3, 3, 1, 1, 1]  # 40 is the only candidate
    ceiling = {row["ceiling"]: row["value"] for row in found.ceilings.to_dicts()}
    assert ceiling["perfect_retrieval"] == pytest.approx(1 / 3)
    deep = build().funnel(held_out([(3, 70), (3, 10), (3, 40)]), k=2, metrics=["recall_at_2"], num_samples=20)
    assert deep.value("funnel", "recall_at_2").value == pytest.approx(1 / 3)
    assert deep.value("perfect_retrieval", "recall_at_2").value == pytest.approx(2 / 3)  # 70, 10, and 40 third


def test_slices_judge_parts_by_themselves(funnel: Funnel) -> None:
    rows = {(row["slice"], row["value"]): row for row in funnel.slices.to_dicts() if row["metric"] == "recall_at_2"}
    assert {key: (row["users"], row["items"], row["retrieved"], row["served"]) for key, row in rows.items()} == {
        ("users", "new: fewer than 5 items"): (2, 11, 5, 2),
        ("items", "head: the most popular 20%"): (1, 1, 0, 0),  # 10, 20 and 30 have two rows, 10 and 20 are the head
        ("items", "tail"): (2, 9, 5, 2),
        ("items", "outside the catalogue"): (1, 1, 0, 0),
        ("country", "de"): (1, 6, 3, 1),
        ("country", "fr"): (1, 5, 2, 1),
        ("kind", "x"): (2, 4, 4, 2),
        **{("kind", f"kind {item}"): (1, 1, int(item == 40), 0) for item in (20, 30, 40, 70, 90, 100)},
        ("kind", "(none)"): (1, 1, 0, 0),
    }
    assert rows["kind", "x"]["retrieval"] == pytest.approx((1 / 2 + 1) / 2)  # 60 of user 1; 50 and 60 of user 2
    assert rows["kind", "x"]["funnel"] == pytest.approx(1 / 2)
    assert rows["country", "de"]["funnel"] == pytest.approx(1 / 6)


def test_unknown_users_count_when_asked_for() -> None:
    found = build().funnel(held_out(), k=2, count_unknown=True, num_samples=20)
    assert (found.num_users, found.num_relevant, found.num_unknown_rows) == (3, 12, 1)
    assert found.lost.filter(pl.col("user") == 9).rows() == [(9, 60, "ranked below k", "place 5 of 6", 5, 5)]
    assert column(found.sources, "source", "items")["popularity"] == 1  # 10, 30, 40, 50, 60, 70: six at most
    far = build().funnel(held_out([(1, 60), (9, 80)]), k=2, count_unknown=True, num_samples=20)
    assert far.lost["detail"].to_list() == ["popularity alone answered"]


def test_a_step_that_moves_an_item_in_gains_it() -> None:
    found = build(ordering=[Pins({0: 30})]).funnel(held_out([(1, 30), (1, 50), (1, 60)]), k=2, num_samples=20)
    assert found.stages.select("items", "lost", "gained").rows() == [
        (3, 0, 0),
        (3, 0, 0),
        (3, 0, 0),
        (2, 0, 0),  # 30 was not retrieved, but is served, so no stage lost it
        (2, 0, 0),
        (2, 1, 1),  # 30, 60; 50 had to go
    ]
    assert found.lost.rows() == [(1, 50, "moved out by the ordering", "place 2, left at step 1, Pins", 3, 2)]
    assert "1 moved out by the ordering, 1 moved in" in repr(found)


def test_of_several_steps_the_one_is_named_that_moved_the_item_out() -> None:
    steps = [SoftmaxSampling(1e-6, seed=1), Caps({"kind": 1}), Pins({1: 30})]
    found = build(ordering=steps).funnel(held_out([(1, 50), (2, 60)]), k=2, num_samples=20)
    assert found.lost.rows() == [(1, 50, "moved out by the ordering", "place 2, left at step 2, Caps", 3, 2)]
    pinned = build(ordering=[*steps[:1], Pins({0: 30, 1: 70})]).funnel(held_out([(1, 50)]), k=2, num_samples=20)
    assert pinned.lost["detail"].to_list() == ["place 2, left at step 2, Pins"]


def test_without_a_ranker_the_order_is_that_of_retrieval() -> None:
    found = build(ranker=False, ordering=()).funnel(held_out(), k=2, num_samples=20)
    assert found.systems["system"].unique(maintain_order=True).to_list() == ["popularity", "retrieval", "funnel"]
    assert found.ceilings["ceiling"].unique(maintain_order=True).to_list() == ["perfect_ranker", "perfect"]
    assert found.lift["order"].unique(maintain_order=True).to_list() == ["retrieval", "funnel"]
    assert found.stages["items"].to_list() == [11, 9, 7, 5, 4, 4]
    assert "ranker" not in found.differences["system"].to_list()


def test_filters_of_the_request_come_after_the_recommenders(recommender: Recommender) -> None:
    found = recommender.funnel(held_out(), k=2, filters="item != 60", num_samples=20)
    assert column(found.filters, "filter", "lost")["Where('item != 60')"] == 2
    assert found.stages["items"].to_list()[-1] == 2  # now 50 is the best of its kind


def test_a_k_beyond_the_lists_is_no_matter(recommender: Recommender) -> None:
    found = recommender.funnel(held_out(), k=9, num_samples=20)
    assert found.stages["items"].to_list() == [11, 9, 7, 5, 5, 3]  # 60 twice and 40; the other of the kind is left out
    assert found.value("retrieval", "recall_at_9").value == pytest.approx((3 / 6 + 2 / 5) / 2)


def test_an_oracle_is_a_ceiling_behind_the_same_filters(recommender: Recommender) -> None:
    lists = {1: [10, 20, 999, 60, 50], 2: [30, 60]}  # 10 is seen, 20 denied, 999 unknown
    found = recommender.funnel(held_out(), k=2, oracle=lists, num_samples=50)
    value, one_hit = found.value("oracle", "ndcg_at_2").value, 1 / (1 + SECOND_HIT)
    assert value == pytest.approx((1 + SECOND_HIT * one_hit) / 2)
    share = found.ceilings.filter((pl.col("ceiling") == "oracle") & (pl.col("metric") == "ndcg_at_2"))["reached"][0]
    assert share == pytest.approx(one_hit / value)
    called = recommender.funnel(
        held_out(), k=2, oracle=lambda users: np.array([[60, 50, 40]] * len(users)), num_samples=20
    )
    assert called.value("oracle", "recall_at_2").value == pytest.approx((2 / 6 + 2 / 5) / 2)


def test_oracle_scores_order_the_same_candidates(recommender: Recommender) -> None:
    def truth(users: Any, items: Any) -> Any:
        return np.where((users == 1) & (items == 40), 5.0, -items.astype(float))

    found = recommender.funnel(held_out(), k=1, oracle_scores=truth, num_samples=20)
    assert found.value("oracle_ranker", "recall_at_1").value == pytest.approx((1 / 6 + 1 / 5) / 2)  # 40, and 50
    with pytest.raises(SettingError, match=r"oracle_scores gave an array of shape \[1\] for 7 pairs"):
        recommender.funnel(held_out(), k=2, oracle_scores=lambda users, items: [1.0])


def test_an_oracle_that_does_not_fit_is_refused(recommender: Recommender) -> None:
    with pytest.raises(SettingError, match=r"funnel: the oracle has no list for 1 of 2 users, 2 say. Give one per"):
        recommender.funnel(held_out(), k=2, oracle={1: [60]})
    with pytest.raises(SettingError, match=r"funnel: the oracle gave 1 lists for 2 users. Give one per user"):
        recommender.funnel(held_out(), k=2, oracle=lambda users: [[60]])


def test_other_systems_are_compared_user_by_user(recommender: Recommender, funnel: Funnel) -> None:
    same = recommender.recommend([1, 2], k=2)
    other = build(ordering=()).funnel(held_out(), k=2, num_samples=200)
    found = funnel.compare({"same": same, "lists": {1: [60, 50, 60], 2: []}, "other": other})
    values = {(row["system"], row["metric"]): row for row in found.to_dicts()}
    assert values["same", "ndcg_at_2"]["funnel_better"] == 0
    assert values["lists", "recall_at_2"]["value"] == pytest.approx(2 / 6 / 2)
    assert values["lists", "recall_at_2"]["funnel_better"] == pytest.approx((1 / 6 + 1 / 5) / 2 - 2 / 6 / 2)
    assert values["other", "ndcg_at_2"]["value"] == 1
    assert found["users"].unique().to_list() == [2]
    assert funnel.difference("ranker", "funnel", "mrr_at_2").value == 0


def test_systems_that_cannot_be_compared_are_refused(recommender: Recommender, funnel: Funnel) -> None:
    with pytest.raises(SettingError, match=r"compare: 'a' has no list for 1 of 2 users, 2 say"):
        funnel.compare({"a": {1: [60]}})
    with pytest.raises(SettingError, match=r"compare: 'a' has the columns \['u'\]. Give 'user' and 'item', one row"):
        funnel.compare({"a": pl.DataFrame({"u": [1]})})
    short = recommender.funnel(held_out(), k=2, metrics=["mrr_at_1"], num_samples=20)
    with pytest.raises(SettingError, match=r"compare: 'a' has no ndcg_at_2, recall_at_2, mrr_at_2. Measure it with"):
        funnel.compare({"a": short})
    others = recommender.funnel(held_out([(3, 40)]), k=2, num_samples=20)
    with pytest.raises(SettingError, match=r"compare: 'a' judged none of the same users. Give it the same held-out"):
        funnel.compare({"a": others})


def test_names_that_are_not_there_are_answered_with_the_nearest(funnel: Funnel) -> None:
    with pytest.raises(UnknownNameError, match=r"no system 'popular'. Did you mean 'popularity'\?"):
        funnel.value("popular", "ndcg_at_2")
    with pytest.raises(UnknownNameError, match=r"no metric 'ndcg_at_10'. Did you mean 'ndcg_at_2'\?"):
        _ = funnel["ndcg_at_10"]


def test_what_cannot_be_measured_is_refused(recommender: Recommender) -> None:
    with pytest.raises(SettingError, match=r"funnel: k is 50, but the catalogue has only 9 candidates"):
        recommender.funnel(held_out(), k=50)
    with pytest.raises(SettingError, match=r"funnel: novelty_at_2 is about all lists together"):
        recommender.funnel(held_out(), k=2, metrics=["novelty_at_2"])
    with pytest.raises(UnknownColumnError, match=r"funnel: slices: .* no column 'contry'. Did you mean 'country'\?"):
        recommender.funnel(held_out(), k=2, slices=["contry"])
    with pytest.raises(DataError, match=r"funnel: of 1 positive held-out rows none is a known user's unseen item"):
        recommender.funnel(held_out([(9, 60)]), k=2)
    with pytest.raises(UnknownColumnError, match=r"funnel: the data has no column 'item'"):
        recommender.funnel(Dataset(pl.DataFrame({"user": [1], "itm": [60]})), k=2)


def test_it_reads_well_as_text(funnel: Funnel) -> None:
    text = repr(funnel)
    assert text.startswith("Funnel: users 2, relevant items 11, length of the lists 2, held-out rows 14")
    assert "  retrieved                5  45.5%   2 not retrieved              0.4500 [" in text
    assert "funnel - retrieval" in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_it_is_written_as_json(funnel: Funnel, tmp_path: Path) -> None:
    found = json.loads(funnel.to_json(tmp_path / "new" / "funnel.json").read_text(encoding="utf-8"))
    assert found == json.loads(json.dumps(funnel.to_dict()))
    assert found["k"] == 2
    assert sum(row["items"] for row in found["lost"]) + found["stages"][-1]["items"] == found["num_relevant"]
    assert {"stage": "moved out by the ordering", "detail": "step 1, Caps", "items": 2} in found["lost"]
    auc = next(row for row in found["lift"] if row["metric"] == "auc")
    assert auc["low"] is None


class Page(HTMLParser):
    """What is open, and the attributes of what was seen."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_has_a_picture_in_words_and_needs_nothing_else(funnel: Funnel, tmp_path: Path) -> None:
    text = funnel.to_html(tmp_path / "page" / "funnel.html", title="Shop <1>").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.seen}
    assert "http" not in text
    assert "Shop &lt;1&gt;" in text
    labels = [attrs["aria-label"] for tag, attrs in page.seen if tag == "svg"]
    assert labels[0] == (
        "Funnel of 11 items: relevant 11; in the catalogue 9 (2 outside the catalogue); left by the filters 7 "
        "(2 filtered); retrieved 5 (2 not retrieved); ranked in the top 2 4 (1 ranked below k); "
        "served 2 (2 moved out by the ordering)"
    )
    assert "Where(&#x27;price &lt; 5&#x27;)" in text


def test_a_notebook_shows_the_page_in_a_frame_of_its_own(funnel: Funnel) -> None:
    page = Page()
    page.feed(funnel._repr_html_())
    assert [tag for tag, _ in page.seen] == ["iframe"]
    assert "<svg" in str(page.seen[0][1]["srcdoc"])
    assert page.seen[0][1]["title"] == "The funnel"
