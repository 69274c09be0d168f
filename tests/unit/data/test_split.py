import polars as pl
import pytest

from tamis.data.dataset import Dataset
from tamis.data.split import leave_last_out, split_by_time
from tamis.errors import DataError, SchemaError, SettingError, UnknownColumnError
from tamis.schema import ColumnSchema, Schema, Tags

ROWS = pl.DataFrame(
    {
        "user": ["a", "b", "a", "a", "b", "a", "c"],
        "item": [1, 2, 3, 4, 5, 6, 7],
        "time": [30, 10, 20, 10, 20, 20, 5],
    }
)
SCHEMA = Schema(
    [
        ColumnSchema("user", tags=frozenset({Tags.USER_ID})),
        ColumnSchema("item"),
        ColumnSchema("time", tags=frozenset({Tags.TIME})),
    ]
)


def items(parts: tuple[Dataset, ...]) -> list[list[int]]:
    return [part.compute()["item"].to_list() for part in parts]


def test_the_last_row_of_each_user_is_test_and_the_one_before_validation() -> None:
    assert items(leave_last_out(Dataset(ROWS, SCHEMA))) == [[1, 2, 3, 5, 7], [4], [6]]


def test_equal_times_count_in_the_order_of_the_file() -> None:
    """In time, user a's items are 4, then 3 and 6 at the same moment, then 1."""
    assert items(leave_last_out(Dataset(ROWS, SCHEMA), order="time")) == [[2, 3, 4, 5, 7], [6], [1]]


def test_a_user_with_too_few_rows_for_three_parts_is_in_training_only() -> None:
    three = Dataset(pl.DataFrame({"user": ["a"] * 3 + ["b"] * 2, "item": range(5)}))
    assert items(leave_last_out(three, user="user")) == [[0, 3, 4], [1], [2]]


def test_several_rows_per_user_can_be_held_out() -> None:
    five = Dataset(pl.DataFrame({"user": ["a"] * 5 + ["b"] * 4, "item": range(9)}))
    assert items(leave_last_out(five, user="user", num_last=2)) == [[0, 5, 6, 7, 8], [1, 2], [3, 4]]


def test_the_parts_keep_columns_and_tags() -> None:
    for part in leave_last_out(Dataset(ROWS, SCHEMA)):
        assert part.compute().columns == ["user", "item", "time"]
        assert part.schema.select_by_tag(Tags.USER_ID).column_names == ["user"]


def test_parts_of_time_follow_each_other_and_a_moment_is_never_torn() -> None:
    """Sorted times: 5 10 10 20 20 20 30. Half of the rows is 4 (rounded), which is inside the moment 20."""
    dataset = Dataset(ROWS, SCHEMA)
    assert items(split_by_time(dataset, fractions=(0.5, 0.5))) == [[2, 4, 7], [1, 3, 5, 6]]
    assert items(split_by_time(dataset, "time", (0.3, 0.5, 0.2))) == [[2, 4, 7][2:], [2, 3, 4, 5, 6], [1]]


def test_what_cannot_be_split_is_said() -> None:
    dataset = Dataset(ROWS)
    with pytest.raises(SettingError, match="num_last is 0"):
        leave_last_out(dataset, user="user", num_last=0)
    with pytest.raises(SchemaError, match="leave_last_out: no column is tagged user_id"):
        leave_last_out(dataset)
    with pytest.raises(UnknownColumnError, match=r"Did you mean 'time'\?"):
        leave_last_out(dataset, user="user", order="tim")
    with pytest.raises(SchemaError, match=r"split_by_time: no column is tagged time.*`column=`"):
        split_by_time(dataset)
    with pytest.raises(SettingError, match=r"fractions is \(0\.5, 0\.4\)"):
        split_by_time(dataset, "time", (0.5, 0.4))
    with pytest.raises(DataError, match=r"2 rows with 1 different 'time' do not make parts of \(0\.5, 0\.5\)"):
        split_by_time(Dataset(pl.DataFrame({"time": [1, 1]})), "time", (0.5, 0.5))
    with pytest.raises(DataError, match="0 rows with 0 different"):
        split_by_time(Dataset(pl.DataFrame({"time": [1]}).head(0)), "time", (0.5, 0.5))
    with pytest.raises(DataError, match="1 rows have no 'time'"):
        split_by_time(Dataset(pl.DataFrame({"time": [1, None]})), "time", (0.5, 0.5))
