import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import SettingError
from tamis.features.ops import Categorify, ReduceDtypeSize
from tamis.features.workflow import Workflow


def fitted(op, values, dtype=None):
    frame = pl.DataFrame({"a": pl.Series(values, dtype=dtype)})
    workflow = Workflow(["a"] >> op).fit(frame)
    return workflow, workflow.transform(frame)["a"]


@pytest.mark.parametrize(
    ("values", "dtype", "smallest"),
    [
        ([127, -128], pl.Int64, pl.Int8),
        ([128], pl.Int64, pl.Int16),
        ([-129, None], pl.Int32, pl.Int16),
        ([2**31 - 1], pl.UInt64, pl.Int32),
        ([2**31], pl.UInt64, pl.UInt64),
        ([2**63], pl.UInt64, pl.UInt64),
        ([255], pl.UInt8, pl.UInt8),
        ([None], pl.Int64, pl.Int8),
        ([1.5], pl.Float64, pl.Float32),
        ([1.5], pl.Float32, pl.Float32),
        (["x"], pl.String, pl.String),
        ([True], pl.Boolean, pl.Boolean),
    ],
)
def test_numbers_take_the_smallest_dtype_that_holds_them(values, dtype, smallest) -> None:
    workflow, found = fitted(ReduceDtypeSize(), values, dtype)
    assert (found.dtype, found.to_list()) == (smallest, values)
    assert workflow.output_schema["a"].dtype == str(smallest).lower()


def test_leaves_of_lists_shrink_too() -> None:
    found = fitted(ReduceDtypeSize(), [[1, 300], None, []])[1]
    assert (found.dtype, found.to_list()) == (pl.List(pl.Int16), [[1, 300], None, []])


def test_a_later_number_that_does_not_fit_becomes_null() -> None:
    workflow, _ = fitted(ReduceDtypeSize(), [1, 2])
    assert workflow.transform(pl.DataFrame({"a": [127, 128]}))["a"].to_list() == [127, None]


def test_codes_fit_as_far_as_their_domain_goes() -> None:
    vocabulary = list(range(200))
    _, found = fitted(Categorify(vocabs={"a": vocabulary}), [5])
    assert found.to_list() == [8]
    frame = pl.DataFrame({"a": [5]})
    reduced = Workflow(["a"] >> Categorify(vocabs={"a": vocabulary}) >> ReduceDtypeSize()).fit(frame)
    assert reduced.output_schema["a"].dtype == "int16"
    assert reduced.transform(pl.DataFrame({"a": [199]}))["a"].to_list() == [202]


def test_the_dtype_of_floats_is_one_of_two() -> None:
    assert fitted(ReduceDtypeSize("float64"), [1.5])[1].dtype == pl.Float64
    with pytest.raises(
        SettingError, match=r"ReduceDtypeSize: dtype 'int8' does not fit. Choose one of float32, float64"
    ):
        ReduceDtypeSize("int8")


@settings(max_examples=40, deadline=None, derandomize=True)
@given(values=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-200, 200), min_size=1, max_size=5))
def test_no_number_of_training_is_lost(values) -> None:
    assert fitted(ReduceDtypeSize(), values, pl.Int64)[1].to_list() == values
