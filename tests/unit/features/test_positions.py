import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.features.lookup import positions

NAN = float("nan")


def found(keys: dict, asked: dict, **dtypes) -> list:
    frame, rows = pl.DataFrame(keys, schema_overrides=dtypes), pl.DataFrame(asked, schema_overrides=dtypes)
    return rows.select(positions([pl.col(name) for name in keys], frame).alias("at"))["at"].to_list()


def test_a_key_is_found_at_its_row_and_an_unknown_one_nowhere() -> None:
    assert found({"a": ["x", "y"]}, {"a": ["y", "z", "x", None]}) == [1, None, 0, None]


def test_null_and_nan_are_found_where_null_is_a_key() -> None:
    assert found({"a": [2.0, None]}, {"a": [None, NAN, 2.0, 3.0]}) == [1, 1, 0, None]


def test_a_null_key_alone_does_not_catch_unknown_values() -> None:
    assert found({"a": [None]}, {"a": [5, None]}, a=pl.Int64) == [None, 0]


def test_no_keys_know_nothing() -> None:
    assert found({"a": [], "b": []}, {"a": [1], "b": ["x"]}, a=pl.Int64, b=pl.String) == [None]


def test_a_pair_of_known_parts_that_is_no_key_is_unknown() -> None:
    keys = {"a": [1, 2, 2], "b": ["x", "y", None]}
    assert found(keys, {"a": [1, 2, 2, 1, 9], "b": ["y", "y", None, "x", "x"]}) == [None, 1, 2, 0, None]


@pytest.mark.parametrize("width", [1, 2, 4])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_positions_agree_with_a_dictionary(width, data) -> None:
    value = st.none() | st.integers(-3, 3) | st.sampled_from([2**63 - 1, -(2**63)])
    row = st.tuples(*[value] * width)
    keys = data.draw(st.lists(row, unique=True, max_size=12))
    asked = data.draw(st.lists(row, max_size=12))
    names = "abcd"[:width]
    at = found(
        {name: [key[i] for key in keys] for i, name in enumerate(names)},
        {name: [key[i] for key in asked] for i, name in enumerate(names)},
        **dict.fromkeys(names, pl.Int64),
    )
    assert at == [keys.index(one) if one in keys else None for one in asked]
