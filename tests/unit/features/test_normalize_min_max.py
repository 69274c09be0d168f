import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import DataError, SettingError
from tamis.features.ops import NormalizeMinMax
from tamis.features.workflow import Workflow
from tamis.schema import Tags

NAN = float("nan")


def made(op, values, dtype=None, later=None):
    fitted = Workflow(["a"] >> op).fit(pl.DataFrame({"a": pl.Series(values, dtype=dtype)}))
    return fitted, fitted.transform(pl.DataFrame({"a": pl.Series(values if later is None else later, dtype=dtype)}))[
        "a"
    ]


def test_the_smallest_becomes_0_and_the_largest_1() -> None:
    workflow, found = made(NormalizeMinMax(), [2, 6, None, 4, 3])
    assert found.to_list() == [0.0, 1.0, None, 0.5, 0.25]
    assert workflow.output_schema["a"].dtype == "float32"
    assert workflow.output_schema["a"].has_tag(Tags.CONTINUOUS)
    assert made(NormalizeMinMax("float64"), [[2], [6, 3], [], None])[1].to_list() == [[0.0], [1.0, 0.25], [], None]


def test_numbers_beyond_those_of_training_leave_the_range() -> None:
    assert made(NormalizeMinMax(), [0, 10], later=[-5, 20])[1].to_list() == [-0.5, 2.0]


def test_a_constant_column_becomes_one_half_whatever_comes_later() -> None:
    found = made(NormalizeMinMax(), [5.0, 5.0, NAN], later=[5.0, 9.0, None, NAN])[1].to_list()
    assert found[:3] == [0.5, 0.5, None] and math.isnan(found[3])


def test_the_largest_range_of_floats_does_not_overflow() -> None:
    assert made(NormalizeMinMax(), [-1.7e308, 1.7e308, 0.0])[1].to_list() == [0.0, 1.0, 0.5]


def test_columns_without_a_range_are_refused() -> None:
    with pytest.raises(DataError, match="NormalizeMinMax: the column 'a' has no number but null and NaN"):
        made(NormalizeMinMax(), [None, NAN], pl.Float64)
    with pytest.raises(DataError, match="NormalizeMinMax: the column 'a' holds an infinite number"):
        made(NormalizeMinMax(), [1.0, -math.inf])
    with pytest.raises(SettingError, match="NormalizeMinMax: the column 'a' holds string, not numbers"):
        made(NormalizeMinMax(), ["x"])
    with pytest.raises(SettingError, match="NormalizeMinMax: dtype 'int8' does not fit"):
        NormalizeMinMax("int8")


@settings(max_examples=40, deadline=None, derandomize=True)
@given(values=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 9), min_size=1, max_size=9))
def test_it_agrees_with_the_formula(values) -> None:
    present = [float(value) for value in values if value is not None]
    if not present:
        return
    low, scale = min(present), max(present) - min(present)
    expected = [None if v is None else 0.5 if scale == 0 else pytest.approx((float(v) - low) / scale) for v in values]
    assert made(NormalizeMinMax("float64"), values, pl.Int64)[1].to_list() == expected
