"""Requests: what goes in, what comes out, what is refused, and the folder that several processes map."""

import datetime as dt
import math
import subprocess
import sys
import threading
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

from tamis.errors import DataError, FormatError, NotFittedError, SettingError, UnknownColumnError
from tamis.features.ops import (
    AddTags,
    Categorify,
    FillMissing,
    Filter,
    GroupOp,
    LambdaOp,
    LogOp,
    Normalize,
    Rename,
    TableOp,
)
from tamis.features.workflow import Workflow
from tamis.schema import ColumnSchema

SHOP = pl.DataFrame(
    {
        "user": [7, 7, 9],
        "word": ["é", "b", "é"],
        "price": [1.0, 3.0, 5.0],
        "tags": [["x"], ["x", "y"], []],
        "click": [1, 1, 0],
    }
)


def online(node, frame=SHOP, **settings):
    return Workflow(node).fit(frame).online(**settings)


def passed(value, dtype):
    """The value as an op would get it."""
    frame = pl.DataFrame({"a": pl.Series([], dtype=dtype)}).clear(1)
    return online(["a"] >> AddTags("kept"), frame).transform({"a": value})["a"]


def test_a_row_gives_plain_python_values() -> None:
    node = (["user", "word", "tags"] >> Categorify()) + (["price"] >> LogOp())
    row = {"user": 9, "word": "b", "price": 2.0, "tags": ["y", None, "z"]}
    made = online(node).transform(row)
    # Most frequent first from 3 on; 1 is null, 2 unknown.
    assert made == {"user": 4, "word": 4, "tags": [4, 1, 2], "price": float(np.float32(math.log(3)))}
    assert {type(value) for value in made.values()} == {int, list, float}


def test_a_list_of_rows_gives_a_list() -> None:
    transformer = online(["user"] >> Categorify())
    assert transformer.transform([{"user": 7}, {"user": 8}]) == [{"user": 3}, {"user": 2}]
    assert transformer.transform([]) == []


def test_columns_that_nothing_reads_are_ignored() -> None:
    assert online(["user"] >> Categorify()).transform({"user": 7, "more": object()}) == {"user": 3}


def test_what_is_made_in_several_steps_goes_through_all_of_them() -> None:
    node = ["price"] >> FillMissing(3, add_binary_cols=True) >> Rename(postfix="_x")
    assert online(node).transform({"price": None}) == {"price_x": 3.0, "price_filled_x": True}


def test_of_equal_names_the_later_one_wins_as_in_transform() -> None:
    node = (["user", "word"] >> Categorify()) + (["user"] >> Normalize()) - ["word"]
    workflow = Workflow(node).fit(SHOP)
    assert workflow.online().transform({"user": 7}) == workflow.transform(SHOP).row(0, named=True)


def test_row_filters_leave_nothing_out_and_what_only_they_read_is_not_asked_for() -> None:
    node = (["user", "click"] >> Filter(lambda df: df["click"] == 1))["user"] >> Categorify()
    workflow = Workflow(node).fit(SHOP)
    assert workflow.transform(SHOP).height == 2
    transformer = workflow.online()
    assert transformer.transform([{"user": 7}, {"user": 9}]) == [{"user": 3}, {"user": 2}]
    assert transformer.input_schema.column_names == ["user"]
    assert transformer.output_schema == workflow.output_schema


def test_a_target_is_taken_out_with_remove_inputs() -> None:
    node = (["user"] >> Categorify()) + ["click"] >> Filter(lambda df: df["click"] == 1)
    workflow = Workflow(node).fit(SHOP)
    with pytest.raises(UnknownColumnError, match=r"Workflow\.online: the data has no column 'click'\. It has 'user'\."):
        workflow.online().transform({"user": 7})
    assert workflow.remove_inputs(["click"]).online().transform({"user": 7}) == {"user": 3}


def test_columns_without_a_function_of_their_own_go_through_polars() -> None:
    node = (["price"] >> LambdaOp(lambda price: price * 2)) + (["user"] >> Categorify())
    transformer = online(node)
    assert transformer.transform({"price": 1.5, "user": 7}) == {"price": 3.0, "user": 3}
    assert transformer.slow_columns == ["price"]
    assert repr(transformer) == "OnlineWorkflow(2 columns in, 2 out, through Polars: price)"
    assert repr(online(["user"] >> Categorify())) == "OnlineWorkflow(1 columns in, 1 out)"


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (np.int64(3), pl.Int8, 3),
        (3.0, pl.Int64, 3),
        (True, pl.Int64, 1),
        (math.nan, pl.Int64, None),
        (None, pl.Int64, None),
        (2**64 - 1, pl.UInt64, 2**64 - 1),
        (1, pl.Float64, 1.0),
        (0.1, pl.Float32, 0.10000000149011612),  # the nearest 32-bit number
        (1e300, pl.Float32, math.inf),
        (10**400, pl.Float64, math.inf),
        (np.float32(0.5), pl.Float64, 0.5),
        (np.str_("é"), pl.String, "é"),
        (math.nan, pl.String, None),
        (np.True_, pl.Boolean, True),
        (0, pl.Boolean, False),
        (dt.date(2024, 2, 29), pl.Date, dt.date(2024, 2, 29)),
        (np.datetime64("2024-02-29"), pl.Date, dt.date(2024, 2, 29)),
        (dt.date(2024, 2, 29), pl.Datetime("us"), dt.datetime(2024, 2, 29)),
        (np.datetime64("2024-02-29T01:02:03.5"), pl.Datetime("us"), dt.datetime(2024, 2, 29, 1, 2, 3, 500_000)),
        (np.datetime64("2024-02-29T01:02:03.000004000"), pl.Datetime("ns"), dt.datetime(2024, 2, 29, 1, 2, 3, 4)),
        (np.datetime64("NaT"), pl.Datetime("us"), None),
        (dt.datetime(2024, 1, 1, 0, 0, 0, 1999), pl.Datetime("ms"), dt.datetime(2024, 1, 1, 0, 0, 0, 1000)),
        (np.timedelta64(90, "s"), pl.Duration("us"), dt.timedelta(seconds=90)),
        (dt.time(1, 2), pl.Time, dt.time(1, 2)),
        ((1, None), pl.List(pl.Int64), [1, None]),
        (np.array([1.5, 2.5]), pl.List(pl.Float64), [1.5, 2.5]),
        (pl.Series([1, 2]), pl.List(pl.Int64), [1, 2]),
        (None, pl.List(pl.Int64), None),
        ([1, 2], pl.Array(pl.Float32, 2), [1.0, 2.0]),
    ],
)
def test_values_come_as_their_column_holds_them(value, dtype, expected) -> None:
    found = passed(value, dtype)
    assert found == expected
    assert type(found) is type(expected)


def test_a_moment_with_a_zone_comes_in_the_column_s_zone() -> None:
    found = passed(dt.datetime(2024, 7, 1, 12, tzinfo=dt.UTC), pl.Datetime("us", "Europe/Berlin"))
    assert found == dt.datetime(2024, 7, 1, 14, tzinfo=ZoneInfo("Europe/Berlin"))
    assert found.hour == 14


@pytest.mark.parametrize(
    ("value", "dtype", "got", "wanted"),
    [
        ("7", pl.Int64, "'7', a str, but holds int64", "a whole number from -9223372036854775808 to"),
        (2.5, pl.Int64, "2.5, a float, but holds int64", "a whole number"),
        (300, pl.Int8, "300, a int, but holds int8", "a whole number from -128 to 127, or None."),
        (-1, pl.UInt64, "-1, a int", "a whole number from 0 to 18446744073709551615"),
        (math.inf, pl.Int64, "inf, a float", "a whole number"),
        ("1.5", pl.Float64, "'1.5', a str, but holds float64", "a number, or None."),
        (5, pl.String, "5, a int, but holds string", "a `str`, or None."),
        (b"a", pl.String, "b'a', a bytes", "a `str`"),
        (2, pl.Boolean, "2, a int, but holds boolean", "True or False, or None."),
        (
            dt.datetime(2024, 1, 1),
            pl.Date,
            "datetime.datetime(2024, 1, 1, 0, 0), a datetime, but holds date",
            "a `date`",
        ),
        ("2024-01-01", pl.Datetime("us"), "'2024-01-01', a str", "a `datetime` without a time zone, or None."),
        (dt.datetime(2024, 1, 1, tzinfo=dt.UTC), pl.Datetime("us"), "a datetime", "a `datetime` without a time zone"),
        (dt.datetime(2024, 1, 1), pl.Datetime("us", "UTC"), "a datetime", "a `datetime` with a time zone, or None."),
        (np.datetime64("2024-01-01T00:00:00.000000001"), pl.Datetime("ns"), "a datetime64", "a `datetime`"),
        (3, pl.List(pl.Int64), "3, a int, but holds lists of int64", "a list, or None."),
        ([1, "x"], pl.List(pl.Int64), "'x', a str", "a whole number"),
        ([1.0], pl.Array(pl.Float32, 2), "[1.0], a list, but holds lists of float32", "a list of 2, or None."),
    ],
)
def test_a_value_of_another_kind_is_refused_with_column_value_and_type(value, dtype, got, wanted) -> None:
    with pytest.raises(DataError) as error:
        passed(value, dtype)
    assert str(error.value).startswith("Workflow.online: the column 'a' got ")
    assert got in str(error.value)
    assert wanted in str(error.value)


def test_text_that_is_no_unicode_is_refused_with_its_column() -> None:
    transformer = online(["word", "tags"] >> Categorify())
    with pytest.raises(
        DataError, match=r"the column 'word' got '\\ud800', which is no valid Unicode\. Repair it first"
    ):
        transformer.transform({"word": "\ud800", "tags": []})
    with pytest.raises(DataError, match="the column 'tags' got"):
        transformer.transform({"word": "b", "tags": ["x", "\udfff"]})


def test_a_misspelt_column_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        UnknownColumnError, match=r"Workflow\.online: the data has no column 'user'. Did you mean 'usr'"
    ):
        online(["user"] >> Categorify()).transform({"usr": 7})


@pytest.mark.parametrize("row", [3, "user", [3], [["user"]], None])
def test_what_is_no_row_is_refused(row) -> None:
    with pytest.raises(SettingError, match=r"Workflow\.online: a \w+ is no row\. Give a dict, or a list of dicts\."):
        online(["user"] >> Categorify()).transform(row)


def test_online_comes_after_fit() -> None:
    with pytest.raises(NotFittedError, match=r"Workflow\.online"):
        Workflow(["user"] >> Categorify()).online()


def test_an_op_that_makes_other_rows_is_refused_where_its_columns_are_wanted() -> None:
    class Twice(TableOp):
        def change(self, frame, columns):
            return pl.concat([frame, frame])

        def describe_all(self, columns):
            return columns

    with pytest.raises(SettingError, match=r"Workflow\.online: Twice looks at several rows to make 'user', and online"):
        online(["user"] >> Twice())


def test_an_op_over_windows_is_refused_where_its_columns_are_wanted() -> None:
    class Before(GroupOp):
        is_windowed = True

        def apply(self, columns, learned):
            return columns[0].values.shift(1)

        def describe(self, columns, learned):
            return ColumnSchema("before", columns[0].dtype)

    node = (["user"] >> Before()) + (["word"] >> Categorify())
    with pytest.raises(SettingError, match="Before looks at several rows to make 'before'"):
        online(node)
    assert online(node["word"]).transform({"word": "b"}) == {"word": 4}


def test_a_loaded_workflow_says_the_same(tmp_path) -> None:
    workflow = Workflow(["user", "word"] >> Categorify()).fit(SHOP)
    workflow.save(tmp_path / "w")
    row = {"user": 9, "word": "b"}
    assert Workflow.load(tmp_path / "w").online().transform(row) == workflow.online().transform(row)


def test_many_threads_may_use_it_at_once() -> None:
    transformer = online(["user", "word"] >> Categorify(num_buckets=5))
    rows = [{"user": i, "word": f"w{i}"} for i in range(200)]
    expected, found = transformer.transform(rows), {}
    threads = [threading.Thread(target=lambda i=i: found.update({i: transformer.transform(rows)})) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(found.values()) == [expected] * 8


NODE = ["user", "word"] >> Categorify()
ROW = {"user": 9, "word": "b"}


class TestFolder:
    def test_the_second_process_takes_what_the_first_wrote(self, tmp_path) -> None:
        online(NODE, folder=tmp_path / "t")
        written = (tmp_path / "t" / "manifest.json").stat().st_mtime_ns
        transformer = online(NODE, folder=tmp_path / "t")
        assert (tmp_path / "t" / "manifest.json").stat().st_mtime_ns == written
        assert transformer.transform(ROW) == {"user": 4, "word": 4}

    def test_tables_of_another_workflow_are_replaced_and_running_ones_go_on(self, tmp_path) -> None:
        old = online(NODE, folder=tmp_path / "t")
        new = online(NODE, SHOP.with_columns(word=pl.Series(["b", "b", "é"])), folder=tmp_path / "t")
        assert (old.transform(ROW)["word"], new.transform(ROW)["word"]) == (4, 3)

    def test_a_damaged_table_is_written_anew(self, tmp_path) -> None:
        online(NODE, folder=tmp_path / "t")
        text = next((tmp_path / "t").glob("*.text"))
        before = text.read_bytes()
        text.unlink()
        text.write_bytes(b"nonsense")
        assert online(NODE, folder=tmp_path / "t").transform(ROW) == {"user": 4, "word": 4}
        assert text.read_bytes() == before

    def test_a_folder_of_something_else_is_left_alone(self, tmp_path) -> None:
        workflow = Workflow(NODE).fit(SHOP)
        workflow.save(tmp_path / "w")
        with pytest.raises(FormatError, match="it holds 'workflow', not 'online tables'"):
            workflow.online(tmp_path / "w")
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "notes.txt").write_text("mine")
        with pytest.raises(FormatError, match=r"the folder holds 'notes.txt', which is no data of ours"):
            workflow.online(tmp_path / "mine")
        assert Workflow.load(tmp_path / "w").transform(SHOP).height == 3

    def test_a_workflow_without_tables_has_an_empty_folder(self, tmp_path) -> None:
        transformer = online(["price"] >> LogOp(), folder=tmp_path / "t")
        assert transformer.transform({"price": 0.0}) == {"price": 0.0}
        assert [file.name for file in (tmp_path / "t").iterdir()] == ["manifest.json"]

    def test_processes_that_start_together_write_it_once(self, tmp_path) -> None:
        Workflow(NODE).fit(SHOP).save(tmp_path / "w")
        code = (
            "import sys; from tamis.features.workflow import Workflow; "
            "made = Workflow.load(sys.argv[1]).online(sys.argv[2]); print(made.transform({'user': 9, 'word': 'b'}))"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "w"), str(tmp_path / "t")]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        answers = [process.communicate(timeout=60)[0].strip() for process in processes]
        assert answers == ["{'user': 4, 'word': 4}"] * 3
        assert not list(tmp_path.glob(".t.*"))
