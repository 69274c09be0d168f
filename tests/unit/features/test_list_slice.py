import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import SettingError
from tamis.features.ops import ListSlice
from tamis.features.workflow import Workflow


def fitted(op, values, dtype=None):
    frame = pl.DataFrame({"a": pl.Series(values, dtype=dtype or pl.List(pl.Int64))})
    workflow = Workflow(["a"] >> op).fit(frame)
    return workflow, workflow.transform(frame)["a"]


def made(op, values, dtype=None):
    return fitted(op, values, dtype)[1].to_list()


LISTS = [[1, 2, 3, 4, 5], [1], [], None, [None, 2]]


def test_one_number_keeps_the_first_or_the_last_values() -> None:
    assert made(ListSlice(2), LISTS) == [[1, 2], [1], [], None, [None, 2]]
    assert made(ListSlice(-2), LISTS) == [[4, 5], [1], [], None, [None, 2]]
    assert made(ListSlice(0), LISTS) == LISTS


def test_two_numbers_are_pythons_slice() -> None:
    assert made(ListSlice(1, 3), LISTS) == [[2, 3], [], [], None, [2]]
    assert made(ListSlice(-3, -1), LISTS) == [[3, 4], [], [], None, [None]]
    assert made(ListSlice(1, -1), LISTS) == [[2, 3, 4], [], [], None, []]
    assert made(ListSlice(3, 1), LISTS) == [[], [], [], None, []]


def test_padding_makes_all_lists_of_one_length() -> None:
    workflow, found = fitted(ListSlice(-3, pad=True), LISTS)
    assert found.to_list() == [[3, 4, 5], [1, 0, 0], [0, 0, 0], [0, 0, 0], [None, 2, 0]]
    assert workflow.output_schema["a"].properties == {"value_count": {"min": 3, "max": 3}}
    assert made(ListSlice(1, 3, pad=True, pad_value=9), LISTS)[:2] == [[2, 3], [9, 9]]


def test_padding_keeps_the_dtype_and_fits_other_kinds() -> None:
    found = fitted(ListSlice(2, pad=True), [[1]], pl.List(pl.Int8))[1]
    assert (found.to_list(), found.dtype) == ([[1, 0]], pl.List(pl.Int8))
    assert made(ListSlice(2, pad=True, pad_value="-"), [["x"]], pl.List(pl.String)) == [["x", "-"]]
    assert made(ListSlice(2, pad=True), [[0.5]], pl.List(pl.Float32)) == [[0.5, 0.0]]


def test_the_schema_says_how_long_lists_can_be() -> None:
    assert fitted(ListSlice(2), LISTS)[0].output_schema["a"].properties["value_count"] == {"min": 0, "max": 2}
    assert fitted(ListSlice(1, 4), LISTS)[0].output_schema["a"].properties["value_count"] == {"min": 0, "max": 3}
    assert fitted(ListSlice(1, -1), LISTS)[0].output_schema["a"].properties == {}


def test_vectors_become_lists() -> None:
    workflow, found = fitted(ListSlice(2), [[1, 2, 3], None], pl.Array(pl.Int64, 3))
    assert found.to_list() == [[1, 2], None]
    assert workflow.output_schema["a"].width is None


def test_a_table_without_rows_comes_out_without_rows() -> None:
    workflow, _ = fitted(ListSlice(2, pad=True), LISTS)
    empty = workflow.transform(pl.DataFrame(schema={"a": pl.List(pl.Int64)}))
    assert empty.schema == {"a": pl.List(pl.Int64)} and empty.height == 0


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (lambda: ListSlice(1.5), r"start=1\.5 is not a whole number"),
        (lambda: ListSlice(1, "2"), "end='2' is not a whole number"),
        (lambda: ListSlice(1, -1, pad=True), "1 to -1 has no fixed length, so there is nothing to pad to"),
        (lambda: ListSlice(0, pad=True), "0 to None has no fixed length"),
        (lambda: ListSlice(2, pad=True, pad_value="x"), "pad_value='x' does not fit the column 'a', which holds lists"),
        (lambda: ListSlice(2, pad=True, pad_value=0.5), r"pad_value=0\.5 does not fit the column 'a'"),
    ],
)
def test_slices_that_mean_nothing_are_refused(op, message) -> None:
    with pytest.raises(SettingError, match=f"ListSlice: {message}"):
        fitted(op(), LISTS)


def test_a_column_without_lists_is_refused() -> None:
    with pytest.raises(SettingError, match="ListSlice: the column 'a' holds int64, not lists"):
        fitted(ListSlice(2), [1], pl.Int64)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    lists=st.lists(st.none() | st.lists(st.none() | st.integers(0, 9), max_size=6), min_size=1, max_size=5),
    start=st.integers(-8, 8),
    end=st.none() | st.integers(-8, 8),
)
def test_every_slice_is_pythons(lists, start, end) -> None:
    def by_hand(values):
        if end is None:
            return values[:start] if start > 0 else values[start:]
        return values[start:end]

    expected = [None if values is None else by_hand(values) for values in lists]
    assert made(ListSlice(start, end), lists) == expected
