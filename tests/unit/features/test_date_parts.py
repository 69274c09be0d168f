import datetime as dt
import math
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import SettingError
from tamis.features.ops import AddTags, DateParts
from tamis.features.workflow import Workflow
from tamis.schema import Tags


def fitted(op, values, dtype=None):
    frame = pl.DataFrame({"t": pl.Series(values, dtype=dtype)})
    workflow = Workflow(["t"] >> op).fit(frame)
    return workflow, workflow.transform(frame)


def rows(op, values, dtype=None):
    return fitted(op, values, dtype)[1].rows()


MOMENT = dt.datetime(2024, 2, 29, 23, 59, 30)  # a Thursday


def test_codes_begin_at_1_and_0_is_null() -> None:
    workflow, frame = fitted(DateParts(), [MOMENT, None])
    assert frame.columns == ["t_year", "t_month", "t_day", "t_hour", "t_minute", "t_weekday"]
    assert frame.rows() == [(2, 2, 29, 24, 60, 4), (0, 0, 0, 0, 0, 0)]
    assert set(frame.dtypes) == {pl.Int32}
    assert [column.cardinality for column in workflow.output_schema] == [3, 13, 32, 25, 61, 8]
    assert all(column.has_tag(Tags.CATEGORICAL) for column in workflow.output_schema)


def test_years_outside_of_those_of_training_share_a_code() -> None:
    workflow, frame = fitted(DateParts(["year"]), [dt.date(2020, 1, 1), dt.date(2023, 1, 1)])
    assert frame["t_year"].to_list() == [2, 5]
    assert workflow.output_schema["t_year"].cardinality == 6
    later = pl.DataFrame({"t": [dt.date(2019, 1, 1), dt.date(2024, 1, 1), dt.date(2021, 1, 1), None]})
    assert workflow.transform(later)["t_year"].to_list() == [1, 1, 3, 0]


def test_a_column_of_nulls_has_no_year() -> None:
    workflow, frame = fitted(DateParts(["year", "month"]), [None], pl.Date)
    assert frame.rows() == [(0, 0)]
    assert workflow.output_schema["t_year"].cardinality == 2
    assert workflow.transform(pl.DataFrame({"t": [dt.date(2024, 5, 1)]})).rows() == [(1, 5)]


def test_cycles_bring_the_last_hour_beside_the_first() -> None:
    workflow, frame = fitted(DateParts("hour", cyclic=True), [dt.datetime(2024, 1, 1, h) for h in (0, 6, 12)] + [None])
    assert frame["t_hour_sin"].to_list() == [0.0, 1.0, pytest.approx(0, abs=1e-7), None]
    assert frame["t_hour_cos"].to_list() == [1.0, pytest.approx(0, abs=1e-7), -1.0, None]
    assert set(frame.dtypes) == {pl.Float32}
    assert workflow.output_schema["t_hour_sin"].has_tag(Tags.CONTINUOUS)
    both = fitted(DateParts(["year", "weekday"], cyclic=True), [MOMENT])[1]  # a Thursday is day 3 of 7 from Monday 0
    assert both.columns == ["t_year", "t_weekday_sin", "t_weekday_cos"]
    assert both.row(0) == (2, pytest.approx(math.sin(6 * math.pi / 7)), pytest.approx(math.cos(6 * math.pi / 7)))


def test_dates_have_no_hours() -> None:
    assert fitted(DateParts(), [dt.date(2024, 2, 29)])[1].columns == ["t_year", "t_month", "t_day", "t_weekday"]
    with pytest.raises(SettingError, match=r"DateParts: the column 't' holds dates, which have no hour"):
        fitted(DateParts(["hour"]), [dt.date(2024, 2, 29)])


def test_a_zone_has_its_local_time() -> None:
    moments = pl.Series(
        [dt.datetime(2024, 3, 31, 0, 30), dt.datetime(2024, 3, 31, 1, 30)]
    )  # clocks go forward at 1 UTC
    zoned = moments.dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Berlin")
    assert rows(DateParts(["hour"]), zoned) == [(2,), (4,)]  # 1 h and 3 h
    assert rows(DateParts(["hour"]), moments) == [(1,), (2,)]


def test_whole_numbers_need_a_unit() -> None:
    with pytest.raises(SettingError, match=r"the column 't' holds int64, .* Give unit=\"s\" for seconds since 1970"):
        fitted(DateParts(), [1])
    for unit, factor in (("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)):
        seconds = int(MOMENT.replace(tzinfo=dt.UTC).timestamp())
        assert rows(DateParts(unit=unit), [seconds * factor]) == [(2, 2, 29, 24, 60, 4)]


def test_numbers_beyond_all_dates_are_null_and_those_before_1970_are_not() -> None:
    assert rows(DateParts(["day", "hour"], unit="s"), [-1, -(2**63), 2**63 - 1]) == [(31, 24), (0, 0), (0, 0)]
    assert rows(DateParts(["day"], unit="s"), [2**64 - 1], pl.UInt64) == [(0,)]


def test_lists_of_moments_become_lists_of_codes() -> None:
    assert rows(DateParts(["hour"]), [[MOMENT, None], [], None]) == [([24, 0],), ([],), (None,)]


def test_a_part_of_a_time_is_no_time() -> None:
    frame = pl.DataFrame({"t": [MOMENT]})
    schema = Workflow(["t"] >> AddTags([Tags.TIME, Tags.CONTEXT]) >> DateParts(["hour"])).fit(frame).output_schema
    assert schema["t_hour"].tags == {Tags.CATEGORICAL, Tags.CONTEXT}


@pytest.mark.parametrize("parts", [["century"], [], ["day", "day"]])
def test_parts_that_are_none_are_refused(parts) -> None:
    with pytest.raises(SettingError, match=r"DateParts: parts=.* should be some of year, month, day, hour, minute"):
        DateParts(parts)


def test_units_and_columns_that_are_none_are_refused() -> None:
    with pytest.raises(SettingError, match=r"DateParts: unit='h' is unknown. Choose one of s, ms, us, ns"):
        DateParts(unit="h")
    with pytest.raises(
        SettingError, match=r"DateParts: the column 't' holds string, not moments. Cast it to a datetime"
    ):
        fitted(DateParts(), ["2024-01-01"])


ZONES = ["UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe"]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    moments=st.lists(
        st.none() | st.datetimes(dt.datetime(1980, 1, 1), dt.datetime(2080, 1, 1)), min_size=1, max_size=5
    ),
    zone=st.sampled_from(ZONES),
)
def test_parts_are_those_of_pythons_datetime(moments, zone) -> None:
    column = pl.Series(moments, dtype=pl.Datetime("us")).dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    local = [m and m.replace(tzinfo=dt.UTC).astimezone(ZoneInfo(zone)) for m in moments]
    years = [m.year for m in local if m]
    expected = [
        (m.year - min(years) + 2, m.month, m.day, m.hour + 1, m.minute + 1, m.isoweekday()) if m else (0,) * 6
        for m in local
    ]
    assert rows(DateParts(), column) == expected
    if zone == "UTC":
        assert rows(DateParts(unit="us"), column.to_physical()) == expected
