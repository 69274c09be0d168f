"""The funnel of real sources and a real ranker against brute force over the lists that are served."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tamis import Dataset, Recommender
from tamis.errors import SettingError
from tamis.evaluation.ranking_metrics import measure_rows
from tamis.recommender import stage_blocks
from tamis.recommender.filters import AllowItems, Filter, SeenItems, Where
from tamis.recommender.funnel import Funnel
from tamis.recommender.funnel_slices import as_values
from tamis.recommender.ordering import MMR, Caps, Ordering, Pins, SoftmaxSampling
from tamis.recommender.sources.item_item import ItemItem
from tamis.recommender.sources.popular import Popular
from tamis.recommender.sources.retrieval_source import Retrieval
from two_stage_world import fitted, impressions, two_stages

K = 4
HALF = "price < 30"


def build(**settings: Any) -> Recommender:
    sources = [Retrieval(fitted()[2], quota=9), ItemItem(quota=5), Popular(quota=3)]
    return two_stages(sources, **{"filters": [SeenItems(6), Where(HALF)], **settings})


def later() -> pl.DataFrame:
    """Later impressions, some of users and items that nobody knows; they tell an age, so these users are asked for."""
    rows = impressions(1500, seed=3)
    new = rows.head(3).with_columns(user=pl.Series(["v1", "v1", "v2"]), item=pl.Series([1, 900, 5]), click=pl.lit(1))
    return pl.concat([rows, new.select(rows.columns).cast(dict(rows.schema))])


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    return build()


@pytest.fixture(scope="module")
def funnel(recommender: Recommender) -> Funnel:
    return recommender.funnel(Dataset(later()), K, num_samples=200)


def relevant_of(funnel: Funnel) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for user, item in funnel.relevant.rows():
        found.setdefault(user, set()).add(item)
    return found


def ndcg(items: Sequence[int], wanted: set[int], k: int = K) -> float:
    gain = sum(1 / math.log2(place + 2) for place, item in enumerate(items[:k]) if item in wanted)
    return gain / sum(1 / math.log2(place + 2) for place in range(min(k, len(wanted))))


def test_known_users_are_judged_by_the_lists_that_they_get(recommender: Recommender, funnel: Funnel) -> None:
    rows = later().filter((pl.col("click") == 1) & ~pl.col("user").str.starts_with("v"))
    wanted = {user: items for user, items in relevant_of(funnel).items() if not user.startswith("v")}
    hours = {user: rows.filter(pl.col("user") == user)["hour"][0] for user in wanted}
    values = dict(zip(funnel.users["user"].to_list(), funnel.users[f"funnel: ndcg_at_{K}"].to_list(), strict=True))
    for user, items in wanted.items():
        served = recommender.recommend([user], K, context={"hour": hours[user]})["item"].to_list()
        assert values[user] == pytest.approx(ndcg(served, items))


def test_the_end_of_the_funnel_is_what_evaluate_says(recommender: Recommender, funnel: Funnel) -> None:
    names = [f"ndcg_at_{K}", f"recall_at_{K}", f"mrr_at_{K}"]
    expected = recommender.evaluate(Dataset(later()), metrics=names)
    assert {name: funnel[name] for name in names} == pytest.approx({name: expected[name] for name in names})
    popular = {f"popularity_{name}": funnel.value("popularity", name).value for name in names}
    assert popular == pytest.approx({name: expected[name] for name in popular})
    assert funnel.num_users == expected["num_users"]


def test_the_ranker_is_judged_among_the_candidates(recommender: Recommender, funnel: Funnel) -> None:
    wanted = relevant_of(funnel)
    first = later().filter(pl.col("click") == 1).unique("user", keep="first", maintain_order=True)
    labels, scores, groups = [], [], []
    for user, age, hour in first.select("user", "age", "hour").rows():
        if user not in wanted:
            continue
        # known users have the features of their training rows
        asked = pl.DataFrame({"user": [user], "age": [age]}) if user.startswith("v") else [user]
        queries = recommender.queries(asked, {"hour": hour})
        found = recommender.rank(queries, recommender.candidates(queries, recommender.allowed(queries)))
        items = recommender.catalogue.ids.gather(found.items[0][found.items[0] >= 0]).to_list()
        hits = [int(item in wanted[user]) for item in items]
        if any(hits) and not all(hits):
            labels += hits
            scores += found.ranking[0, : len(items), 0].tolist()
            groups += [user] * len(items)
    expected = measure_rows(pl.LazyFrame({"label": labels, "score": scores, "group": groups}), ["auc", "gauc"])
    values = {(row["order"], row["metric"]): row["value"] for row in funnel.lift.to_dicts()}
    assert values["ranker", "auc"] == pytest.approx(expected["auc"])
    assert values["ranker", "gauc"] == pytest.approx(expected["gauc"])


@pytest.mark.parametrize("count_seen", [False, True])
@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("filters", [(), ("category != 'music'",), (AllowItems(range(0, 40, 3)), HALF)], ids=str)
@pytest.mark.parametrize(
    "ordering",
    [(), (MMR(0.5, by="category"), Caps({"category": 1})), (SoftmaxSampling(0.5, seed=2), Pins({1: 7, 3: 9}))],
    ids=str,
)
def test_what_is_lost_and_what_is_served_add_up(
    recommender: Recommender,
    count_seen: bool,
    exclude_seen: bool,
    filters: Sequence[Filter | str],
    ordering: Sequence[Ordering],
) -> None:
    before, recommender.ordering = recommender.ordering, tuple(ordering)
    try:
        found = recommender.funnel(
            Dataset(later()), K, filters=filters, exclude_seen=exclude_seen, count_seen=count_seen, num_samples=2
        )
    finally:
        recommender.ordering = before
    served = found.stages["items"].to_list()[-1]
    assert found.stages["lost"].sum() + served == found.num_relevant == len(found.relevant)
    assert len(found.lost) == found.stages["lost"].sum()
    counts = dict(found.lost.group_by("stage").len().iter_rows())
    for row in found.stages.to_dicts()[1:]:
        assert row["lost"] == counts.get(row["loss"], 0)
    assert found.filters["lost"].sum() == counts.get("filtered", 0)
    assert len(found.lost.unique(["user", "item"])) == len(found.lost)
    assert found.lost["detail"].null_count() == 0
    ranked, gained = found.stages["items"].to_list()[-2], found.stages["gained"].to_list()[-1]
    assert served == ranked - counts.get("moved out by the ordering", 0) + gained


def test_blocks_change_nothing(recommender: Recommender, funnel: Funnel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_blocks, "_BLOCK", 7)
    again = recommender.funnel(Dataset(later()), K, num_samples=200)
    for name in ("stages", "sources", "filters", "systems", "differences", "ceilings", "slices", "lost", "lift"):
        assert_frame_equal(getattr(again, name), getattr(funnel, name))


def test_the_same_seed_gives_the_same_intervals_and_another_one_others(recommender: Recommender) -> None:
    one, same, other = (recommender.funnel(Dataset(later()), K, seed=seed, num_samples=50) for seed in (1, 1, 2))
    assert_frame_equal(one.systems, same.systems)
    assert not one.systems["low"].equals(other.systems["low"])


def test_a_difference_has_the_interval_of_users_drawn_in_pairs(funnel: Funnel) -> None:
    name = f"ndcg_at_{K}"
    values = funnel.users[f"funnel: {name}"].to_numpy() - funnel.users[f"popularity: {name}"].to_numpy()
    generator = np.random.default_rng(0)
    drawn = [values[generator.integers(0, len(values), len(values))].mean() for _ in range(200)]
    row = funnel.differences.filter(pl.col("against") == "popularity", pl.col("metric") == name).row(0, named=True)
    expected = [values.mean(), *np.quantile(drawn, [0.025, 0.975])]
    assert [row["difference"], row["difference_low"], row["difference_high"]] == pytest.approx(expected)
    assert funnel.difference("funnel", "popularity", name).excludes_zero  # tastes are easy to learn in this world


def test_orders_stand_in_the_way_that_they_must(funnel: Funnel) -> None:
    name = f"recall_at_{K}"
    values = {row["system"]: row["value"] for row in funnel.systems.to_dicts() if row["metric"] == name}
    ceilings = {row["ceiling"]: row["value"] for row in funnel.ceilings.to_dicts() if row["metric"] == name}
    assert max(values["ranker"], values["retrieval"]) <= ceilings["perfect_ranker"] <= ceilings["perfect"]
    assert values["ranker"] <= ceilings["perfect_retrieval"] <= ceilings["perfect"]
    alone, found = funnel.sources["alone"].to_list(), funnel.sources["items"].to_list()
    assert max(found[:-1]) <= found[-1] <= sum(found[:-1])
    assert all(one <= all_found for one, all_found in zip(alone, found, strict=True))


def test_columns_of_users_rows_and_items_make_slices(recommender: Recommender) -> None:
    columns = ["age", "hour", "category", "price", "in_stock"]
    found = recommender.funnel(Dataset(later()), K, slices=columns, metrics=[f"recall_at_{K}"], num_samples=20)
    for name in ("users", "items", *columns):
        part = found.slices.filter(pl.col("slice") == name)
        assert part["items"].sum() == found.num_relevant
    values = {name: found.slices.filter(pl.col("slice") == name)["value"].to_list() for name in columns}
    assert values["age"] == ["20.0", "30.0", "40.0", "50.0"]
    assert values["category"] == ["books", "games", "music", "tools", "(none)"]  # item 900 is in no catalogue
    assert [value.split(":")[0] for value in values["hour"]] == ["1", "2", "3", "4"]
    assert values["price"] == ["5.0", "15.0", "25.0", "35.0", "(none)"]
    users = found.slices.filter(pl.col("slice") == "users")
    assert users["value"].to_list() == ["new: fewer than 5 items", "in between", "heavy: 10 items and more"]
    assert users["users"].sum() == found.num_users
    music = found.slices.filter(pl.col("value") == "music").row(0, named=True)
    of_music = found.relevant.filter(pl.col("item") % 4 == 2)
    assert (music["items"], music["users"]) == (len(of_music), of_music["user"].n_unique())


def test_columns_become_few_values() -> None:
    assert as_values(pl.Series("a", [True, None, False])).to_list() == ["true", "(none)", "false"]
    many = as_values(pl.Series("a", [f"v{i % 20}" for i in range(1, 20)] + ["v0"] * 3))
    assert (many[-1], many.n_unique(), (many == "(others)").sum()) == ("v0", 13, 8)
    quarters = as_values(pl.Series("a", [None, math.nan, *map(float, range(100))]).cast(pl.Float64))
    assert quarters.unique().sort().to_list() == [
        "1: 0.0 to 24.0",
        "2: 25.0 to 49.0",
        "3: 50.0 to 74.0",
        "4: 75.0 to 99.0",
        "(none)",
    ]
    days = as_values(pl.date_range(pl.date(2026, 1, 1), pl.date(2026, 1, 20), eager=True).alias("a"))
    assert days[0] == "1: 2026-01-01 to 2026-01-05"
    with pytest.raises(SettingError, match=r"slices: 'a' holds lists, so a row has no one value. Give a column"):
        as_values(pl.Series("a", [[1], [2]]))
