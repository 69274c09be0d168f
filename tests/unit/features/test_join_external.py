import datetime as dt

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tamis.data.dataset import Dataset
from tamis.errors import DataError, SettingError, UnknownColumnError
from tamis.features.ops import Categorify, FillMissing, JoinExternal, Normalize
from tamis.features.workflow import Workflow
from tamis.schema import ColumnSchema, Schema, Tags

CLICKS = pl.DataFrame({"item": [3, 1, 9, None, 1], "user": ["u", "v", "w", "u", "v"]})
ITEMS = pl.DataFrame({"item": [1, 2, 3], "brand": ["b", "c", None], "price": [1.5, 2.5, 3.5]})


def test_columns_of_the_table_join_those_of_the_selection_in_order() -> None:
    out = Workflow(["user", "item"] >> JoinExternal(ITEMS, "item")).fit_transform(CLICKS)
    assert out.to_dict(as_series=False) == {
        "user": ["u", "v", "w", "u", "v"],
        "item": [3, 1, 9, None, 1],
        "brand": [None, "b", None, None, "b"],
        "price": [3.5, 1.5, None, None, 1.5],
    }


def test_a_key_that_is_not_selected_is_read_from_the_input() -> None:
    workflow = Workflow(["user"] >> JoinExternal(ITEMS, "item", columns_ext="price")).fit(CLICKS)
    assert workflow.output_schema.column_names == ["user", "price"]
    assert workflow.input_schema.column_names == ["item", "user"]


def test_an_inner_join_leaves_out_rows_without_a_partner() -> None:
    graph = ["user", "item"] >> JoinExternal(ITEMS, "item", how="inner")
    workflow = Workflow(graph).fit(CLICKS)
    assert workflow.transform(CLICKS).rows() == [("u", 3, None, 3.5), ("v", 1, "b", 1.5), ("v", 1, "b", 1.5)]
    assert workflow.online().transform({"user": "u", "item": 9}) == {
        "user": "u", "item": 9, "brand": None, "price": None
    }  # fmt: skip
    counted = Workflow(graph >> Categorify()).fit(CLICKS)
    assert counted.categories("user")["count"].to_list() == [2, 1]


def test_keys_of_several_columns_may_have_other_names_in_the_table() -> None:
    table = pl.DataFrame({"u": ["v", "v"], "i": [1, 3], "n": [7, 8]})
    out = Workflow(["user"] >> JoinExternal(table, ["user", "item"], on_ext=["u", "i"])).fit_transform(CLICKS)
    assert out["n"].to_list() == [None, 7, None, None, 7]


def test_the_first_of_a_key_s_rows_is_taken_where_that_is_asked_for() -> None:
    twice = pl.concat([ITEMS, ITEMS.with_columns(price=pl.lit(0.0))])
    with pytest.raises(DataError, match=r"JoinExternal: the table has more than one row of item=1\. Drop all but one"):
        JoinExternal(twice, "item")
    out = Workflow(["item"] >> JoinExternal(twice, "item", drop_duplicates_ext=True)).fit_transform(CLICKS)
    assert out["price"].to_list() == [3.5, 1.5, None, None, 1.5]


def test_a_null_key_has_no_partner_even_where_the_table_has_one() -> None:
    table = pl.DataFrame({"item": [None, None, float("nan"), 1.0], "n": [1, 2, 3, 4]})
    out = Workflow(["item"] >> JoinExternal(table, "item")).fit_transform(CLICKS)
    assert out["n"].to_list() == [None, 4, None, None, 4]


def test_the_table_brings_its_tags_and_can_be_a_path(tmp_path) -> None:
    schema = Schema([ColumnSchema("item", tags=Tags.ITEM_ID), ColumnSchema("brand", "string", Tags.ITEM)])
    Dataset(ITEMS, schema).to_parquet(tmp_path / "items")
    for table in (tmp_path / "items", str(tmp_path / "items"), Dataset(ITEMS, schema)):
        out = Workflow(["item"] >> JoinExternal(table, "item")).fit(CLICKS).output_schema
        assert out.column_names == ["item", "brand"]
        assert out["brand"].tags == {Tags.ITEM} and out["brand"].dtype == "string"
    given = JoinExternal(ITEMS, "item", columns_ext=["price"], schema_ext=schema + ColumnSchema("price", tags=["x"]))
    assert Workflow(["item"] >> given).fit(CLICKS).output_schema["price"].tags == {"x"}


def test_a_saved_workflow_has_the_table_with_it(tmp_path) -> None:
    table = ITEMS.with_columns(tags=pl.Series([["a"], [], None]), day=dt.date(2024, 1, 1))
    workflow = Workflow(["item"] >> JoinExternal(table, "item", how="inner")).fit(CLICKS)
    workflow.save(tmp_path / "w")
    loaded = Workflow.load(tmp_path / "w")
    assert_frame_equal(loaded.transform(CLICKS), workflow.transform(CLICKS), check_exact=True)
    loaded.save(tmp_path / "again")
    assert Workflow.load(tmp_path / "again").online().transform({"item": 1})["day"] == dt.date(2024, 1, 1)


def test_what_was_added_can_be_worked_on_and_joined_with_the_other_columns() -> None:
    added = ["item"] >> JoinExternal(ITEMS, "item", columns_ext="price")
    graph = (added["price"] >> FillMissing(0) >> Normalize()) + (["item"] >> Categorify())
    out = Workflow(graph).fit_transform(CLICKS)
    assert out.columns == ["price", "item"] and out["price"].sum() == pytest.approx(0, abs=1e-6)


def test_columns_joined_by_a_removed_key_go_and_the_others_stay() -> None:
    workflow = Workflow(["user", "item"] >> JoinExternal(ITEMS, "item")).fit(CLICKS)
    assert workflow.remove_inputs("item").output_schema.column_names == ["user"]
    assert workflow.remove_inputs("user").output_schema.column_names == ["item", "brand", "price"]
    assert "3 rows" in repr(workflow)
    workflow.explain()


def test_numbers_of_other_dtypes_are_the_same_keys_online_too() -> None:
    workflow = Workflow(["item"] >> JoinExternal(ITEMS, "item")).fit(
        CLICKS.with_columns(pl.col("item").cast(pl.Float64))
    )
    assert workflow.online().transform({"item": 1.0}) == {"item": 1.0, "brand": "b", "price": 1.5}


KEYS = st.none() | st.sampled_from([-(2**63), 2**63 - 1]) | st.integers(-2, 2)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    rows=st.lists(st.tuples(KEYS, st.none() | st.sampled_from(["", "é"])), min_size=1, max_size=15),
    table=st.lists(st.tuples(KEYS, st.none() | st.sampled_from(["", "é"]), st.none() | st.integers(0, 9)), max_size=15),
)
def test_a_join_agrees_with_a_dictionary(rows, table) -> None:
    frame = pl.DataFrame(rows, schema={"a": pl.Int64, "b": pl.String}, orient="row")
    other = pl.DataFrame(table, schema={"a": pl.Int64, "b": pl.String, "v": pl.Int8}, orient="row")
    first: dict = {}
    for a, b, v in table:
        if a is not None and b is not None:
            first.setdefault((a, b), v)
    left = Workflow(["a", "b"] >> JoinExternal(other, ["a", "b"], drop_duplicates_ext=True)).fit(frame)
    assert left.transform(frame)["v"].to_list() == [first.get(row) for row in rows]
    inner = JoinExternal(other, ["a", "b"], how="inner", drop_duplicates_ext=True)
    out = Workflow(["a", "b"] >> inner).fit(frame).transform(frame)
    assert out.rows() == [(*row, first[row]) for row in rows if row in first]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(SettingError, match=r"JoinExternal: how='outer' is no way to join\. Choose left or inner\."):
        JoinExternal(ITEMS, "item", how="outer")
    with pytest.raises(SettingError, match=r"JoinExternal: on='item' and on_ext=\['a', 'b'\] do not pair\. Give as"):
        JoinExternal(ITEMS, "item", on_ext=["a", "b"])
    with pytest.raises(UnknownColumnError, match=r"JoinExternal: the data has no column 'items'\. Did you mean 'item'"):
        JoinExternal(ITEMS, "items")
    with pytest.raises(UnknownColumnError, match=r"JoinExternal: the data has no column 'cost'"):
        JoinExternal(ITEMS, "item", columns_ext=["cost"])
    with pytest.raises(DataError, match="JoinExternal: the column 'l' holds lists of int64, by which rows cannot"):
        JoinExternal(pl.DataFrame({"l": [[1]]}), "l")
    with pytest.raises(DataError, match="JoinExternal: the column 'item' holds lists of int64"):
        Workflow(["item"] >> JoinExternal(ITEMS, "item")).fit(pl.DataFrame({"item": [[1]]}))
    with pytest.raises(SettingError, match=r"the column 'user' holds string, the table's 'item' int64. Cast one of"):
        Workflow(["user"] >> JoinExternal(ITEMS, "user", on_ext="item")).fit(CLICKS)
    with pytest.raises(SettingError, match=r"JoinExternal: 'item' decides which rows stay but is not selected. Add it"):
        Workflow(["user"] >> JoinExternal(ITEMS, "item", how="inner")).fit(CLICKS)
    with pytest.raises(SettingError, match=r"JoinExternal: two columns would be called 'brand'. Rename one of them."):
        Workflow(["item", "brand"] >> JoinExternal(ITEMS, "item")).fit(CLICKS.with_columns(brand=pl.lit(1)))
