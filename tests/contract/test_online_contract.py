"""What every op promises online: a row alone, as plain Python values, gets what it gets in a crowd."""

import datetime as dt
import functools
import importlib.util
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tamis.features import ops
from tamis.features.ops import RowOp
from tamis.features.workflow import Workflow

_spec = importlib.util.spec_from_file_location("ops_contract", Path(__file__).with_name("test_ops_contract.py"))
contract = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(contract)
PEOPLE = contract.PEOPLE
each = pytest.mark.parametrize(("op", "columns"), contract.every_op(), ids=lambda value: repr(value)[:60])


def same(found, expected) -> bool:
    """Equal to the last bit and of the same type; NaN equals NaN."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[name], expected[name]) for name in expected)
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, float) and math.isnan(expected):
        return isinstance(found, float) and math.isnan(found)
    return type(found) is type(expected) and found == expected


@each
def test_a_row_online_gets_the_same_as_in_a_crowd(op, columns) -> None:
    """But for row filters, which leave out nothing."""
    workflow = Workflow(columns >> op).fit(PEOPLE)
    rows, online = PEOPLE.to_dicts(), workflow.online()
    keeps_all = columns >> ops.AddTags("kept") if isinstance(op, RowOp) else columns >> op
    expected = Workflow(keeps_all).fit(PEOPLE).transform(PEOPLE, training=False).to_dicts()
    alone = [online.transform(row) for row in rows]
    for row, found, want in zip(rows, alone, expected, strict=True):
        assert same(found, want), row
    assert same(online.transform(rows), expected)


@each
def test_an_op_has_a_function_of_its_own_but_for_some(op, columns) -> None:
    """Those call what is written for many values: the user's own expression, NumPy over vectors."""
    slow = Workflow(columns >> op).fit(PEOPLE).online().slow_columns
    assert bool(slow) == isinstance(op, ops.LambdaOp | ops.TextEmbedding | ops.ColumnSimilarity)


WIDE = st.floats() | st.sampled_from([0.0, -0.0, 0.5, 1.0, 2.0**63])
MOMENTS = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2090, 1, 1))
VALUES = {
    pl.Int8(): st.integers(-128, 127) | st.integers(-3, 3),
    pl.Int64(): st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3),
    pl.UInt64(): st.integers(0, 2**64 - 1) | st.integers(0, 3),
    pl.Float32(): st.floats(width=32) | st.sampled_from([0.0, -0.0, 0.5, 1.0]),
    pl.Float64(): WIDE,
    pl.String(): st.text(max_size=3),
    pl.Boolean(): st.booleans(),
    pl.Date(): st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31)),
    pl.Time(): st.times(),
    pl.Datetime("ns"): MOMENTS,
    pl.Datetime("ms", "Europe/Berlin"): MOMENTS.map(lambda at: at.replace(tzinfo=dt.UTC)),
    pl.Duration("us"): st.timedeltas(dt.timedelta(-999), dt.timedelta(999)),
}
LEAST = {  # so that there is something to learn
    pl.String(): "é",
    pl.Boolean(): True,
    pl.Date(): dt.date(2024, 2, 29),
    pl.Time(): dt.time(1),
    pl.Datetime("ns"): dt.datetime(2024, 2, 29),
    pl.Datetime("ms", "Europe/Berlin"): dt.datetime(2024, 2, 29, tzinfo=dt.UTC),
    pl.Duration("us"): dt.timedelta(1),
}


def ops_for(dtype, *, is_list: bool) -> list:
    """The ops that take this dtype and do something to a value."""
    found = [ops.Categorify(), ops.Categorify(freq_threshold=2, num_buckets=7), ops.HashBucket(7), ops.AddTags("x")]
    if dtype.is_numeric() or dtype == pl.Boolean:
        found += [ops.FillMissing(1, add_binary_cols=True), ops.FillMedian(True), ops.LogOp(), ops.Normalize()]
        found += [ops.Normalize("float64"), ops.NormalizeMinMax(), ops.NormalizeMinMax("float64")]
        found += [ops.Bucketize([0, 1.5, 3]), ops.Bucketize(quantiles=3)]
    if dtype.is_numeric():
        found += [ops.Clip(-1.5, 3.3), ops.Clip(min_value=0), ops.ReduceDtypeSize()]
    if dtype.is_integer():
        found += [ops.DateParts(unit="s"), ops.DateParts(unit="ns", cyclic=True)]
    if dtype in (pl.Date, pl.Datetime):
        found += [ops.DateParts(), ops.DateParts(cyclic=True), ops.DateParts("year")]
    if is_list:
        found += [ops.ListSlice(2), ops.ListSlice(-2), ops.ListSlice(1, -1), ops.ListSlice(-2, -1)]
        found += [ops.ListSlice(2, pad=True, pad_value=1)] if dtype.is_numeric() else []
    return found


def renamed(ops_of_a: list) -> Any:
    """All ops side by side, each one's columns under names of their own."""
    first, *others = (["a"] >> op >> ops.Rename(postfix=f"_{i}") for i, op in enumerate(ops_of_a))
    return functools.reduce(lambda node, more: node + more, others, first)


@pytest.mark.parametrize("is_list", [False, True], ids=["values", "lists"])
@pytest.mark.parametrize("dtype", VALUES, ids=str)
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_any_value_gets_what_polars_gives_it(dtype, is_list, data) -> None:
    """Nulls, NaN, unicode, ends of 64 bits, values never seen; to the last bit."""
    wrap = pl.List(dtype) if is_list else dtype

    def drawn(values) -> list:
        some = st.none() | values
        return data.draw(st.lists(st.none() | st.lists(some, max_size=3) if is_list else some, max_size=8))

    learnable = st.floats(-9, 9, width=32) if dtype.is_float() else VALUES[dtype]  # infinite ones are refused in fit
    at_least = [LEAST.get(dtype, 1)]
    seen = [*drawn(learnable), at_least if is_list else at_least[0]]
    train, frame = (pl.DataFrame({"a": pl.Series(v, dtype=wrap)}) for v in (seen, seen + drawn(VALUES[dtype])))
    workflow = Workflow(renamed(ops_for(dtype, is_list=is_list))).fit(train)
    transformer = workflow.online()
    assert transformer.slow_columns == []
    for row, want in zip(frame.to_dicts(), workflow.transform(frame).to_dicts(), strict=True):
        found = transformer.transform(row)
        assert same(found, want), {
            name: (found[name], want[name]) for name in want if not same(found[name], want[name])
        }
