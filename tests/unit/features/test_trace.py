import polars as pl
import pytest

from tamis.errors import SettingError
from tamis.features.trace import COLUMN, given_dtype, traced, traced_value


def test_a_function_of_a_frame_becomes_a_condition() -> None:
    frame = pl.DataFrame({"a": [1, 2, None], "b": [5, 1, 1]})
    for function in (
        lambda df: df["a"] < df.b,
        lambda df: df[df["a"] < df["b"]],
        lambda df: df.filter(df["a"] < df["b"]),
    ):
        assert frame.filter(traced(function, where="here"))["a"].to_list() == [1]


def test_a_function_of_a_column_becomes_an_expression_over_fields() -> None:
    expr, asked = traced_value(lambda col, df: col + df["b"] + df.c + df["b"], where="here")
    assert asked == ("b", "c")
    frame = pl.DataFrame({COLUMN: [1], "b": [10], "c": [100]})
    value = pl.struct(pl.all()).struct.with_fields(expr.alias("value")).struct.field("value")
    assert frame.select(value).item() == 121


def test_a_second_argument_with_a_default_is_not_asked_for() -> None:
    assert traced_value(lambda col, factor=2: col * factor, where="here")[1] == ()


def test_types_are_known_however_they_are_written() -> None:
    for dtype in ("int32", pl.Int32, pl.Int32()):
        assert given_dtype(dtype, "here") == ("int32", pl.Int32())
    assert given_dtype(float, "here") == ("float64", pl.Float64())
    with pytest.raises(SettingError, match=r"astype: 'text' is no type. Give one such as int32"):
        given_dtype("text", "astype")


def test_the_advice_fits_what_went_wrong() -> None:
    with pytest.raises(
        SettingError, match=r"here: the function cannot be turned .* \(ZeroDivisionError|division by zero"
    ):
        traced(lambda df: 1 / 0, where="here")
    with pytest.raises(SettingError, match=r"Use arithmetic, Polars' own methods of expressions and pl\.when\."):
        traced_value(lambda col: 1 / 0, where="here")
    with pytest.raises(SettingError, match=r"the condition looks at more than one row .* judged differently"):
        traced(lambda df: df["a"] > df["a"].mean(), where="here")
    with pytest.raises(SettingError, match=r"the result looks at more than one row .* computed differently"):
        traced_value(lambda col: col.cum_sum(), where="here")
