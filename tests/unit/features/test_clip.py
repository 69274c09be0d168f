import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import SettingError
from tamis.features.ops import Clip
from tamis.features.workflow import Workflow

NAN = float("nan")


def made(op, values, dtype=None) -> pl.Series:
    frame = pl.DataFrame({"a": pl.Series(values, dtype=dtype)})
    return Workflow(["a"] >> op).fit(frame).transform(frame)["a"]


def test_numbers_are_kept_between_the_limits() -> None:
    assert made(Clip(0, 2), [-1.0, 0.5, 3.0, None, math.inf, -math.inf]).to_list() == [0.0, 0.5, 2.0, None, 2.0, 0.0]
    assert made(Clip(min_value=0), [-1, 5]).to_list() == [0, 5]
    assert made(Clip(max_value=2), [[-1, 5], [], None, [None]]).to_list() == [[-1, 2], [], None, [None]]
    assert math.isnan(made(Clip(0, 2), [NAN])[0])


def test_whole_numbers_stay_whole_within_the_limits() -> None:
    found = made(Clip(0.5, 2.5), [0, 1, 5], pl.UInt8)
    assert (found.to_list(), found.dtype) == ([1, 1, 2], pl.UInt8)
    assert made(Clip(-1000, 1e300), [-128, 127], pl.Int8).to_list() == [-128, 127]
    assert made(Clip(-math.inf, math.inf), [5]).to_list() == [5]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ((), "min_value=None, max_value=None are no limits. Give one number or two"),
        ((NAN,), "min_value=nan, max_value=None are no limits"),
        ((2, 1), "max_value=1 is below min_value=2. Swap the two"),
    ],
)
def test_limits_that_are_none_are_refused(limits, message) -> None:
    with pytest.raises(SettingError, match=f"Clip: {message}"):
        Clip(*limits)


def test_columns_that_have_nothing_between_the_limits_are_refused() -> None:
    with pytest.raises(SettingError, match="the column 'a' holds int8, which has no number from 300 to 400"):
        made(Clip(300, 400), [1], pl.Int8)
    with pytest.raises(SettingError, match="has no number from None to -1"):
        made(Clip(max_value=-1), [1], pl.UInt8)
    with pytest.raises(SettingError, match=r"has no number from 0\.2 to 0\.8. Give wider limits or cast the column"):
        made(Clip(0.2, 0.8), [1])
    with pytest.raises(SettingError, match=r"Clip: the column 'a' holds boolean. Cast it to a number first"):
        made(Clip(0, 1), [True])
    with pytest.raises(SettingError, match="Clip: the column 'a' holds string, not numbers"):
        made(Clip(0, 1), ["x"])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    values=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=8),
    limits=st.tuples(*[st.integers(-(2**64), 2**64) | st.floats(-1e20, 1e20)] * 2).map(sorted),
)
def test_clip_agrees_with_min_and_max(values, limits) -> None:
    low, high = math.ceil(limits[0]), math.floor(limits[1])
    if low > high or low >= 2**63 or high < -(2**63):
        return
    expected = [None if value is None else min(max(value, low), high) for value in values]
    assert made(Clip(*limits), values, pl.Int64).to_list() == expected
