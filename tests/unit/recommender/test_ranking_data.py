from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from polars.testing import assert_frame_equal

from tamis.data.dataset import Dataset
from tamis.errors import DataError, SchemaError, SettingError, UnknownColumnError
from tamis.recommender import ranking_data
from tamis.recommender.ranking_data import ranking_rows
from tamis.schema import ColumnSchema, Schema, Tags

Find = Callable[[pl.DataFrame], NDArray[np.int64]]


def column(name: str, *tags: str) -> ColumnSchema:
    return ColumnSchema(name, tags=frozenset(tags))


SCHEMA = Schema(
    [
        column("user", Tags.USER_ID, Tags.CATEGORICAL),
        column("age", Tags.USER, Tags.CONTINUOUS),
        column("item", Tags.ITEM_ID, Tags.CATEGORICAL),
        column("price", Tags.ITEM, Tags.CONTINUOUS),
        column("hour", Tags.CONTEXT, Tags.CATEGORICAL),
        column("click", Tags.TARGET, Tags.BINARY_CLASSIFICATION),
    ]
)
# items 3 to 8 in rows 0 to 5, at ten times their code
ITEMS = pl.DataFrame({"item": range(3, 9), "price": [10.0 * code for code in range(3, 9)]})


def rows(*values: tuple[int, int, int], click: int = 1) -> Dataset:
    """Rows of (user, item, hour); a user's age is 20 and the code."""
    frame = pl.DataFrame(values, schema=["user", "item", "hour"], orient="row")
    frame = frame.with_columns(age=pl.col("user") + 20, price=0.0, click=pl.lit(click))
    return Dataset(frame.select(SCHEMA.column_names), SCHEMA)


def find(*item_rows: int) -> Find:
    """The same candidates for everybody."""
    return lambda asked: np.tile(np.array(item_rows, np.int64).reshape(1, -1), (len(asked), 1))


def seen(found: Dataset) -> list[tuple[Any, ...]]:
    return sorted(found.select(["user", "age", "item", "price", "hour", "click"]).compute().iter_rows())


BEFORE = rows((3, 8, 0), (4, 8, 0))


def test_a_positive_gets_the_candidates_that_the_user_did_not_take(tmp_path: Path) -> None:
    """User 3 takes items 3 and 5 in this period and 8 before; of the candidates 3, 4, 5, 8, -1 only 4 is left.

    User 4 takes 4; 3 and 5 are left. Prices come from the items, 0.0 in the log notwithstanding.
    """
    positives = rows((3, 3, 7), (4, 4, 9), (3, 5, 8))
    found = ranking_rows(positives, find(0, 1, 2, 5, -1), tmp_path / "rows", trained_on=BEFORE, items=ITEMS)
    assert seen(found) == [
        (3, 23, 3, 30.0, 7, 1),
        (3, 23, 4, 40.0, 7, 0),
        (3, 23, 4, 40.0, 8, 0),
        (3, 23, 5, 50.0, 8, 1),
        (4, 24, 3, 30.0, 9, 0),
        (4, 24, 4, 40.0, 9, 1),
        (4, 24, 5, 50.0, 9, 0),
    ]
    assert found.compute()["user"].to_list() == [3] * 4 + [4] * 3
    assert found.compute()["click"].to_list() == [1, 1, 0, 0, 1, 0, 0]
    assert found.column_names == SCHEMA.column_names
    assert found.schema["price"].has_tag(Tags.ITEM) and found.schema["click"].has_tag(Tags.BINARY_CLASSIFICATION)


def test_retrieval_is_asked_once_a_user_with_what_was_first_known(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    def remembered(users: pl.DataFrame) -> NDArray[np.int64]:
        asked.extend(users.to_dicts())
        return np.zeros((len(users), 1), np.int64)

    positives = rows((4, 4, 9), (3, 5, 8), (4, 6, 1))
    ranking_rows(positives, remembered, tmp_path / "rows", trained_on=BEFORE, items=ITEMS)
    assert asked == [{"user": 3, "age": 23, "hour": 8}, {"user": 4, "age": 24, "hour": 9}]


def test_so_many_negatives_are_drawn_for_each_positive(tmp_path: Path) -> None:
    """Two positives of one request share distinct negatives; the other request has its own."""
    positives = rows((3, 3, 7), (3, 4, 7), (3, 5, 8))
    found = ranking_rows(
        positives, find(3, 4, 5, 2, 1), tmp_path / "a", trained_on=None, items=ITEMS, num_negatives=1
    ).compute()
    negatives = found.filter(pl.col("click") == 0)
    assert sorted(negatives["hour"]) == [7, 7, 8]
    assert not negatives.is_duplicated().any() and set(negatives["item"]) <= {6, 7, 8}


def test_draws_hang_on_the_seed_and_favour_nobody(tmp_path: Path) -> None:
    positives = rows(*((user, 3, 1) for user in range(3, 603)))
    parts = [
        ranking_rows(
            positives, find(1, 2, 3, 4, 5), tmp_path / str(i), trained_on=None, items=ITEMS, num_negatives=2, seed=seed
        ).compute()
        for i, seed in enumerate((0, 0, 1))
    ]
    assert_frame_equal(parts[0], parts[1])
    assert not parts[0].equals(parts[2])
    counts = parts[0].filter(pl.col("click") == 0)["item"].value_counts()["count"]
    assert len(counts) == 5 and counts.sum() == 1200
    assert counts.min() > 240 - 60 and counts.max() < 240 + 60  # four deviations of 600 draws of 2 out of 5


def test_impressions_are_rows_of_their_own(tmp_path: Path) -> None:
    """The whole log may be given: what was taken drops out, and so does an earlier view of what was taken later.

    An impression is no sampled negative of its user besides; users who took nothing are there with what they saw.
    """
    shown = Dataset(
        pl.concat(
            [
                rows((3, 3, 7)).compute(),
                rows((3, 3, 6), (3, 4, 7), (3, 4, 7), (5, 6, 2), (5, 99, 2), click=0).compute(),
            ]
        ),
        SCHEMA,
    )
    positives = rows((3, 3, 7), (3, 5, 8))
    found = ranking_rows(
        positives, find(1, 3), tmp_path / "rows", trained_on=None, items=ITEMS, impressions=shown, num_negatives=4
    )
    assert seen(found) == [
        (3, 23, 3, 30.0, 7, 1),
        (3, 23, 4, 40.0, 7, 0),
        (3, 23, 5, 50.0, 8, 1),
        (3, 23, 6, 60.0, 7, 0),
        (3, 23, 6, 60.0, 8, 0),
        (5, 25, 6, 60.0, 2, 0),
    ]
    bare = Dataset(shown.compute().drop("click", "price"), SCHEMA.without(["click", "price"]))
    again = ranking_rows(
        positives, find(1, 3), tmp_path / "again", trained_on=None, items=ITEMS, impressions=bare, num_negatives=4
    )
    assert seen(again) == seen(found)


def test_impressions_alone_can_be_the_negatives(tmp_path: Path) -> None:
    shown = rows((3, 4, 7), click=0)
    found = ranking_rows(
        rows((3, 3, 7)), find(5), tmp_path / "a", trained_on=None, items=ITEMS, impressions=shown, num_negatives=0
    )
    assert seen(found) == [(3, 23, 3, 30.0, 7, 1), (3, 23, 4, 40.0, 7, 0)]


def test_a_share_may_come_from_all_items(tmp_path: Path) -> None:
    """Nothing but item 4 is a candidate; half of the negatives are drawn from all items that were not taken."""
    positives = rows(*((user, 3, 1) for user in range(3, 203)))
    found = ranking_rows(
        positives, find(1), tmp_path / "a", trained_on=None, items=ITEMS, num_negatives=2, uniform=0.5
    ).compute()
    negatives = found.filter(pl.col("click") == 0)
    per_user = negatives.group_by("user").agg(pl.col("item").n_unique(), n=pl.len())
    assert (per_user["n"] == 2).all() and (per_user["item"] == 2).all()
    counts = dict(negatives["item"].value_counts().iter_rows())
    assert counts[4] == 200 and set(counts) == {4, 5, 6, 7, 8}
    assert min(counts.values()) > 25  # 50 each


def test_popular_ones_are_drawn_by_their_rows_in_training(tmp_path: Path) -> None:
    before = rows(*((900 + i, 8, 0) for i in range(300)), *((900 + i, 7, 0) for i in range(100)))
    positives = rows(*((user, 3, 1) for user in range(3, 403)))
    found = ranking_rows(
        positives, find(1), tmp_path / "a", trained_on=before, items=ITEMS, num_negatives=1, popular=1.0
    ).compute()
    counts = dict(found.filter(pl.col("click") == 0)["item"].value_counts().iter_rows())
    assert set(counts) == {7, 8} and sum(counts.values()) == 400
    assert 60 < counts[7] < 140  # a quarter of them; the deviation is 9


def test_shares_hold_on_average_where_they_are_no_whole_numbers(tmp_path: Path) -> None:
    positives = rows(*((user, 3, 1) for user in range(3, 403)))
    found = ranking_rows(
        positives, find(1), tmp_path / "a", trained_on=None, items=ITEMS, num_negatives=1, uniform=0.3
    ).compute()
    others = found.filter((pl.col("click") == 0) & (pl.col("item") != 4))
    assert 96 - 40 < len(others) < 96 + 40  # 400 * 0.3, a fifth of which are item 4 again


def test_rows_are_there_once_with_their_largest_targets(tmp_path: Path) -> None:
    schema = SCHEMA + column("buy", Tags.TARGET, Tags.BINARY_CLASSIFICATION)
    frame = rows((3, 3, 7), (3, 3, 7), (3, 3, 8)).compute().with_columns(buy=pl.Series([0, 1, 0]))
    found = ranking_rows(Dataset(frame, schema), find(1), tmp_path / "a", trained_on=None, items=ITEMS).compute()
    assert sorted(found.select("item", "hour", "click", "buy").iter_rows()) == [
        (3, 7, 1, 1),
        (3, 8, 1, 0),
        (4, 7, 0, 0),
        (4, 8, 0, 0),
    ]


def test_a_target_that_is_not_there_is_made(tmp_path: Path) -> None:
    bare = Dataset(rows((3, 3, 7)).compute().drop("click"), SCHEMA.without("click"))
    found = ranking_rows(bare, find(1), tmp_path / "a", trained_on=None, items=ITEMS, target="taken")
    assert found.compute().select("item", "taken").rows() == [(3, 1), (4, 0)]
    assert found.schema["taken"].has_tag(Tags.TARGET) and found.schema["taken"].has_tag(Tags.BINARY)


def test_weights_tell_how_many_candidates_a_negative_stands_for(tmp_path: Path) -> None:
    """Four candidates of five are free and two of them are drawn, so each stands for two; times the positive's 0.5."""
    frame = rows((3, 3, 7)).compute()
    shown = rows((3, 8, 7), click=0)
    settings = {"trained_on": None, "items": ITEMS, "num_negatives": 2, "weight": "w", "impressions": shown}
    plain = ranking_rows(Dataset(frame, SCHEMA), find(0, 1, 2, 3, 4), tmp_path / "a", **settings).compute()
    assert plain["w"].to_list() == [1.0, 2.0, 2.0, 1.0] and plain["w"].dtype == pl.Float32
    weighted = Dataset(frame.with_columns(w=pl.lit(0.5)), SCHEMA + ColumnSchema("w"))
    found = ranking_rows(weighted, find(0, 1, 2, 3, 4), tmp_path / "b", **settings).compute()
    assert found["w"].to_list() == [0.5, 1.0, 1.0, 1.0]


def test_features_of_users_may_come_from_a_table(tmp_path: Path) -> None:
    users = pl.DataFrame({"user": [3, 4], "age": [1, 2]})
    positives = rows((3, 3, 7), (4, 3, 7), (5, 3, 7))
    found = ranking_rows(positives, find(1), tmp_path / "a", trained_on=BEFORE, items=ITEMS, users=users)
    assert {(user, age) for user, age, *_ in seen(found)} == {(3, 1), (4, 2)}  # nobody knows user 5
    assert found.schema["age"].has_tag(Tags.USER)


def test_lists_and_nulls_are_part_of_a_request(tmp_path: Path) -> None:
    frame = rows((3, 3, 7), (3, 4, 7), (3, 5, 7)).compute()
    past = pl.Series("past", [[1, 2], [1, 2], None], dtype=pl.List(pl.Int64))
    schema = SCHEMA + ColumnSchema("past", is_list=True)
    found = ranking_rows(
        Dataset(frame.with_columns(past), schema), find(3, 4), tmp_path / "a", trained_on=None, items=ITEMS
    ).compute()
    negatives = found.filter(pl.col("click") == 0).select("item", "past")
    assert sorted(negatives.rows(), key=str) == [(6, None), (6, [1, 2]), (7, None), (7, [1, 2])]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_positive_is_ever_a_negative_of_the_same_user(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    triples = st.lists(st.tuples(st.integers(3, 6), st.integers(3, 9), st.integers(0, 1)), min_size=1, max_size=25)
    taken, before, shown = data.draw(triples), data.draw(triples), data.draw(triples)
    pools = np.array(data.draw(st.lists(st.lists(st.integers(-1, 5), min_size=3, max_size=3), min_size=4, max_size=4)))
    pairs = {(user, item) for user, item, _ in taken}
    try:
        found = ranking_rows(
            rows(*taken),
            lambda asked: pools[asked["user"].to_numpy() - 3],
            tmp_path_factory.mktemp("rows") / "a",
            trained_on=rows(*before),
            items=ITEMS,
            impressions=rows(*shown, click=0),
            num_negatives=data.draw(st.integers(0, 3)),
            uniform=data.draw(st.sampled_from([0.0, 0.4])),
            popular=data.draw(st.sampled_from([0.0, 0.6])) if any(item < 9 for _, item, _ in before) else 0.0,
            seed=data.draw(st.integers(0, 5)),
        )
    except DataError as error:
        assert any(text in str(error) for text in ("retrieval was trained on", "no positive", "not one negative"))
        return
    frame = found.compute()
    negatives = frame.filter(pl.col("click") == 0)
    assert not pairs & set(negatives.select("user", "item").iter_rows())
    assert set(frame.filter(pl.col("click") == 1).select("user", "item", "hour").iter_rows()) == {
        triple for triple in taken if triple[1] < 9
    }
    assert not frame.select("user", "item", "hour").is_duplicated().any()
    shown_pairs = {(user, item) for user, item, _ in shown}
    sampled = {pair for pair in negatives.select("user", "item").iter_rows() if pair not in shown_pairs}
    assert not sampled & {(user, item) for user, item, _ in before}


def test_blocks_of_users_give_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    triples = np.stack(
        [generator.integers(3, 99, 400), generator.integers(3, 9, 400), generator.integers(0, 5, 400)], 1
    )
    positives = rows(*map(tuple, triples.tolist()))
    arguments = {"trained_on": BEFORE, "items": ITEMS, "impressions": rows((3, 4, 1), click=0), "uniform": 0.3}
    whole = ranking_rows(positives, find(0, 1, 2, 3, 4, 5), tmp_path / "a", **arguments)
    monkeypatch.setattr(ranking_data, "_ROWS_PER_BLOCK", 60)
    monkeypatch.setattr(ranking_data, "_ROWS_PER_FILE", 100)
    monkeypatch.setattr("tamis.recommender.ranking_user_rows._USERS_AT_ONCE", 7)
    monkeypatch.setattr("tamis.recommender.negative_draws._AT_ONCE", 5)
    parts = ranking_rows(positives, find(0, 1, 2, 3, 4, 5), tmp_path / "b", **arguments)
    assert len(list((tmp_path / "b").glob("*.parquet"))) > 3
    names = whole.column_names
    assert_frame_equal(whole.compute().sort(names), parts.compute().sort(names))


def timed(*values: tuple[int, int, int]) -> Dataset:
    return Dataset(rows(*values).compute(), SCHEMA + column("hour", Tags.TIME))


def test_what_retrieval_was_trained_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"retrieval was trained on 2 of the 2 pairs of user and item that the ranker is to learn from"
    ):
        ranking_rows(rows((3, 8, 5), (4, 8, 5), (4, 8, 6)), find(0), tmp_path / "a", trained_on=BEFORE, items=ITEMS)
    ranking_rows(rows((3, 8, 5), (4, 7, 5)), find(0), tmp_path / "a", trained_on=BEFORE, items=ITEMS)
    before = timed((3, 8, 0), (4, 8, 0))
    ranking_rows(timed((3, 8, 5), (4, 8, 5)), find(0), tmp_path / "b", trained_on=before, items=ITEMS)
    with pytest.raises(
        DataError, match=r"retrieval was trained on 1 of the 2 events \(user, item, time\).*split_by_time"
    ):
        ranking_rows(timed((3, 8, 0), (4, 7, 5)), find(0), tmp_path / "c", trained_on=before, items=ITEMS)
    assert not (tmp_path / "c").exists()


def run(tmp_path: Path, **changes: Any) -> Dataset:
    arguments: dict[str, Any] = {
        "trained_on": BEFORE,
        "items": ITEMS,
        "positives": rows((3, 3, 7)),
        "retrieval": find(1),
    }
    arguments |= changes
    return ranking_rows(arguments.pop("positives"), arguments.pop("retrieval"), tmp_path / "rows", **arguments)


def untagged(*names: str) -> Dataset:
    return Dataset(rows((3, 3, 7)).compute(), Schema(column(c.name) if c.name in names else c for c in SCHEMA))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"num_negatives": -1}, SettingError, "ranking_rows: num_negatives is -1. Choose 0 or more"),
        ({"uniform": 0.6, "popular": 0.5}, SettingError, "uniform is 0.6 and popular 0.5. Give shares from 0 on"),
        ({"uniform": -0.1}, SettingError, "uniform is -0.1"),
        ({"items": None}, SettingError, "ranking_rows: items is missing. Give the encoded features"),
        ({"trained_on": None, "popular": 0.1}, SettingError, "popular needs the rows to count. Give trained_on"),
        ({"popular": 0.1, "items": ITEMS.head(2)}, DataError, "trained_on has no item of items, so none is popular"),
        ({"weight": "item"}, SettingError, "weight is 'item', which is an id or a target"),
        (
            {"positives": untagged("user")},
            SchemaError,
            "ranking_rows: no column of the positives is tagged user_id. Tag one with TagAsUserID",
        ),
        (
            {"positives": untagged("item")},
            SchemaError,
            "no column of the positives is tagged item_id. Tag one with TagAsItemID",
        ),
        (
            {"positives": untagged("click")},
            SchemaError,
            "no column of the positives is tagged TARGET. Tag one, or name",
        ),
        (
            {"positives": rows((3, 3, 7), click=0)},
            DataError,
            "1 positives have 0 in 'click'. Filter them out, and give",
        ),
        ({"positives": rows((3, 3, 7)).filter(pl.lit(False))}, DataError, "positives: the dataset has no rows"),
        ({"positives": rows((3, 9, 7))}, DataError, "no positive is of an item in `items` and a user in `users`"),
        ({"retrieval": find(0)}, DataError, "there is not one negative: candidates gave nothing that was not taken"),
        ({"retrieval": find(6)}, DataError, "candidates gave the item row 6, but items has 6 rows. Give row numbers"),
        (
            {"retrieval": lambda asked: np.zeros(len(asked))},
            DataError,
            r"gave float64 of shape \[1\] for 1 users. Give",
        ),
        (
            {"items": pl.concat([ITEMS, ITEMS.head(2)])},
            DataError,
            "items has 2 values of 'item' in more than one row, su",
        ),
        ({"items": ITEMS.drop("item")}, UnknownColumnError, "ranking_rows: items: the data has no column 'item'"),
        (
            {"items": ITEMS.drop("price")},
            SchemaError,
            r"the columns \['price'\] are tagged ITEM, but `items` lacks them",
        ),
        (
            {"items": ITEMS.cast({"item": pl.String})},
            DataError,
            "items: the id column 'item' holds string. Give rows tha",
        ),
        (
            {"users": pl.DataFrame({"user": [3, 3]})},
            DataError,
            "users has 1 values of 'user' in more than one row, such",
        ),
        (
            {"users": pl.DataFrame({"age": [3]})},
            UnknownColumnError,
            "ranking_rows: users: the data has no column 'user'",
        ),
        ({"impressions": rows((3, 4, 7))}, DataError, "of 1 impressions, 1 have a target above 0, .* such as user = 3"),
        ({"impressions": rows((3, 4, 7)).select(["user", "item"])}, UnknownColumnError, "impressions: the data has no"),
        (
            {"trained_on": rows((3, 4, 7)).select(["user"])},
            UnknownColumnError,
            "ranking_rows: trained_on: the data has",
        ),
        (
            {"trained_on": Dataset(pl.DataFrame({"user": [None, 3], "item": [3, 3]}))},
            DataError,
            "trained_on: the id column 'user' has 1 nulls",
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_what_gives_no_rows_is_said(
    changes: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        run(tmp_path, **changes)
    assert list(tmp_path.iterdir()) == []
