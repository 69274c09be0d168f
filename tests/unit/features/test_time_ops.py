"""What ops know of an entity's past, against plain loops over all rows."""

import datetime as dt
import math

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tamis.data.dataset import Dataset
from tamis.errors import DataError, SettingError, UnknownColumnError
from tamis.features.ops import Categorify, HistorySequence, LambdaOp, Recency, RollingCount, TagAsUserID
from tamis.features.workflow import Workflow

CLICKS = pl.DataFrame(
    {
        "user": ["a", "b", "a", "a", None, "a"],
        "item": [1, 2, 3, 4, 5, 6],
        "ts": [10, 10, 20, 20, 25, 40],
    }
)


def test_a_row_sees_what_was_strictly_before_it() -> None:
    """Rows 3 and 4 happen at one moment, so neither sees the other."""
    columns = ["item"] >> HistorySequence("user", "ts", length=2)
    columns = columns + (["user"] >> Recency("ts")) + (["user"] >> RollingCount("ts", [10, 25]))
    out = Workflow(columns).fit(CLICKS).transform(CLICKS)
    assert out["item_history"].to_list() == [[], [], [1], [1], [], [3, 4]]
    assert out["user_recency"].to_list() == [None, None, 10, 10, None, 20]
    assert out["user_count_10"].to_list() == [0, 0, 1, 1, 0, 0]
    assert out["user_count_25"].to_list() == [0, 0, 1, 1, 0, 2]


def test_a_later_row_sees_all_training_rows_and_an_unknown_user_none() -> None:
    columns = (["item"] >> HistorySequence("user", "ts")) + (["user"] >> Recency("ts"))
    workflow = Workflow(columns).fit(CLICKS)
    later = workflow.transform(pl.DataFrame({"user": ["a", "z"], "item": [9, 9], "ts": [100, 100]}))
    assert later["item_history"].to_list() == [[1, 3, 4, 6], []]
    assert later["user_recency"].to_list() == [60, None]


def test_new_rows_join_the_past_by_update() -> None:
    columns = (["item"] >> HistorySequence("user", "ts", length=2)) + (["user"] >> RollingCount("ts", 1000))
    workflow = Workflow(columns + (["user"] >> Recency("ts"))).fit(CLICKS)
    workflow.update(pl.DataFrame({"user": ["z", "a"], "item": [7, 8], "ts": [50, 30]}))
    out = workflow.transform(pl.DataFrame({"user": ["a", "z"], "item": [0, 0], "ts": [60, 60]}))
    assert out["item_history"].to_list() == [[8, 6], [7]]
    assert out["user_count_1000"].to_list() == [5, 1]
    assert out["user_recency"].to_list() == [20, 10]


def test_moments_of_a_time_zone_are_told_in_seconds() -> None:
    start = dt.datetime(2024, 3, 31, 0, 30, tzinfo=dt.UTC)
    frame = pl.DataFrame({"user": [1, 1], "ts": [start, start + dt.timedelta(hours=2)]})
    frame = frame.with_columns(pl.col("ts").dt.convert_time_zone("Europe/Berlin"))  # the clock goes forward between
    out = Workflow((["user"] >> Recency("ts")) + (["user"] >> RollingCount("ts", ["1h", "2h"]))).fit(frame)
    assert out.transform(frame).row(1) == (7200.0, 0, 1)


def test_days_are_told_in_seconds_too() -> None:
    frame = pl.DataFrame({"user": [1, 1], "day": [dt.date(2024, 1, 1), dt.date(2024, 1, 3)]})
    out = Workflow((["user"] >> Recency("day")) + (["user"] >> RollingCount("day", ["1d", "2d"]))).fit(frame)
    assert out.transform(frame).row(1) == (172_800.0, 0, 1)


def test_a_history_of_codes_shares_the_domain_and_is_the_users() -> None:
    graph = ["item"] >> Categorify()
    graph = graph + (["user"] >> Categorify() >> TagAsUserID()) + ["ts"]
    workflow = Workflow(graph >> HistorySequence("user", "ts")).fit(CLICKS)
    history = workflow.output_schema["item_history"]
    assert history.domain is not None and history.domain.name == "item"
    assert history.cardinality == 9 and {"user", "list", "sequence", "categorical"} == set(history.tags)
    assert history.properties["value_count"] == {"min": 0, "max": 20}
    assert workflow.transform(CLICKS)["item_history"].to_list()[-1] == [3, 5, 6]


times = {
    "whole": st.integers(-5, 5) | st.sampled_from([2**62, -(2**62)]),
    "datetime": st.datetimes(dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 2)),
}


@pytest.mark.parametrize("kind", times)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), length=st.integers(1, 4))
def test_the_past_agrees_with_a_loop_over_all_rows(kind, data, length) -> None:
    row = st.tuples(st.none() | st.sampled_from("äb"), st.none() | times[kind], st.none() | st.integers(-3, 3))
    rows = data.draw(st.lists(row, min_size=1, max_size=25))
    dtype = pl.Int64 if kind == "whole" else pl.Datetime("us")
    frame = pl.DataFrame(rows, schema={"user": pl.String, "ts": dtype, "item": pl.Int64}, orient="row")
    window = 3 if kind == "whole" else "6h"
    span = 3 if kind == "whole" else dt.timedelta(hours=6)
    columns = (["item"] >> HistorySequence("user", "ts", length)) + (["user"] >> RollingCount("ts", window))
    workflow = Workflow(columns + (["user"] >> Recency("ts"))).fit(frame)
    for found, (user, now, _) in zip(workflow.transform(frame).to_dicts(), rows, strict=True):
        past = [r for r in rows if None not in (user, now, r[1]) and r[0] == user and r[1] < now]
        seen = sorted((when, what) for _, when, what in past if what is not None)
        assert found["item_history"] == [what for _, what in seen][-length:]
        assert found[f"user_count_{window}"] == sum(when >= now - span for _, when, _ in past)
        last = max((when for _, when, _ in past), default=None)
        passed = None if last is None else now - last
        expected = passed.total_seconds() if isinstance(passed, dt.timedelta) else passed
        assert (found["user_recency"] is None) == (expected is None)
        assert expected is None or math.isclose(found["user_recency"], expected, rel_tol=1e-6)


def test_a_row_filter_keeps_rows_out_of_the_past() -> None:
    from tamis.features.ops import Filter

    graph = ["user", "item", "ts"] >> Filter(pl.col("item") != 3) >> HistorySequence("user", "ts")
    assert Workflow(graph).fit(CLICKS).transform(CLICKS)["item_history"].to_list()[-1] == [1, 4]


def test_a_computed_time_can_be_read() -> None:
    minutes = ["ts"] >> LambdaOp(lambda col: col // 15)
    graph = ["item", "user", minutes] >> HistorySequence("user", "ts")
    assert Workflow(graph).fit(CLICKS).transform(CLICKS)["item_history"].to_list() == [[], [], [1], [1], [], [1, 3, 4]]


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (Recency("user"), "Recency: the time column 'user' holds string. Give a date, a datetime or whole numbers"),
        (RollingCount("user"), "RollingCount: the time column 'user' holds string"),
        (
            RollingCount("ts", "7d"),
            "the window '7d' does not fit the time column 'ts', which holds int64. Give a number",
        ),
    ],
)
def test_a_time_that_tells_no_moments_is_refused(op, message) -> None:
    with pytest.raises(SettingError, match=message):
        Workflow(["item"] >> op).fit(CLICKS)


def test_a_number_is_no_window_of_moments() -> None:
    frame = CLICKS.with_columns(pl.from_epoch("ts"))
    with pytest.raises(SettingError, match=r"the window 7 does not fit .* datetime.*\. Give one such as \"7d\""):
        Workflow(["user"] >> RollingCount("ts", 7)).fit(frame)


@pytest.mark.parametrize("window", ["7", "0d", "-1d", "7 days", 0, -3, 1.5, True])
def test_a_window_that_is_no_length_is_refused(window) -> None:
    with pytest.raises(SettingError, match=r"RollingCount: the window .* is no length of time"):
        RollingCount("ts", [window])


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(SettingError, match=r"RollingCount: windows is empty"):
        RollingCount("ts", [])
    with pytest.raises(SettingError, match=r"HistorySequence: length is 0\. Choose 1 or more"):
        HistorySequence("user", "ts", 0)
    with pytest.raises(SettingError, match=r"HistorySequence: entity is empty\. Name a column"):
        HistorySequence([], "ts")
    with pytest.raises(UnknownColumnError, match=r"Recency: the data has no column 'tss'\. Did you mean 'ts'\?"):
        Workflow(["user"] >> Recency("tss")).fit(CLICKS)


def test_lists_are_refused() -> None:
    lists = CLICKS.with_columns(pl.concat_list("item"))
    with pytest.raises(SettingError, match=r"HistorySequence: the column 'item' holds lists already"):
        Workflow(["item"] >> HistorySequence("user", "ts")).fit(lists)
    with pytest.raises(DataError, match=r"Recency: the column 'item' holds lists of int64, by which rows cannot be"):
        Workflow(["item"] >> Recency("ts")).fit(lists)


def test_a_history_reaches_a_loader_as_a_list(tmp_path) -> None:
    from tamis.data.loader import Loader

    workflow = Workflow(["item"] >> Categorify() >> HistorySequence("user", "ts")).fit(CLICKS)
    written = workflow.transform(Dataset(CLICKS)).to_parquet(tmp_path / "out")
    batch = next(iter(Loader(written, 6, shuffle=False)))
    assert batch.features["item_history__offsets"].tolist() == [0, 0, 0, 1, 2, 2, 5]


def test_an_update_in_a_finer_unit_is_refused_and_one_in_a_coarser_fits() -> None:
    """Cut to the coarser unit, an event would seem earlier than it was, and rows before it would see it."""
    moment = dt.datetime(2024, 1, 1)
    frame = pl.DataFrame({"u": [1], "t": [moment + dt.timedelta(microseconds=1500)]})
    workflow = Workflow(["u"] >> RollingCount("t", "1h")).fit(frame)
    coarse = pl.DataFrame({"u": [1], "t": [moment]}, schema={"u": pl.Int64, "t": pl.Datetime("ms")})
    workflow.update(coarse)
    row = pl.DataFrame({"u": [1], "t": [moment + dt.timedelta(microseconds=1200)]})
    assert workflow.transform(row)["u_count_1h"].to_list() == [1]  # the new one alone
    assert workflow.online().transform(row.row(0, named=True)) == {"u_count_1h": 1}
    late = Workflow(["u"] >> RollingCount("t", "1h")).fit(coarse)
    with pytest.raises(DataError, match=r"Workflow.update: .* does not fit into the datetime.* that the"):
        late.update(frame)


def test_no_moment_is_not_the_end_of_time() -> None:
    workflow = Workflow((["user"] >> Recency("ts")) + (["user"] >> RollingCount("ts", 100))).fit(CLICKS)
    out = workflow.transform(pl.DataFrame({"user": ["a"], "item": [1], "ts": [float("nan")]}))
    assert out.row(0) == (None, 0)
