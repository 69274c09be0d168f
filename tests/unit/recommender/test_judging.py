"""`Recommender.evaluate` against a brute force over the lists that are served, and against the model's own metrics."""

import math

import polars as pl
import pytest

from retrieval_world import IDS, interactions
from tamis import Dataset, MatrixFactorizationModel, Recommender, Workflow, ops
from tamis.errors import SettingError

METRICS = ["recall_at_5", "ndcg_at_5", "hit_rate_at_3", "mrr_at_5"]
Lists = dict[int, list[int]]


def parts() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Training and held-out rows of raw ids; some held-out users and items are new."""
    rows = interactions(900).compute().select("user_id", "item_id")
    new = pl.DataFrame({"user_id": [3, 3, 900], "item_id": [901, 4, 5]}, schema=rows.schema)
    return rows[:600].filter(pl.col("user_id") != 7), pl.concat([rows[600:], new])


def build(train: pl.DataFrame, *, freq_threshold: int = 0, user: str = "user_id") -> Recommender:
    users = [user] >> ops.Categorify() >> ops.TagAsUserID()
    items = ["item_id"] >> ops.Categorify(freq_threshold=freq_threshold) >> ops.TagAsItemID()
    workflow = Workflow(users + items).fit(Dataset(train))
    coded = workflow.transform(Dataset(train))
    model = MatrixFactorizationModel(coded.schema, dim=8)
    model.fit(coded, epochs=1, batch_size=64, verbose=False)
    built = Recommender(model).fit(workflow, coded)
    built.model, built.coded = model, coded  # type: ignore[attr-defined] # at hand for the tests
    return built


@pytest.fixture(scope="module")
def built() -> Recommender:
    return build(parts()[0])


def relevant_items(train: pl.DataFrame, held_out: pl.DataFrame, *, exclude_seen: bool) -> dict[int, set[int]]:
    seen = set(train.rows()) if exclude_seen else set()
    known = set(train["user_id"])
    found: dict[int, set[int]] = {}
    for user, item in held_out.rows():
        if user in known and (user, item) not in seen:
            found.setdefault(user, set()).add(item)
    return found


def brute_force(lists: Lists, relevant: dict[int, set[int]]) -> dict[str, float]:
    found: dict[str, list[float]] = {name: [] for name in METRICS}
    for user, wanted in relevant.items():
        hits = [item in wanted for item in lists[user]] + [False] * 5
        gain = sum(1 / math.log2(rank + 2) for rank in range(5) if hits[rank])
        best = sum(1 / math.log2(rank + 2) for rank in range(min(5, len(wanted))))
        found["recall_at_5"].append(sum(hits[:5]) / len(wanted))
        found["ndcg_at_5"].append(gain / best)
        found["hit_rate_at_3"].append(float(any(hits[:3])))
        found["mrr_at_5"].append(next((1 / (rank + 1) for rank in range(5) if hits[rank]), 0.0))
    return {name: sum(values) / len(values) for name, values in found.items()}


def popular_lists(train: pl.DataFrame, users: list[int], *, exclude_seen: bool) -> Lists:
    order = train["item_id"].value_counts().sort("count", "item_id", descending=[True, False])["item_id"].to_list()
    seen = set(train.rows()) if exclude_seen else set()
    return {user: [item for item in order if (user, item) not in seen][:5] for user in users}


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_the_metrics_are_a_brute_force_over_the_served_lists(built: Recommender, exclude_seen: bool) -> None:
    train, held_out = parts()
    relevant = relevant_items(train, held_out, exclude_seen=exclude_seen)
    served = built.recommend(list(relevant), k=5, exclude_seen=exclude_seen)
    lists = {user: served.filter(pl.col("user_id") == user)["item_id"].to_list() for user in relevant}
    found = built.evaluate(Dataset(held_out), metrics=METRICS, exclude_seen=exclude_seen)
    assert {name: found[name] for name in METRICS} == pytest.approx(brute_force(lists, relevant))
    popular = brute_force(popular_lists(train, list(relevant), exclude_seen=exclude_seen), relevant)
    assert {name: found[f"popularity_{name}"] for name in METRICS} == pytest.approx(popular)
    assert found["num_users"] == len(relevant)
    assert found["num_unknown_rows"] == len(held_out.filter(pl.col("user_id").is_in([7, 900])))


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_the_metrics_are_the_models_where_all_users_are_known(built: Recommender, exclude_seen: bool) -> None:
    train, held_out = parts()
    known = Dataset(held_out.filter(pl.col("user_id").is_in(train["user_id"].unique().to_list())))
    coded: Dataset = built.coded  # type: ignore[attr-defined]
    expected = built.model.evaluate(  # type: ignore[attr-defined]
        built.workflow.transform(known), metrics=METRICS, exclude=coded if exclude_seen else None
    )
    found = built.evaluate(known, metrics=METRICS, exclude_seen=exclude_seen)
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_one_unknown_item_in_the_past_does_not_take_another_out_of_what_is_relevant() -> None:
    """Rare items share a code. Left out as seen, they would make the lists look better than they are."""
    train = pl.DataFrame({"user_id": [1, 1, 2, 2, 1], "item_id": [10, 20, 10, 20, 77]})  # 77 is rare
    built = build(train, freq_threshold=2)
    held_out = pl.DataFrame({"user_id": [1, 2], "item_id": [88, 99]})
    found = built.evaluate(Dataset(held_out), metrics=["recall_at_1"])
    assert (found["recall_at_1"], found["num_users"]) == (0.0, 2)


def test_any_column_name_will_do() -> None:
    train = pl.DataFrame({"row": [1, 1, 2, 2], "item_id": [10, 20, 20, 30]})
    held_out = pl.DataFrame({"row": [1, 2], "item_id": [30, 10]})
    assert build(train, user="row").evaluate(Dataset(held_out), metrics=["recall_at_1"])["recall_at_1"] == 1.0


def test_a_k_beyond_the_catalogue_names_both_numbers(built: Recommender) -> None:
    with pytest.raises(SettingError, match=r"evaluate: k is 50, but the catalogue has only 40 candidates"):
        built.evaluate(Dataset(parts()[1]), metrics=["recall_at_50"])


def test_the_world_has_the_columns_used_here() -> None:
    assert IDS.column_names == ["user_id", "item_id"]
