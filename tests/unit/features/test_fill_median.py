import math
import statistics

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import DataError, SettingError
from tamis.features.ops import FillMedian
from tamis.features.workflow import Workflow

NAN = float("nan")


def made(op, values, dtype=None) -> pl.DataFrame:
    frame = pl.DataFrame({"a": pl.Series(values, dtype=dtype)})
    return Workflow(["a"] >> op).fit(frame).transform(frame)


def test_nulls_and_nan_become_the_median_of_the_others() -> None:
    assert made(FillMedian(), [1.0, None, 4.0, NAN, 100.0, 2.0])["a"].to_list() == [1.0, 3.0, 4.0, 3.0, 100.0, 2.0]


def test_the_dtype_stays_and_a_median_between_whole_numbers_is_rounded_down() -> None:
    filled = made(FillMedian(), [1, 4, None], pl.Int8)["a"]
    assert (filled.to_list(), filled.dtype) == ([1, 4, 2], pl.Int8)
    assert made(FillMedian(), [True, True, None])["a"].to_list() == [True, True, True]
    assert made(FillMedian(), [2**64 - 1, None], pl.UInt64)["a"].to_list() == [2**64 - 1] * 2


def test_it_can_say_what_it_filled() -> None:
    found = made(FillMedian(add_binary_cols=True), [5, None])
    assert found.to_dict(as_series=False) == {"a": [5, 5], "a_filled": [False, True]}


def test_the_median_is_that_of_the_leaves_of_lists() -> None:
    assert made(FillMedian(), [[1, 9, None], None, [], [2]])["a"].to_list() == [[1, 9, 2], None, [], [2]]


def test_fill_median_refuses_what_has_no_median() -> None:
    with pytest.raises(SettingError, match="FillMedian: the column 'a' holds string, not numbers"):
        made(FillMedian(), ["x"])
    with pytest.raises(SettingError, match=r"FillMedian: the column 'a' holds decimal.* Cast it to float64"):
        made(FillMedian(), [1], pl.Decimal(5, 2))
    with pytest.raises(DataError, match="FillMedian: the column 'a' has no number but null and NaN"):
        made(FillMedian(), [None, NAN], pl.Float64)
    with pytest.raises(DataError, match="FillMedian: the median of the column 'a' is inf"):
        made(FillMedian(), [math.inf])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    values=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3), min_size=1, max_size=12),
    dtype=st.sampled_from([pl.Int64, pl.Float64]),
)
def test_the_median_is_pythons(values, dtype) -> None:
    column = pl.Series("a", values, dtype=pl.Int64).cast(dtype)
    present = [value for value in column.to_list() if value is not None]
    if not present:
        return
    low, high = statistics.median_low(present), statistics.median_high(present)
    median = (low + high) // 2 if dtype == pl.Int64 else low / 2 + high / 2
    found = made(FillMedian(), column)["a"].to_list()
    wanted = pytest.approx(median, rel=1e-12) if dtype == pl.Float64 else median
    assert found == [wanted if value is None else value for value in column.to_list()]
