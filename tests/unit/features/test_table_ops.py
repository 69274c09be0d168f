"""Ops that look at several rows, against plain Python."""

import datetime as dt
import math
import statistics

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.data.dataset import Dataset
from tamis.errors import DataError, SettingError, UnknownColumnError, UnknownNameError
from tamis.features.ops import Categorify, DifferenceLag, Filter, Groupby, ListSlice, Normalize
from tamis.features.workflow import Workflow
from tamis.schema import ColumnSchema, Schema

CLICKS = pl.DataFrame(
    {
        "session": [2, 1, 2, 1, None],
        "item": ["x", "y", "z", "y", "x"],
        "ts": [30, 10, 20, 40, 5],
        "price": [1.0, 2.0, None, 4.0, 5.0],
    }
)
COLUMNS = CLICKS.columns


def grouped(*columns: str, frame: pl.DataFrame = CLICKS, **settings: object) -> pl.DataFrame:
    workflow = Workflow(list(columns) >> Groupby("session", **settings)).fit(frame)  # type: ignore[arg-type]
    out = workflow.transform(frame)
    found = Schema(ColumnSchema(name, dtype) for name, dtype in out.schema.items())
    assert [(c.name, c.dtype, c.is_list) for c in workflow.output_schema] == [
        (c.name, c.dtype, c.is_list) for c in found
    ]
    return out


def test_each_group_is_one_row_wherever_its_rows_lie() -> None:
    out = grouped(
        *COLUMNS, sort_cols="ts", aggs={"item": ["list", "first", "last", "nunique"], "price": ["mean", "count"]}
    )
    assert out.to_dict(as_series=False) == {
        "session": [None, 1, 2],
        "item_list": [["x"], ["y", "y"], ["z", "x"]],
        "item_first": ["x", "y", "z"],
        "item_last": ["x", "y", "x"],
        "item_nunique": [1, 1, 2],
        "price_mean": [5.0, 3.0, 1.0],
        "price_count": [1, 2, 1],
    }


def test_the_other_direction_turns_lists() -> None:
    out = grouped("session", "item", "ts", sort_cols="ts", ascending=False, aggs={"item": ["list", "first"]})
    assert out["item_list"].to_list() == [["x"], ["y", "y"], ["x", "z"]]
    assert out["item_first"].to_list() == ["x", "y", "z"]  # the earliest, whichever way the lists run


def test_without_an_order_the_rows_own_counts() -> None:
    assert grouped("session", "item", aggs="list")["item_list"].to_list() == [["x"], ["y", "y"], ["x", "z"]]


def test_equal_times_go_by_the_other_columns_so_that_the_order_of_rows_changes_nothing() -> None:
    frame = CLICKS.with_columns(ts=pl.lit(0))
    straight = grouped(*COLUMNS, frame=frame, sort_cols="ts", aggs=["first", "last"])
    assert straight.equals(grouped(*COLUMNS, frame=frame.reverse(), sort_cols="ts", aggs=["first", "last"]))
    assert straight.row(2, named=True)["item_first"] == "x" and straight.row(2, named=True)["price_first"] == 1.0


def test_files_may_be_cut_anywhere(tmp_path) -> None:
    whole = grouped(*COLUMNS, sort_cols="ts", aggs={"item": "list", "price": ["sum", "max"]})
    cut = Dataset(CLICKS).to_parquet(tmp_path / "d", rows_per_group=1, rows_per_file=2)
    workflow = Workflow(COLUMNS >> Groupby("session", "ts", {"item": "list", "price": ["sum", "max"]})).fit(cut)
    assert workflow.transform(cut).compute().equals(whole)


def test_lists_of_codes_keep_their_domain_and_can_be_sliced() -> None:
    graph = (["item"] >> Categorify()) + ["session", "ts"]
    graph = graph >> Groupby("session", "ts", {"item": "list"})
    workflow = Workflow(graph["item_list"] >> ListSlice(-1)).fit(CLICKS)
    column = workflow.output_schema["item_list"]
    assert column.cardinality == 6 and column.domain is not None and column.domain.name == "item"
    assert workflow.transform(CLICKS)["item_list"].to_list() == [[3], [4], [3]]


AGGREGATES = ["count", "nunique", "sum", "mean", "std", "var", "median", "min", "max"]


def by_hand(values: list[float]) -> dict[str, float | None]:
    several = len(values) > 1
    return {
        "count": len(values),
        "nunique": len(set(values)),
        "sum": math.fsum(values),
        "mean": statistics.fmean(values) if values else None,
        "std": statistics.stdev(values) if several else None,
        "var": statistics.variance(values) if several else None,
        "median": statistics.median(values) if values else None,
        "min": min(values, default=None),
        "max": max(values, default=None),
    }


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    rows=st.lists(st.tuples(st.none() | st.integers(0, 2), st.none() | st.integers(-50, 50)), min_size=1, max_size=20)
)
@pytest.mark.parametrize("dtype", [pl.Int64, pl.Float64])
def test_aggregates_agree_with_the_statistics_of_the_standard_library(dtype, rows) -> None:
    frame = pl.DataFrame(rows, schema={"session": pl.Int64, "x": dtype}, orient="row")
    for found in grouped("session", "x", frame=frame, aggs=AGGREGATES).to_dicts():
        want = by_hand([x for key, x in rows if key == found["session"] and x is not None])
        for name, value in want.items():
            assert found[f"x_{name}"] == (value if value is None else pytest.approx(value, rel=1e-5, abs=1e-5))


def test_a_sum_of_large_whole_numbers_is_exact() -> None:
    frame = pl.DataFrame({"session": [1, 1], "x": [2**53, 1]})
    assert grouped("session", "x", frame=frame, aggs="sum")["x_sum"].to_list() == [2**53 + 1]


@pytest.mark.parametrize(
    ("aggs", "message"),
    [
        ({"item": "mean"}, r"Groupby: the column 'item' holds string, which has no mean\. Give aggs by column"),
        ({"session": "count"}, None),
    ],
)
def test_aggregates_that_do_not_fit_are_refused(aggs, message) -> None:
    graph = COLUMNS >> Groupby("session", aggs=aggs)
    if message:
        with pytest.raises(SettingError, match=message):
            Workflow(graph).fit(CLICKS)
    else:
        assert Workflow(graph).fit(CLICKS).transform(CLICKS)["session_count"].to_list() == [0, 2, 2]


def test_settings_of_groupby_that_cannot_be_are_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"Groupby: there is no aggregate 'men'\. Did you mean 'mean'"):
        Groupby("session", aggs="men")
    with pytest.raises(SettingError, match=r"Groupby: there is no column to group by"):
        Groupby([])
    with pytest.raises(SettingError, match=r"Groupby: there is nothing to aggregate"):
        Groupby("session", aggs=[])
    with pytest.raises(UnknownColumnError, match=r"Groupby: the data has no column 'sesion'"):
        Workflow(COLUMNS >> Groupby("sesion")).fit(CLICKS)
    lists = CLICKS.with_columns(pl.concat_list("item"))
    with pytest.raises(SettingError, match=r"Groupby: the column 'item' holds lists of string, which has no list"):
        Workflow(["session", "item"] >> Groupby("session")).fit(lists)
    with pytest.raises(DataError, match=r"Groupby: the column 'item' holds lists of string, by which rows cannot be"):
        Workflow(["session", "item"] >> Groupby("item")).fit(lists)


def lagged(*shifts: int, frame: pl.DataFrame = CLICKS, columns: tuple[str, ...] = ("ts",), **settings: object) -> dict:
    op = DifferenceLag("session", shifts, **settings)  # type: ignore[arg-type]
    return Workflow(list(columns) >> op).fit(frame).transform(frame).to_dict(as_series=False)


def test_a_difference_is_taken_within_the_part_and_null_at_its_border() -> None:
    assert lagged(1) == {"ts_difference_lag_1": [None, None, -10, 30, None]}
    assert lagged(1, -1, sort_cols="ts") == {
        "ts_difference_lag_1": [10, None, None, 30, None],
        "ts_difference_lag_-1": [None, -30, -10, None, None],
    }


def test_with_an_order_shuffling_the_rows_changes_nothing() -> None:
    straight, turned = lagged(1, sort_cols="ts"), lagged(1, frame=CLICKS.reverse(), sort_cols="ts")
    assert straight["ts_difference_lag_1"] == turned["ts_difference_lag_1"][::-1]


def test_moments_differ_in_seconds_and_large_numbers_exactly() -> None:
    start = dt.datetime(2024, 1, 1)
    frame = pl.DataFrame({"session": [1, 1], "at": [start, start + dt.timedelta(minutes=2)], "n": [2**62, 2**62 + 3]})
    assert lagged(1, frame=frame, columns=("at", "n")) == {
        "at_difference_lag_1": [None, 120.0],
        "n_difference_lag_1": [None, 3.0],
    }


def test_a_filter_after_a_difference_drops_rows_only_then() -> None:
    """Filtering first would take the neighbour away that the difference looks at."""
    graph = (["ts"] >> DifferenceLag("session", sort_cols="ts")) + ["ts", "session"]
    out = Workflow(graph >> Filter(pl.col("ts") > 25)).fit(CLICKS).transform(CLICKS)
    assert out["ts_difference_lag_1"].to_list() == [10, 30]


def test_what_follows_a_difference_learns_from_it() -> None:
    graph = ["ts"] >> DifferenceLag("session", sort_cols="ts") >> Normalize()
    assert Workflow(graph).fit(CLICKS).transform(CLICKS)["ts_difference_lag_1"].to_list() == [-1, None, None, 1, None]


def test_settings_of_differences_that_cannot_be_are_refused() -> None:
    with pytest.raises(SettingError, match=r"DifferenceLag: shift=0 is no number of rows"):
        DifferenceLag("session", 0)
    with pytest.raises(SettingError, match=r"DifferenceLag: no partition is given"):
        DifferenceLag([])
    with pytest.raises(SettingError, match=r"DifferenceLag: the column 'item' holds string"):
        Workflow(["item"] >> DifferenceLag("session")).fit(CLICKS)


def test_both_are_saved_and_loaded(tmp_path) -> None:
    for i, graph in enumerate(
        [COLUMNS >> Groupby("session", "ts", "count"), ["ts"] >> DifferenceLag("session", [1, 2])]
    ):
        workflow = Workflow(graph).fit(CLICKS)
        workflow.save(tmp_path / str(i))
        loaded = Workflow.load(tmp_path / str(i))
        assert loaded.transform(CLICKS).equals(workflow.transform(CLICKS))
        assert loaded.output_schema == workflow.output_schema


def test_online_refuses_what_needs_other_rows() -> None:
    for graph in (COLUMNS >> Groupby("session", aggs="count"), ["ts"] >> DifferenceLag("session")):
        with pytest.raises(SettingError, match=r"(Groupby|DifferenceLag) looks at several rows"):
            Workflow(graph).fit(CLICKS).online()


def test_an_op_with_nothing_to_work_on_says_so() -> None:
    from tamis.features.ops import Recency, TargetEncoding

    for op, name in ((Recency("ts"), "ts"), (TargetEncoding("price"), "price")):
        with pytest.raises(SettingError, match=rf"it only looks at '{name}', and no other column is selected"):
            Workflow([name] >> op).fit(CLICKS)
