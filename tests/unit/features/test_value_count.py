import polars as pl
import pytest

from tamis.errors import SettingError
from tamis.features.ops import ValueCount
from tamis.features.workflow import Workflow


def value_count(values, dtype=None):
    frame = pl.DataFrame({"a": pl.Series(values, dtype=dtype)})
    workflow = Workflow(["a"] >> ValueCount()).fit(frame)
    assert workflow.transform(frame).equals(frame)
    return workflow.output_schema["a"].properties["value_count"]


def test_the_lengths_of_the_shortest_and_the_longest_list_go_into_the_schema() -> None:
    assert value_count([[1, 2, 3], [4], [None, 5]]) == {"min": 1, "max": 3}
    assert value_count([["x"], []]) == {"min": 0, "max": 1}


def test_a_null_in_the_place_of_a_list_counts_as_an_empty_one() -> None:
    assert value_count([[1, 2], None]) == {"min": 0, "max": 2}
    assert value_count([None], pl.List(pl.Int64)) == {"min": 0, "max": 0}


def test_vectors_have_their_width() -> None:
    assert value_count([[1, 2, 3]], pl.Array(pl.Int64, 3)) == {"min": 3, "max": 3}


def test_a_column_without_lists_is_refused() -> None:
    with pytest.raises(SettingError, match=r"ValueCount: the column 'a' holds int64, not lists. Leave it out"):
        value_count([1])
