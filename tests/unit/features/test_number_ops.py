import math

import polars as pl
import pytest

from tamis.errors import DataError, SettingError
from tamis.features.ops import Bucketize, FillMissing, LogOp, Normalize
from tamis.features.workflow import Workflow
from tamis.schema import Tags

NAN = float("nan")


def fitted(op, values, dtype=None) -> tuple[Workflow, pl.DataFrame]:
    frame = pl.DataFrame({"a": pl.Series(values, dtype=dtype)})
    workflow = Workflow(["a"] >> op).fit(frame)
    return workflow, workflow.transform(frame)


def made(op, values, dtype=None):
    return fitted(op, values, dtype)[1]["a"].to_list()


def test_normalize_gives_mean_zero_and_the_populations_deviation_one() -> None:
    workflow, frame = fitted(Normalize(), [1, 3, None, 5, 7])  # mean 4, deviation sqrt(5)
    assert frame["a"].to_list() == pytest.approx([-3 / 5**0.5, -1 / 5**0.5, None, 1 / 5**0.5, 3 / 5**0.5])
    assert workflow.output_schema["a"].dtype == "float32"
    assert workflow.output_schema["a"].has_tag(Tags.CONTINUOUS)


def test_normalize_learns_nothing_from_nan() -> None:
    found = made(Normalize("float64"), [1.0, NAN, 3.0])
    assert (found[0], found[2]) == (-1.0, 1.0)
    assert math.isnan(found[1])


def test_a_constant_column_becomes_zero() -> None:
    assert made(Normalize(), [5, 5]) == [0.0, 0.0]


def test_normalize_counts_the_leaves_of_lists_alike() -> None:
    assert made(Normalize(), [[1, 1], [5], [], None, [5, None]]) == [[-1.0, -1.0], [1.0], [], None, [1.0, None]]


def test_normalize_merges_parts_without_losing_digits() -> None:
    nothing = {"count": 0, "mean": None, "variance": None, "low": None, "high": None}
    first = {"count": 2, "mean": 1e9 + 1, "variance": 1.0, "low": 1e9, "high": 1e9 + 2}
    second = {"count": 2, "mean": 1e9 + 5, "variance": 1.0, "low": 1e9 + 4, "high": 1e9 + 6}
    parts = [first, nothing, second]
    ends = {"low": 1e9, "high": 1e9 + 6}
    assert Normalize().merge(parts) == {"count": 4, "mean": 1e9 + 3, "variance": 5.0, **ends}
    assert Normalize().merge(parts[1:2])["count"] == 0


@pytest.mark.parametrize("values", [[None, None], [NAN]])
def test_normalize_refuses_a_column_without_numbers(values) -> None:
    with pytest.raises(DataError, match="Normalize: the column 'a' has no number"):
        fitted(Normalize(), values, pl.Float64)


def test_normalize_refuses_infinite_numbers_text_and_other_dtypes() -> None:
    with pytest.raises(DataError, match="holds an infinite number"):
        fitted(Normalize(), [1.0, math.inf])
    with pytest.raises(SettingError, match="Normalize: the column 'a' holds string, not numbers"):
        fitted(Normalize(), ["x"])
    with pytest.raises(SettingError, match="dtype 'int8' does not fit"):
        Normalize("int8")


def test_log_op_is_the_logarithm_of_one_more() -> None:
    assert made(LogOp(), [0, 1, None]) == [0.0, pytest.approx(math.log(2)), None]
    assert made(LogOp(), [[0], []]) == [[0.0], []]
    with pytest.raises(SettingError, match="LogOp: the column 'a' holds string"):
        fitted(LogOp(), ["x"])


def test_bucketize_counts_the_boundaries_reached() -> None:
    workflow, frame = fitted(Bucketize([0, 10.5]), [-1.0, 0.0, 10.4, 10.5, None, NAN])
    assert frame["a"].to_list() == [0, 1, 1, 2, None, None]
    assert frame["a"].dtype == pl.Int32
    assert workflow.output_schema["a"].properties["domain"] == {"min": 0, "max": 2, "name": "a"}
    assert made(Bucketize({"a": [2]}), [[1, 2], [], [None]]) == [[0, 1], [], [None]]


@pytest.mark.parametrize(
    ("boundaries", "message"),
    [
        ([2, 1], "the boundaries do not rise, 1 comes after 2"),
        ([1, 1], "the boundaries do not rise"),
        ([], "are no numbers"),
        ([NAN], "are no numbers"),
        ({"b": [1]}, "there are no boundaries for 'a'"),
    ],
)
def test_bucketize_needs_boundaries_that_rise(boundaries, message) -> None:
    with pytest.raises(SettingError, match=f"Bucketize: .*{message}"):
        fitted(Bucketize(boundaries), [1])


def test_fill_missing_keeps_the_dtype() -> None:
    workflow, frame = fitted(FillMissing(7), [1, None], pl.Int8)
    assert frame["a"].to_list() == [1, 7]
    assert frame["a"].dtype == pl.Int8
    assert workflow.output_schema["a"].dtype == "int8"
    assert made(FillMissing(0.5), [1.0, None, NAN]) == [1.0, 0.5, 0.5]
    assert made(FillMissing("?"), ["x", None]) == ["x", "?"]
    assert made(FillMissing(), [[1, None], None]) == [[1, 0], None]


def test_fill_missing_can_say_what_it_filled() -> None:
    workflow, frame = fitted(FillMissing(add_binary_cols=True), [1.0, None, NAN])
    assert frame.to_dict(as_series=False) == {"a": [1.0, 0.0, 0.0], "a_filled": [False, True, True]}
    assert workflow.output_schema["a_filled"].dtype == "boolean"


@pytest.mark.parametrize(
    ("value", "values"), [(0, ["x"]), ("x", [1]), (0.5, [1]), (-1, pl.Series([1], dtype=pl.UInt8))]
)
def test_a_fill_value_that_does_not_fit_is_refused(value, values) -> None:
    with pytest.raises(SettingError, match=r"FillMissing: fill_val=.* does not fit the column 'a'"):
        fitted(FillMissing(value), values)


@pytest.mark.parametrize("value", [0.1, 4.35, 19.99, 99.95])
def test_a_constant_fraction_becomes_zero_and_its_neighbours_stay_near(value) -> None:
    """The mean of a thousand tenths is not exactly a tenth, and their variance not exactly 0."""
    frame = pl.DataFrame({"c": [value] * 1000})
    workflow = Workflow(["c"] >> Normalize()).fit(frame)
    assert workflow.transform(frame)["c"].unique().to_list() == [0.0]
    later = workflow.transform(pl.DataFrame({"c": [value + 0.001]}))["c"].item()
    assert later == pytest.approx(0.001, rel=1e-3)


def test_large_whole_numbers_meet_boundaries_exactly() -> None:
    border = 1_700_000_000_000_000_101
    frame = pl.DataFrame({"n": [border - 101, border - 1, border, border + 99]})
    workflow = Workflow(["n"] >> Bucketize([border])).fit(frame)
    assert workflow.transform(frame)["n"].to_list() == [0, 0, 1, 1]
    assert [workflow.online().transform(row)["n"] for row in frame.to_dicts()] == [0, 0, 1, 1]


@pytest.mark.parametrize("dtype", [pl.Int8, pl.Int64, pl.UInt64, pl.Float32])
def test_boundaries_beyond_a_dtype_are_never_or_always_reached(dtype) -> None:
    frame = pl.DataFrame({"n": pl.Series([0, 1, None, 100], dtype=dtype)})
    workflow = Workflow(["n"] >> Bucketize([-1e30, 0.5, 1e30])).fit(frame)
    assert workflow.transform(frame)["n"].to_list() == [1, 2, None, 2]
