from datetime import datetime

import numpy as np
import polars as pl
import pytest

from tamis.data.dataset import Dataset
from tamis.data.leakage import check_no_leakage
from tamis.data.random_split import split_by_user, split_random
from tamis.data.split import leave_last_out, split_by_time
from tamis.errors import DataError, SchemaError, SettingError, UnknownColumnError, UnknownNameError
from tamis.schema import ColumnSchema, Schema, Tags

SCHEMA = Schema(
    [
        ColumnSchema("user", tags=frozenset({Tags.USER_ID})),
        ColumnSchema("item", tags=frozenset({Tags.ITEM_ID})),
        ColumnSchema("time", tags=frozenset({Tags.TIME})),
    ]
)
PAIRS = Schema([SCHEMA["user"], SCHEMA["item"]])


def part(*rows: tuple[object, object, object]) -> Dataset:
    return Dataset(pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"), SCHEMA)


def distinct_log() -> Dataset:
    generator = np.random.default_rng(0)
    rows = pl.DataFrame({"user": generator.integers(0, 60, 2000), "item": generator.integers(0, 40, 2000)})
    return Dataset(rows.unique(maintain_order=True).with_row_index("time").cast(pl.Int64), SCHEMA)


def test_what_the_helpers_split_is_found_right() -> None:
    log = distinct_log()
    check_no_leakage(*split_by_time(log))
    check_no_leakage(*leave_last_out(log, order="time"), split="last")
    check_no_leakage(*split_by_user(log), split="user")
    check_no_leakage(*split_random(log), split="random")
    check_no_leakage(*split_random(log.select(["user", "item"])), split="random")


def test_the_wrong_kind_of_split_is_told() -> None:
    log = distinct_log()
    with pytest.raises(DataError, match="are not later than training"):
        check_no_leakage(*split_random(log))
    with pytest.raises(DataError, match="are earlier than their user's latest row in training"):
        check_no_leakage(*split_random(log), split="last")
    with pytest.raises(DataError, match=r"users of held-out part 1 are in training too, such as user = 0\. Split with"):
        check_no_leakage(*split_by_time(log), split="user")


def test_an_event_in_both_parts_is_told() -> None:
    train, test = part((1, 7, 10), (1, 7, 11), (2, 8, 20)), part((3, 9, 30), (2, 8, 20), (1, 7, 11), (1, 7, 11))
    with pytest.raises(
        DataError, match=r"2 events of held-out part 1 are in training too, such as user = 1, item = 7, "
    ):
        check_no_leakage(train, test, split="random")
    check_no_leakage(train, part((1, 7, 12)), split="random")  # the same pair at another time is another event
    with pytest.raises(
        DataError, match=r"1 pairs of held-out part 1 are in training too, such as user = 1, item = 7\."
    ):
        check_no_leakage(train.select(["user", "item"]), part((1, 7, 12)), split="random")


def test_all_parts_are_compared_with_each_other() -> None:
    with pytest.raises(DataError, match="1 events of held-out part 2 are in held-out part 1 too"):
        check_no_leakage(part((1, 1, 1)), part((1, 2, 2)), part((1, 2, 2)), split="random")


def test_a_moment_may_not_be_torn_by_time() -> None:
    train = part((1, 1, 10), (2, 2, 20))
    check_no_leakage(train, part((1, 3, 21)), part((1, 4, 22)))
    with pytest.raises(
        DataError,
        match=r"1 rows of held-out part 1 are not later than training, which goes to time = 20; the earliest is at 20",
    ):
        check_no_leakage(train, part((1, 3, 20), (1, 3, 21)))
    with pytest.raises(DataError, match=r"1 rows of held-out part 2 are not later than held-out part 1, which goes to"):
        check_no_leakage(train, part((1, 3, 30)), part((1, 3, 29), (1, 3, 31)))


def test_by_user_an_equal_time_is_in_the_order_of_the_file() -> None:
    train = part((1, 1, 10), (2, 2, 50))
    check_no_leakage(train, part((1, 3, 10), (1, 4, 11)), split="last")
    with pytest.raises(
        DataError, match=r"1 rows .*, such as user = 1 at time = 9, with a row at 10 in the other\. Split"
    ):
        check_no_leakage(train, part((1, 3, 9), (2, 4, 51)), split="last")


def test_parts_of_other_dtypes_are_compared_by_value() -> None:
    train = part((1, 1, 10))
    short = Dataset(pl.DataFrame({"user": [1], "item": [1], "time": [10]}).cast(pl.Int32), SCHEMA)
    with pytest.raises(DataError, match="1 events"):
        check_no_leakage(train, short)


def featured(**columns: object) -> tuple[Dataset, Dataset]:
    generator = np.random.default_rng(1)
    times = 1_700_000_000 + np.arange(200)
    rows = pl.DataFrame({"user": 1, "item": generator.integers(0, 9, 200), "time": times})
    rows = rows.with_columns(label=pl.Series(generator.integers(0, 2, 200)), noise=pl.Series(generator.random(200)))
    schema = SCHEMA + ColumnSchema("label", tags=frozenset({Tags.TARGET})) + ColumnSchema("noise")
    for name, value in columns.items():
        expression, tags = value  # type: ignore[misc]
        rows, schema = rows.with_columns(expression.alias(name)), schema + ColumnSchema(name, tags=frozenset(tags))
    log = Dataset(rows, schema)
    parts = split_by_time(log, "time", (0.8, 0.2))
    return parts[0], parts[1]


def test_a_feature_that_holds_the_target_is_told() -> None:
    check_no_leakage(*featured())
    check_no_leakage(*featured(other=(pl.col("label"), [Tags.TARGET])))
    with pytest.raises(
        DataError,
        match=r"'paid' alone predicts 'label' almost perfectly \(1\.0000 of 1 on half of 160 sampled training",
    ):
        check_no_leakage(*featured(paid=(pl.col("label") * 3 + 1, [])))


def test_a_time_after_the_row_is_told() -> None:
    check_no_leakage(*featured(joined=(pl.col("time") - 5, [Tags.TIME])))
    check_no_leakage(*featured(expires=(pl.col("time") + 5, [])))  # not tagged: no moment that was recorded
    check_no_leakage(*featured(hour=(pl.col("time") % 24, [Tags.TIME])))  # another unit
    late = pl.when(pl.col("label") == 1).then(pl.col("time") + 5)
    with pytest.raises(DataError, match=r"'paid_at' is later than 'time' in \d+ of 160 sampled training rows, such as"):
        check_no_leakage(*featured(paid_at=(pl.col("time") + 5, [Tags.TIME])))
    with pytest.raises(DataError, match="'paid_at' alone predicts 'label'"):
        check_no_leakage(*featured(paid_at=(late, [Tags.TIME])))


def test_dates_are_compared_too() -> None:
    rows = pl.DataFrame({"user": [1, 1], "item": [1, 2], "time": [datetime(2024, 1, 1), datetime(2024, 1, 3)]})
    schema = SCHEMA + ColumnSchema("seen_at", tags=frozenset({Tags.TIME}))
    log = Dataset(rows.with_columns(seen_at=pl.col("time").dt.offset_by("1d")), schema)
    with pytest.raises(
        DataError, match=r"'seen_at' is later than 'time' in 1 of 1 .* 2024-01-02 00:00:00 after 2024-01"
    ):
        check_no_leakage(log.filter(pl.col("item") == 1), log.filter(pl.col("item") == 2))


def test_a_part_without_rows_holds_no_answer() -> None:
    nothing = part((1, 1, 1)).filter(pl.lit(False))
    for split in ("time", "last", "user", "random"):
        check_no_leakage(part((1, 1, 1)), nothing, split=split)
        check_no_leakage(nothing, part((1, 1, 1)), split=split)


def test_what_cannot_be_checked_is_said() -> None:
    train = part((1, 1, 1))
    with pytest.raises(SettingError, match=r"check_no_leakage: there is no held-out part"):
        check_no_leakage(train)
    with pytest.raises(UnknownNameError, match=r"check_no_leakage: there is no split 'times'. Did you mean 'time'\?"):
        check_no_leakage(train, train, split="times")
    with pytest.raises(SchemaError, match=r"check_no_leakage: no column is tagged time.*`time=`"):
        check_no_leakage(Dataset(train.compute(), PAIRS), train)
    with pytest.raises(SchemaError, match=r"no column is tagged user_id.*`user=`"):
        check_no_leakage(Dataset(train.compute()), train)
    with pytest.raises(SchemaError, match=r"no column is tagged item_id.*`item=`"):
        check_no_leakage(Dataset(train.compute()), train, user="user")
    with pytest.raises(UnknownColumnError, match=r"check_no_leakage: the data has no column 'time'"):
        check_no_leakage(train, train.select(["user", "item"]))
