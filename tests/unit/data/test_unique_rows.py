import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis import Dataset, unique_rows_by_features
from tamis.errors import SchemaError
from tamis.schema import ColumnSchema, Schema, Tags

SCHEMA = Schema(
    [
        ColumnSchema("city", "string", Tags.USER),
        ColumnSchema("user_id", tags=Tags.USER_ID),
        ColumnSchema("item_id", tags=Tags.ITEM_ID),
        ColumnSchema("tags", is_list=True, tags=Tags.ITEM),
        ColumnSchema("hour", tags=Tags.CONTEXT),
    ]
)
ROWS = pl.DataFrame(
    {
        "city": ["rome", "oslo", "bonn", "bern", None],
        "user_id": [7, 3, 7, 5, 3],
        "item_id": [1, 1, 2, 1, 3],
        "tags": [[1], [2, 2], [], [3], [4]],
        "hour": [0, 1, 2, 3, 4],
    }
)


def test_the_first_row_of_each_id_stays_in_order_of_appearance() -> None:
    users = unique_rows_by_features(Dataset(ROWS, schema=SCHEMA), Tags.USER, Tags.USER_ID)
    assert users.compute().rows() == [(7, "rome"), (3, "oslo"), (5, "bern")]
    assert users.schema == Schema([SCHEMA["user_id"], SCHEMA["city"]])


def test_items_are_the_default_and_lists_come_along() -> None:
    items = unique_rows_by_features(Dataset(ROWS, schema=SCHEMA))
    assert items.compute().rows() == [(1, [1]), (2, []), (3, [4])]


def test_several_tags_give_the_columns_of_any() -> None:
    found = unique_rows_by_features(Dataset(ROWS, schema=SCHEMA), [Tags.USER, Tags.CONTEXT], Tags.USER_ID)
    assert found.compute().rows() == [(7, "rome", 0), (3, "oslo", 1), (5, "bern", 3)]


def test_rows_may_lie_in_many_files_and_row_groups(tmp_path) -> None:
    numbers = pl.DataFrame({"item_id": [(i * 37) % 101 for i in range(1000)], "place": range(1000)})
    schema = Schema([SCHEMA["item_id"], ColumnSchema("place", tags=Tags.ITEM)])
    written = Dataset(numbers, schema=schema).to_parquet(tmp_path / "d", rows_per_group=17, rows_per_file=170)
    assert len(written.files) == 6
    assert unique_rows_by_features(written).compute()["place"].to_list() == list(range(101))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=60))
def test_any_rows_give_what_a_loop_gives(ids: list[int]) -> None:
    frame = pl.DataFrame({"item_id": ids, "place": range(len(ids))}, schema={"item_id": pl.Int64, "place": pl.Int64})
    schema = Schema([SCHEMA["item_id"], ColumnSchema("place", tags=Tags.ITEM)])
    first: dict[int, int] = {}
    for place, one in enumerate(ids):
        first.setdefault(one, place)
    assert unique_rows_by_features(Dataset(frame, schema=schema)).compute().rows() == list(first.items())


def test_without_an_id_there_are_no_rows_to_choose() -> None:
    untagged = Dataset(ROWS.select("hour"), schema=Schema([SCHEMA["hour"]]))
    with pytest.raises(
        SchemaError, match=r"unique_rows_by_features: no column is tagged 'item_id'\. Tag the id column"
    ):
        unique_rows_by_features(untagged)
