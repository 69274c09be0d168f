import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import DataError, SettingError
from tamis.features.ops import Bucketize
from tamis.features.workflow import Workflow

NAN = float("nan")


def fitted(op, values, dtype=None):
    frame = pl.DataFrame({"a": pl.Series(values, dtype=dtype)})
    workflow = Workflow(["a"] >> op).fit(frame)
    return workflow, workflow.transform(frame)["a"]


def test_quantiles_make_buckets_of_as_many_rows_each() -> None:
    workflow, codes = fitted(Bucketize(quantiles=4), range(100, 200))
    assert codes.value_counts(sort=True)["count"].to_list() == [25, 25, 25, 25]
    assert codes.is_sorted()
    assert workflow.output_schema["a"].cardinality == 4


def test_shares_of_the_rows_can_be_given() -> None:
    workflow, codes = fitted(Bucketize(quantiles=[0.5, 0.9]), [[0, 1, 2], [3, None], None, [4, 5, 6, 7, 8, 9, 10]])
    # The 0.5 quantile of 0..10 is 5, the 0.9 quantile 9.
    assert codes.to_list() == [[0, 0, 0], [0, None], None, [0, 1, 1, 1, 1, 2, 2]]
    assert workflow.output_schema["a"].cardinality == 3


def test_a_number_that_comes_often_leaves_fewer_buckets() -> None:
    workflow, codes = fitted(Bucketize(quantiles=4), [7] * 9 + [8])
    assert codes.to_list() == [1] * 10
    assert workflow.output_schema["a"].cardinality == 2


def test_quantiles_are_those_of_the_finite_numbers() -> None:
    _, codes = fitted(Bucketize(quantiles=2), [1.0, 3.0, math.inf, -math.inf, NAN, None])
    assert codes.to_list() == [0, 1, 1, 0, None, None]
    with pytest.raises(DataError, match="Bucketize: the column 'a' has no finite number"):
        fitted(Bucketize(quantiles=2), [None, NAN, math.inf])


def test_a_function_of_the_name_is_called_once_and_saved_as_its_result(tmp_path) -> None:
    calls = []

    def boundaries(name: str):
        calls.append(name)
        return np.array([1, 2]) if name == "a" else [10]

    frame = pl.DataFrame({"a": [0, 1, 2], "b": [9, 10, 11]})
    workflow = Workflow(["a", "b"] >> Bucketize(boundaries)).fit(frame)
    expected = {"a": [0, 1, 2], "b": [0, 1, 1]}
    assert workflow.transform(frame).to_dict(as_series=False) == expected
    assert calls == ["a", "b"]
    workflow.save(tmp_path / "w")
    assert Workflow.load(tmp_path / "w").transform(frame).to_dict(as_series=False) == expected
    assert "'b': (10,)" in repr(workflow)


def test_boundaries_and_quantiles_exclude_each_other() -> None:
    for settings_ in ({}, {"boundaries": [1], "quantiles": 2}):
        with pytest.raises(SettingError, match="Bucketize: give either boundaries or quantiles"):
            Bucketize(**settings_)
    with pytest.raises(SettingError, match="the boundaries do not rise, 1 comes after 2"):
        fitted(Bucketize(lambda name: [2, 1]), [1])


@pytest.mark.parametrize("given_", [1, True, [], [0.5, 0.5], [0.9, 0.1], [0, 0.5], [1.0], "ab"])
def test_quantiles_that_are_none_are_refused(given_) -> None:
    with pytest.raises(
        SettingError, match=r"Bucketize: quantiles=.* are neither a number of buckets nor rising shares"
    ):
        Bucketize(quantiles=given_)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    values=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-5, 5), min_size=1, max_size=20),
    boundaries=st.sets(st.integers(-9, 9) | st.integers(-(2**62), 2**62), min_size=1).map(sorted),
)
def test_the_code_is_the_number_of_boundaries_reached(values, boundaries) -> None:
    floats = sorted({float(b) for b in boundaries})
    expected = [None if v is None else sum(float(v) >= b for b in floats) for v in values]
    assert fitted(Bucketize(floats), values, pl.Int64)[1].to_list() == expected


@settings(max_examples=40, deadline=None, derandomize=True)
@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), num=st.integers(2, 6))
def test_quantiles_are_numpys(values, num) -> None:
    op = Bucketize(quantiles=num)
    workflow, codes = fitted(op, values)
    bounds = np.unique(np.quantile(values, np.arange(1, num) / num))
    found = workflow._fitted.learned[workflow.node]["a"]["boundaries"]
    assert sorted({round(b, 6) for b in found}) == pytest.approx(sorted({round(b, 6) for b in bounds}), abs=2e-6)
    assert codes.to_list() == [sum(v >= b for b in found) for v in values]
