import datetime as dt
import zlib

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.data.dataset import Dataset
from tamis.errors import DataError, SettingError
from tamis.features.ops import HashedCross
from tamis.features.workflow import Workflow
from tamis.schema import ColumnSchema, Schema, Tags

WORDS = pl.DataFrame({"a": ["x", "y", None, "x"], "b": ["x", "x", None, None]})


def crossed(frame, columns, num_buckets=1000):
    out = Workflow([columns] >> HashedCross(num_buckets)).fit(frame).transform(frame)
    return out.to_series().to_list()


def mixed(key, num_buckets):
    """splitmix64 over plain whole numbers."""
    key = (key + 0x9E3779B97F4A7C15) % 2**64
    key = (key ^ key >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    key = (key ^ key >> 27) * 0x94D049BB133111EB % 2**64
    return (key ^ key >> 31) % num_buckets


def by_hand(values, num_buckets):
    def key(value):
        return zlib.crc32(value.encode()) if isinstance(value, str) else value % 2**64

    hashed = [1 if value is None else 2 + mixed(key(value), 2**31 - 3) for value in values]
    state = hashed[0]
    for one in hashed[1:-1]:
        state = mixed((state << 32) + one, 2**31 - 3)
    return mixed((state << 32) + hashed[-1], num_buckets)


def test_combinations_get_buckets_that_never_change() -> None:
    """The numbers are written down: another machine or version must give the same."""
    out = Workflow([["a", "b"]] >> HashedCross(1000)).fit(WORDS).transform(WORDS)
    assert out.schema == {"a_X_b": pl.Int32}
    assert out["a_X_b"].to_list() == [by_hand(row, 1000) for row in WORDS.rows()]
    assert out["a_X_b"].to_list() == [274, 350, 167, 438]


def test_equal_values_are_spread_and_the_order_counts() -> None:
    frame = pl.DataFrame({"a": range(500)}).with_columns(b="a", c=499 - pl.col("a"))
    assert len(set(crossed(frame, ["a", "b"], 2**31 - 1))) == 500
    assert crossed(frame, ["a", "c"]) != crossed(frame, ["c", "a"])


def test_all_buckets_are_used_about_equally() -> None:
    frame = pl.DataFrame({"a": [i % 100 for i in range(10_000)], "b": [i // 100 for i in range(10_000)]})
    counts = np.bincount(crossed(frame, ["a", "b"], 10), minlength=10)
    assert counts.min() > 850 and counts.max() < 1150


def test_the_domain_and_tags_are_of_the_buckets() -> None:
    schema = Schema([ColumnSchema(name, "string", tags) for name, tags in (("a", Tags.ITEM_ID), ("b", Tags.ITEM))])
    column = Workflow([["a", "b"]] >> HashedCross({("a", "b"): 9})).fit(Dataset(WORDS, schema)).output_schema.first
    assert (column.name, column.domain.max, column.cardinality) == ("a_X_b", 8, 9)
    assert column.tags == {Tags.ITEM, Tags.CATEGORICAL}


def test_dates_and_whole_floats_have_buckets() -> None:
    days = pl.DataFrame({"d": [dt.date(1970, 1, 3), None], "n": [2, None], "f": [2.0, float("nan")]})
    assert crossed(days, ["d", "n"]) == crossed(days, ["n", "f"]) == crossed(days, ["f", "d"])


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    rows=st.lists(
        st.tuples(st.none() | st.integers(-(2**63), 2**63 - 1), st.none() | st.text(max_size=3), st.booleans()),
        min_size=1,
        max_size=10,
    ),
    num_buckets=st.integers(1, 2**31 - 1),
)
def test_buckets_agree_with_plain_python(rows, num_buckets) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.Int64, "b": pl.String, "c": pl.Boolean}, orient="row")
    assert crossed(frame, ["a", "b", "c"], num_buckets) == [by_hand(row, num_buckets) for row in rows]


@pytest.mark.parametrize("number", [0, 2**31, 1.5, True])
def test_a_number_out_of_range_is_refused(number) -> None:
    for number_or_dict in (number, {"a_X_b": number}):
        with pytest.raises(SettingError, match=r"HashedCross: num_buckets=.* is not a whole number from 1 to 2\*\*31"):
            HashedCross(number_or_dict)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(SettingError, match=r"HashedCross: 'a' is alone\. Put the columns to combine into an inner"):
        Workflow(["a", "b"] >> HashedCross(9)).fit(WORDS)
    with pytest.raises(SettingError, match=r"HashedCross: there is no number for 'b_X_a'\. Add it to num_buckets\."):
        Workflow([["b", "a"]] >> HashedCross({"a_X_b": 9})).fit(WORDS)
    with pytest.raises(DataError, match="HashedCross: the column 'l' holds lists of int64"):
        Workflow([["l", "a"]] >> HashedCross(9)).fit(WORDS.with_columns(l=[[1]] * 4))
