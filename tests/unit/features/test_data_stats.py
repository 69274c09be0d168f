import datetime as dt
import math
import statistics

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.features.ops import DataStats
from tamis.features.workflow import Workflow


def stats(values, dtype=None):
    frame = pl.DataFrame({"a": pl.Series(values, dtype=dtype)})
    workflow = Workflow(["a"] >> DataStats()).fit(frame)
    assert workflow.transform(frame).equals(frame, null_equal=True)
    workflow.output_schema.to_json()
    return workflow.output_schema["a"].properties["stats"]


def test_numbers_are_described_by_their_range_mean_deviation_and_gaps() -> None:
    assert stats([1, 3, 3, None]) == {
        "cardinality": 2, "missing": 0.25, "min": 1, "max": 3,
        "mean": pytest.approx(7 / 3), "std": pytest.approx(math.sqrt(8 / 9)),
    }  # fmt: skip
    assert stats([True, False]) == {"cardinality": 2, "missing": 0.0, "min": 0.0, "max": 1.0, "mean": 0.5, "std": 0.5}


def test_text_and_moments_have_no_mean() -> None:
    assert stats(["x", "y", "x", None]) == {"cardinality": 2, "missing": 0.25}
    moments = [dt.datetime(2024, 1, 2), dt.datetime(2024, 1, 1)]
    assert stats(moments) == {
        "cardinality": 2, "missing": 0.0, "min": "2024-01-01T00:00:00", "max": "2024-01-02T00:00:00"
    }  # fmt: skip
    zoned = stats(pl.Series(moments).dt.replace_time_zone("Europe/Berlin"))
    assert zoned["min"] == "2024-01-01T00:00:00+01:00"


def test_of_lists_the_leaves_are_described() -> None:
    assert stats([[1, 2], [], [2, None]])["mean"] == pytest.approx(5 / 3)
    assert stats([[1, 2], [], [2, None]])["missing"] == 0.25


def test_what_does_not_exist_is_left_out() -> None:
    assert stats([None, float("nan")], pl.Float64) == {"cardinality": 0, "missing": 1.0}
    assert stats([1.0, math.inf]) == {"cardinality": 2, "missing": 0.0, "min": 1.0}
    assert stats([[], []], pl.List(pl.Int64)) == {"cardinality": 0}


@settings(max_examples=40, deadline=None, derandomize=True)
@given(values=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3), min_size=1, max_size=12))
def test_they_are_those_of_pythons_statistics(values) -> None:
    present = [value for value in values if value is not None]
    found = stats(values, pl.Int64)
    assert found["cardinality"] == len(set(present))
    assert found["missing"] == pytest.approx(values.count(None) / len(values))
    if present:
        assert (found["min"], found["max"]) == (min(present), max(present))
        floats = [float(value) for value in present]
        scale = max(map(abs, floats))
        assert found["mean"] == pytest.approx(statistics.fmean(floats), abs=1e-9 * scale)
        assert found["std"] == pytest.approx(statistics.pstdev(floats), abs=1e-6 * scale)
