import math
import statistics

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.data.dataset import Dataset
from tamis.errors import DataError, SettingError
from tamis.features.ops import JoinGroupby
from tamis.features.workflow import Workflow
from tamis.schema import ColumnSchema, Schema, Tags

SALES = pl.DataFrame({"shop": ["x", "x", "x", "y", None], "day": [1, 1, 2, 1, 1], "price": [1.0, 3.0, None, 7.0, 5.0]})
ALL = ["count", "sum", "mean", "std", "var", "min", "max"]


def test_each_row_gets_the_statistics_of_its_group() -> None:
    out = Workflow(["shop"] >> JoinGroupby(["price"], ALL)).fit(SALES).transform(SALES)
    assert out.columns == ["shop_count", *(f"shop_price_{stat}" for stat in ALL[1:])]
    assert out.row(0) == pytest.approx((3, 4.0, 2.0, math.sqrt(2), 2.0, 1.0, 3.0))
    assert out.row(3) == (1, 7.0, 7.0, None, None, 7.0, 7.0)
    assert out.row(4) == (1, 5.0, 5.0, None, None, 5.0, 5.0)
    assert out.schema["shop_count"] == pl.Int32
    assert set(out.drop("shop_count").dtypes) == {pl.Float32}


def test_a_group_that_was_not_learned_has_no_rows_and_no_mean() -> None:
    workflow = Workflow(["shop"] >> JoinGroupby("price", ALL)).fit(SALES)
    unknown = (0, 0.0, None, None, None, None, None)
    assert workflow.transform(pl.DataFrame({"shop": ["z"]})).row(0) == unknown
    assert tuple(workflow.online().transform({"shop": "z"}).values()) == unknown


def test_several_columns_are_one_key_and_names_can_be_joined_otherwise() -> None:
    out = Workflow([["shop", "day"]] >> JoinGroupby("price", ["count", "mean"], name_sep=".")).fit_transform(SALES)
    assert out.to_dict(as_series=False) == {
        "shop.day.count": [2, 2, 1, 1, 1],
        "shop.day.price.mean": [2.0, 2.0, None, 7.0, 5.0],
    }


def test_the_columns_of_numbers_are_needed_for_learning_alone_and_pass_through_where_they_are_selected() -> None:
    op = JoinGroupby("price", "max")
    workflow = Workflow(["shop"] >> op).fit(SALES)
    assert workflow.input_schema.column_names == ["shop"]
    out = Workflow(["shop", "price"] >> op).fit_transform(SALES)
    assert out.columns == ["shop_price_max", "price"]


def test_the_result_is_of_the_user_where_the_column_is() -> None:
    data = Dataset(SALES.select("shop"), Schema([ColumnSchema("shop", "string", Tags.USER_ID)]))
    assert Workflow(["shop"] >> JoinGroupby()).fit(data).output_schema["shop_count"].tags == {
        Tags.USER, Tags.CONTINUOUS
    }  # fmt: skip


def test_deviations_of_large_numbers_are_exact_when_parts_merge() -> None:
    """A formula with the sum of squares would lose all digits here."""
    values = [1e9 + 1, 1e9 + 2, 1e9 + 4, 1e9 + 8]
    op = JoinGroupby("v", "var")
    frames = [
        pl.DataFrame({"key_0": [1], "count": [2], "n_0": [2], "sum_0": [sum(part)],
                      "squares_0": [statistics.pvariance(part) * 2]})
        for part in (values[:2], values[2:])
    ]  # fmt: skip
    merged = op.merge([{"groups": frame} for frame in frames])["groups"]
    assert merged["squares_0"].item() == pytest.approx(statistics.pvariance(values) * 4, rel=1e-12)


NUMBERS = st.none() | st.integers(-4, 4).map(lambda n: n / 2) | st.sampled_from([float("nan"), 1e6])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    rows=st.lists(
        st.tuples(st.none() | st.sampled_from(["", "é", "x"]), st.none() | st.booleans(), NUMBERS),
        min_size=1,
        max_size=25,
    )
)
def test_statistics_agree_with_plain_python(rows) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.String, "b": pl.Boolean, "v": pl.Float64}, orient="row")
    out = Workflow([["a", "b"]] >> JoinGroupby("v", ALL)).fit_transform(frame)
    for (*key, _), found in zip(rows, out.rows(), strict=True):
        mine = [v for *k, v in rows if k == key]
        known = [v for v in mine if v is not None and v == v]
        var = statistics.variance(known) if len(known) > 1 else None
        expected = (
            len(mine), math.fsum(known), statistics.mean(known) if known else None, None if var is None else var**0.5,
            var, min(known, default=None), max(known, default=None),
        )  # fmt: skip
        for one, want in zip(found, expected, strict=True):
            assert one == (None if want is None else pytest.approx(want, rel=1e-6, abs=1e-6))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(SettingError, match=r"JoinGroupby: there is no statistic 'median'\. Choose of count, sum, mean"):
        JoinGroupby("price", ["median"])
    with pytest.raises(SettingError, match=r"JoinGroupby: cont_cols is empty, so there is nothing to compute\. Name"):
        JoinGroupby(stats=["count", "mean"])
    with pytest.raises(SettingError, match=r"JoinGroupby: cont_cols is empty, so there is nothing to compute\. Name"):
        JoinGroupby(stats="mean")
    with pytest.raises(SettingError, match=r"JoinGroupby: stats is empty, so there is nothing to compute\. Name some"):
        JoinGroupby("price", [])
    with pytest.raises(SettingError, match="JoinGroupby: the column 'shop' holds string, not single numbers"):
        Workflow(["day"] >> JoinGroupby("shop", "mean")).fit(SALES)
    with pytest.raises(DataError, match="JoinGroupby: the column 'l' holds lists of int64, by which rows cannot be"):
        Workflow(["l"] >> JoinGroupby()).fit(pl.DataFrame({"l": [[1]]}))
