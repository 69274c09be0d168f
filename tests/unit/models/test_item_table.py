from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tamis.data.dataset import Dataset
from tamis.errors import SchemaError, UnknownColumnError
from tamis.models.held_out import HeldOut
from tamis.models.item_table import COUNT, ItemTable
from tamis.schema import ColumnSchema, Schema, Tags

ITEM = ColumnSchema("item", "int32", [Tags.ITEM_ID, Tags.CATEGORICAL]).with_domain(99)
PRICE = ColumnSchema("price", "float32", [Tags.ITEM, Tags.CONTINUOUS])
KIND = ColumnSchema("kind", "int32", [Tags.ITEM, Tags.CATEGORICAL], is_list=True).with_domain(9)
USER = ColumnSchema("user", "int32", [Tags.USER_ID, Tags.CATEGORICAL]).with_domain(9)
HOUR = ColumnSchema("hour", "int32", [Tags.CONTEXT, Tags.CATEGORICAL]).with_domain(9)
ITEMS = Schema([PRICE, ITEM, KIND])
TRAIN = Dataset(
    pl.DataFrame(
        {"item": [50, 7, 50, 50, 20], "price": [1.0, 2.0, 9.0, 9.0, 3.0], "kind": [[1, 2], [], [9], [9], [3]]},
        schema={"item": pl.Int32, "price": pl.Float32, "kind": pl.List(pl.Int32)},
    ),
    schema=ITEMS,
)


def test_items_stand_by_id_with_their_first_features_and_their_counts() -> None:
    table = ItemTable.from_dataset(TRAIN, ITEMS)
    assert table.ids.tolist() == [7, 20, 50] and table.counts.tolist() == [1, 1, 3]
    assert table.dataset().compute().rows() == [(2.0, 7, []), (3.0, 20, [3]), (1.0, 50, [1, 2])]
    features = table.features()
    assert features["price"].tolist() == [2.0, 3.0, 1.0]
    assert features["kind__values"].tolist() == [3, 1, 2] and features["kind__offsets"].tolist() == [0, 0, 1, 3]


def test_positions_are_rows_and_unknown_ids_have_none() -> None:
    table = ItemTable.from_dataset(TRAIN, ITEMS)
    assert table.positions(np.array([50, 8, 7, 1000, -5])).tolist() == [2, -1, 0, -1, -1]
    assert table.positions(np.array([], dtype=np.int64)).tolist() == []


def test_a_table_comes_back_from_its_file(tmp_path: Path) -> None:
    table = ItemTable.from_dataset(TRAIN, ITEMS)
    table.save(tmp_path / "items.parquet")
    loaded = ItemTable.load(tmp_path / "items.parquet", ITEMS)
    assert loaded.frame.equals(table.frame) and loaded.frame.columns[-1] == COUNT


def rows(users: list[int], items: list[int], hours: list[int] | None = None) -> Dataset:
    frame = pl.DataFrame(
        {"user": users, "item": items, "hour": hours or [0] * len(users)},
        schema={"user": pl.Int32, "item": pl.Int32, "hour": pl.Int32},
    )
    return Dataset(frame, schema=Schema([USER, ITEM, HOUR]))


def table() -> ItemTable:
    return ItemTable.from_dataset(TRAIN, ITEMS)


def test_each_user_asks_once_with_the_features_of_the_first_row() -> None:
    held_out = HeldOut.from_dataset(
        rows([4, 2, 4, 4], [50, 7, 20, 20], [5, 6, 7, 8]), None, Schema([USER, HOUR]), table()
    )
    assert held_out.dataset.compute().select("user", "hour").rows() == [(4, 5), (2, 6)]
    assert held_out.relevant.offsets.tolist() == [0, 2, 3]
    assert held_out.relevant.positions.tolist() == [1, 2, 0]
    assert held_out.excluded is None


def test_items_outside_the_catalogue_stay_relevant() -> None:
    held_out = HeldOut.from_dataset(rows([4, 4, 4, 2], [50, 99, 98, 99]), None, Schema([USER]), table())
    assert held_out.relevant.num_items.tolist() == [3, 1]
    assert held_out.relevant.positions.tolist() == [2]


def test_what_was_seen_is_left_out_and_no_longer_relevant() -> None:
    seen = rows([4, 9, 4], [50, 7, 98])  # user 9 asks nothing
    held_out = HeldOut.from_dataset(rows([4, 4, 2], [50, 7, 50]), seen, Schema([USER]), table())
    assert held_out.relevant.offsets.tolist() == [0, 1, 2] and held_out.relevant.positions.tolist() == [0, 2]
    assert held_out.excluded is not None
    assert held_out.excluded.offsets.tolist() == [0, 1, 1] and held_out.excluded.positions.tolist() == [2]


def test_without_users_each_row_asks() -> None:
    held_out = HeldOut.from_dataset(rows([4, 4], [50, 7]), None, Schema([HOUR]), table())
    assert len(held_out.dataset.compute()) == 2 and held_out.relevant.positions.tolist() == [2, 0]
    with pytest.raises(SchemaError, match=r"evaluate: `exclude` is matched by user, but the query has no user id"):
        HeldOut.from_dataset(rows([4, 4], [50, 7]), rows([4], [7]), Schema([HOUR]), table())


def test_what_was_seen_must_have_users_and_items() -> None:
    with pytest.raises(UnknownColumnError, match="the data has no column 'user'"):
        HeldOut.from_dataset(rows([4], [50]), TRAIN, Schema([USER]), table())


def test_ids_of_another_width_meet() -> None:
    seen = Dataset(rows([4], [50]).compute().cast(pl.Int64), schema=Schema([USER, ITEM]))
    held_out = HeldOut.from_dataset(rows([4, 4], [50, 7]), seen, Schema([USER]), table())
    assert held_out.relevant.positions.tolist() == [0]
