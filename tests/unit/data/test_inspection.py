"""A first look: numbers by hand, tags by name and content, and each warning with its advice."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tamis.data.dataset import Dataset
from tamis.data.inspection import Inspection, inspect
from tamis.data.moments import as_datetime, unit_of
from tamis.data.proposals import words_of
from tamis.data.schema_file import write_schema_beside
from tamis.errors import DataError, FormatError, SettingError
from tamis.schema import ColumnSchema, Schema, Tags

NOW = datetime(2024, 6, 1, tzinfo=UTC)
N = 400


def look(columns: dict[str, object], **settings: object) -> Inspection:
    return inspect(Dataset(pl.DataFrame(columns)), now=NOW, verbose=False, **settings)  # type: ignore[arg-type]


def kinds(inspection: Inspection, column: str | None) -> list[str]:
    return [finding.kind for finding in inspection.findings if finding.column == column]


# --- numbers ---


def test_numbers_are_described() -> None:
    report = look({"x": [1, 2, 3, 4, None, 10, 10, 2]})["x"]
    assert (report.num_rows, report.num_nulls, report.num_values, report.null_share) == (8, 1, 7, 0.125)
    assert (report.num_distinct, report.is_estimate, report.top_missed) == (5, False, 0)
    assert report.top == ((2, 2), (10, 2), (1, 1), (3, 1), (4, 1))
    assert (report.minimum, report.maximum) == (1, 10) and report.mean == pytest.approx(32 / 7)
    assert report.quantiles == {"1%": 1, "25%": 2, "50%": 3, "75%": 4, "99%": 10}
    assert report.histogram == (3, 1, 1, 0, 0, 0, 0, 2)  # bars of 9/8: 1 2 2, 3, 4, ..., 10 10
    assert report.lengths is None


def test_nan_is_counted_apart_and_left_out_of_the_rest() -> None:
    report = look({"x": [1.0, float("nan"), 3.0, None]})["x"]
    assert (report.num_nans, report.num_nulls, report.num_values, report.num_distinct) == (1, 1, 2, 2)
    assert (report.mean, report.maximum) == (2.0, 3.0)


def test_lists_are_described_by_their_values_and_lengths() -> None:
    report = look({"items": [[1, 2], [], None, [2, 2, 5]]})["items"]
    assert report.is_list and report.dtype == "int64" and report.num_nulls == 1
    assert report.lengths is not None
    assert (report.lengths.shortest, report.lengths.longest) == (0, 3) and report.lengths.mean == pytest.approx(5 / 3)
    assert (report.num_values, report.num_distinct, report.top[0]) == (5, 3, (2, 3))
    texts = look({"genres": [["a", "bb"], ["a"]]})["genres"]
    assert texts.lengths is not None and (texts.lengths.shortest, texts.lengths.longest) == (1, 2)


def test_texts_have_lengths_and_dates_a_range() -> None:
    found = look({"t": ["a", "bbb"], "d": [date(2024, 1, 1), date(2024, 1, 31)], "b": [True, None]})
    assert found["t"].lengths is not None and (found["t"].lengths.mean, found["t"].lengths.longest) == (2, 3)
    assert (found["d"].minimum, found["d"].maximum, found["d"].mean) == (date(2024, 1, 1), date(2024, 1, 31), None)
    assert found["b"].top == ((True, 1),)


def test_many_batches_say_the_same_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pl.DataFrame({"x": [i % 7 for i in range(1000)], "l": [[i] * (i % 3) for i in range(1000)]})
    whole = inspect(Dataset(frame), verbose=False)
    monkeypatch.setattr("tamis.data.inspection._ROWS_AT_ONCE", 64)
    monkeypatch.setattr("tamis.data.column_scan._LEAVES_AT_ONCE", 10)
    parts = inspect(Dataset(frame).to_parquet(tmp_path / "data", rows_per_group=100, rows_per_file=300), verbose=False)
    assert parts.columns == whole.columns and parts.num_rows == 1000


def test_only_the_first_rows_may_be_looked_at() -> None:
    assert look({"x": range(100)}, num_rows=7)["x"].maximum == 6
    with pytest.raises(SettingError, match=r"inspect: num_rows is 0, but must be at least 1. Give a larger one."):
        look({"x": [1]}, num_rows=0)


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match=r"inspect: the dataset has no rows. Check the path and the filters before it."):
        look({"x": []})


def test_the_whole_report_is_json() -> None:
    found = look({"day": [date(2024, 1, 1)], "x": [float("inf")], "s": [{"a": 1}], "b": [b"x"], "n": [None]})
    content = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert content["columns"][0]["minimum"] == "2024-01-01" and content["columns"][1]["maximum"] == "inf"
    assert Schema.from_dict(content["schema"]) == found.schema
    assert content["findings"][0].keys() == {"kind", "column", "message", "advice"}


def test_infinite_numbers_and_columns_of_no_use_break_nothing() -> None:
    random = np.random.default_rng(0)
    odd = [float("inf"), float("-inf"), 0.5, 1.5] * 50
    found = look(
        {"x": odd, "late": [None] * 150 + [1.0] * 50, "gap": [timedelta(1)] * 200, "click": random.random(200) < 0.5}
    )
    assert (found["x"].minimum, found["x"].maximum, found["x"].histogram) == (float("-inf"), float("inf"), ())
    assert found["gap"].tags == () and found["gap"].reason == "no op or model takes duration(time_unit='us') as it is"


# --- tags ---


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("user_id", ["user", "id"]),
        ("userId", ["user", "id"]),
        ("visitorid", ["visitor", "id"]),
        ("UID", ["u", "id"]),
        ("item_ids", ["item", "id"]),
        ("isClick2", ["is", "click", "2"]),
        ("news", ["news"]),
        ("address", ["address"]),
    ],
)
def test_names_are_cut_into_words(name: str, words: list[str]) -> None:
    assert words_of(name) == words


BINARY = [0, 1] * 20
MANY = list(range(40))
SECONDS = [1_700_000_000 + i for i in MANY]


@pytest.mark.parametrize(
    ("name", "values", "tags"),
    [
        ("user_id", MANY, {Tags.USER_ID, Tags.CATEGORICAL}),
        ("customerId", [f"c{i}" for i in MANY], {Tags.USER_ID, Tags.CATEGORICAL}),
        ("uid", MANY, {Tags.USER_ID, Tags.CATEGORICAL}),
        ("movie_id", [float(i) for i in MANY], {Tags.ITEM_ID, Tags.CATEGORICAL}),
        ("stock_code", [f"s{i}" for i in MANY], {Tags.ITEM_ID, Tags.CATEGORICAL}),
        ("session", MANY, {Tags.SESSION_ID, Tags.CATEGORICAL}),
        ("item_ids", [[i, 1] for i in MANY], {Tags.ITEM_ID, Tags.CATEGORICAL, Tags.LIST, Tags.SEQUENCE}),
        ("history", [[i] for i in MANY], {Tags.CATEGORICAL, Tags.LIST, Tags.SEQUENCE}),
        ("genres", [["a"], ["b"]] * 20, {Tags.CATEGORICAL, Tags.LIST}),
        ("prices", [[0.5], [1.0, 2.0]] * 20, {Tags.CONTINUOUS, Tags.LIST}),
        ("vector", [[0.5, 1, 2, 3]] * 40, {Tags.EMBEDDING}),
        ("click", BINARY, {Tags.TARGET, Tags.BINARY_CLASSIFICATION}),
        ("isPurchased", [True, False] * 20, {Tags.TARGET, Tags.BINARY_CLASSIFICATION}),
        ("label", ["yes", "no"] * 20, {Tags.TARGET, Tags.BINARY_CLASSIFICATION}),
        ("label", [0, 1, 2, 3] * 10, {Tags.TARGET, Tags.MULTI_CLASS_CLASSIFICATION}),
        ("rating", [1, 2, 3, 4, 5] * 8, {Tags.TARGET, Tags.REGRESSION}),
        ("target", [i / 7 for i in MANY], {Tags.TARGET, Tags.REGRESSION}),
        ("clicks", MANY, {Tags.CONTINUOUS}),
        ("click_history", [[1]] * 40, {Tags.CATEGORICAL, Tags.LIST, Tags.SEQUENCE}),
        ("timestamp", SECONDS, {Tags.TIME}),
        ("created_at", [s * 1000 for s in SECONDS], {Tags.TIME}),
        ("seen", [datetime(2024, 1, 1)] * 40, {Tags.TIME}),
        ("watch_time", MANY, {Tags.CONTINUOUS}),
        ("country", ["fr", "de"] * 20, {Tags.CATEGORICAL}),
        ("user_country", ["fr", "de"] * 20, {Tags.CATEGORICAL, Tags.USER}),
        ("item_price", [i / 7 for i in MANY], {Tags.CONTINUOUS, Tags.ITEM}),
        ("device", ["a", "b"] * 20, {Tags.CATEGORICAL, Tags.CONTEXT}),
        ("age", MANY, {Tags.CONTINUOUS}),
        ("age", [1, 18, 25, 35] * 10, {Tags.CATEGORICAL}),
        ("delta", [-i * 3 for i in range(40)], {Tags.CONTINUOUS}),
        ("member", [True, False] * 20, {Tags.CATEGORICAL, Tags.USER}),
        ("title", [f"a rather long title {i}" for i in MANY], {Tags.TEXT}),
        ("nothing", [None] * 40, set()),
        ("user_id", [None] * 40, set()),
        ("point", [{"x": 1}] * 40, set()),
    ],
)
def test_tags_are_proposed_from_name_and_values(name: str, values: list, tags: set[str]) -> None:
    found = look({name: values, "other": range(40)}).schema[name]
    assert found.tags == ColumnSchema(name, tags=tags).tags


def test_every_proposal_says_why() -> None:
    found = look({"user_id": [1, 1], "x": [0.5, 1.5]})
    assert (found["user_id"].reason, found["x"].reason) == ("named like an id: user", "fractional numbers")


def test_columns_of_a_table_of_users_are_of_users() -> None:
    users = look({"user_id": MANY, "age": [1, 2] * 20, "zip": [f"{i}" for i in MANY]})
    assert users.schema.select_by_tag(Tags.USER).column_names == ["user_id", "age", "zip"]
    log = look({"user_id": MANY, "age": [1, 2] * 20, "click": BINARY})
    assert log.schema.select_by_tag(Tags.USER).column_names == ["user_id"]
    repeated = look({"user_id": [1, 2] * 20, "age": [1, 2] * 20})
    assert repeated.schema.select_by_tag(Tags.USER).column_names == ["user_id"]


def test_tags_that_are_there_stay() -> None:
    schema = Schema([ColumnSchema("click", tags=["mine"]), ColumnSchema("price")])
    dataset = Dataset(pl.DataFrame({"click": BINARY, "price": [0.5] * 40}), schema=schema)
    found = inspect(dataset, verbose=False)
    assert found.schema["click"].tags == {"mine"} and found["click"].reason == "tagged already"
    assert found.schema["price"].tags == {Tags.CONTINUOUS}


# --- what looks wrong ---

CLICK = (np.random.default_rng(1).random(N) < 0.3).tolist()
IDS = {"user_id": [i % 40 for i in range(N)], "item_id": [i * 7 % 90 for i in range(N)], "click": CLICK}
TIMES = [NOW - timedelta(hours=i) for i in range(N)]


@pytest.mark.parametrize(
    ("name", "values", "kind", "message"),
    [
        ("x", [None] * N, "all_null", "all rows are null. Leave the column out, or look why it was not filled."),
        ("x", [7] * N, "constant", "all rows hold 7, so it tells nothing. Leave the column out."),
        (
            "x",
            ["a", None] * (N // 2),
            "constant",
            "the only value is 'a'; 50.0% of the rows are null. Keep only whether",
        ),
        (
            "x",
            [1, 2] + [None] * (N - 2),
            "mostly_null",
            "99.5% of the rows are null. Leave it out, or use FillMissing(",
        ),
        (
            "x",
            [1.0, float("nan")] * (N // 2),
            "nan",
            "200 values are NaN, which is no null: means and models become NaN.",
        ),
        (
            "session_id",
            [i % 3 for i in range(N)],
            "few_ids",
            "an id of only 3 different values in 400 rows. If it is a",
        ),
        (
            "session_id",
            [i / 1 for i in range(N)],
            "fractional_id",
            "the ids are float64, which loses large ones beyond",
        ),
        (
            "note",
            [f"text number {i}" for i in range(N)],
            "near_unique_text",
            "400 different texts in 400 rows: as categ",
        ),
        ("zip", [f"{i % 50:05d}" for i in range(N)], "numbers_as_text", "the texts are numbers, such as '000"),
        (
            "time",
            [*TIMES[1:], NOW + timedelta(days=40)],
            "future",
            "the latest time is 2024-07-11 00:00, in the future.",
        ),
        (
            "ts",
            [int(t.timestamp()) for t in TIMES[1:]] + [4_000_000_000],
            "future",
            "the latest time is 2096-10-02 07:06",
        ),
        (
            "ts",
            [int(t.timestamp()) for t in TIMES[1:]] + [0],
            "early",
            "the earliest time is 1970-01-01: a 0 may stand f",
        ),
        (
            "ts",
            [int(t.timestamp()) * (1 if i else 1000) for i, t in enumerate(TIMES)],
            "mixed_units",
            "most times are in seconds since 1970, 1 of 400 sampled ones in milliseconds. Bring all to one unit first",
        ),
        (
            "refund",
            [3 if c else None for c in CLICK],
            "leak",
            "alone it predicts 'click' almost perfectly (AUC 1.0000 on one half of 400 sampled rows, of the target's",
        ),
    ],
)
def test_what_looks_wrong_is_told_with_what_to_do(name: str, values: list, kind: str, message: str) -> None:
    given = {key: column for key, column in IDS.items() if key != name}
    found = look({**given, name: pl.Series(values, strict=False)})
    told = {finding.kind: f"{finding.message} {finding.advice}" for finding in found.findings if finding.column == name}
    assert kind in told, told
    assert told[kind].startswith(message)


def test_an_id_of_its_own_per_row_is_no_user() -> None:
    found = look({**IDS, "user_id": range(N)})
    assert kinds(found, "user_id") == ["unique_id"]
    assert "every row of this log has an id of its own, so nobody has a history." in found.findings[0].message
    assert kinds(look({"user_id": range(N), "age": [1, 2] * (N // 2)}), "user_id") == []  # a table of users


def test_a_leak_into_an_amount_is_told_by_r_squared() -> None:
    stars = [i % 5 + 1 for i in range(N)]
    (finding,) = look({"rating": stars, "stars": [s * 20 for s in stars], "x": range(N)}).findings
    assert finding.column == "stars" and "(R squared 0.99" in finding.message
    assert "If it is known only after the event, leave it out or tag it TARGET" in finding.advice


def test_rows_that_repeat_are_told() -> None:
    found = look({"user_id": [1, 2, 3, 4] * 50, "item_id": [1, 2, 3, 4] * 50})
    assert kinds(found, None) == ["duplicates"]
    assert found.findings[-1].message == "about 98.0% of the rows repeat another one in every column."
    assert "rows.unique(maintain_order=True)" in found.findings[-1].advice


def test_good_data_raises_no_suspicion() -> None:
    random = np.random.default_rng(0)
    good = {**IDS, "price": random.random(N), "city": random.choice(["a", "b", "c"], N), "time": TIMES}
    assert look(good).findings == ()


@pytest.mark.parametrize(
    ("value", "unit"),
    [
        (1_700_000_000, "seconds"),
        (1_700_000_000_000, "milliseconds"),
        (1_700_000_000_000_000, "microseconds"),
        (1_700_000_000_000_000_000, "nanoseconds"),
        (0, None),
        (42, None),
        (None, None),
    ],
)
def test_the_unit_of_a_time_is_told_by_its_size(value: int | None, unit: str | None) -> None:
    assert unit_of(value) == unit
    if unit is not None and value is not None:
        assert as_datetime(value, unit) == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


# --- schema.json beside the data ---


def write(file: Path, frame: pl.DataFrame) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    frame.write_csv(file) if file.suffix == ".csv" else frame.write_parquet(file)
    return file


FRAME = pl.DataFrame({"user_id": [1, 2], "click": [0, 1]})


@pytest.mark.parametrize(
    ("files", "source", "place"),
    [
        (["a.parquet"], "a.parquet", "schema.json"),
        (["a.csv"], ".", "schema.json"),
        (["a.parquet", "b.parquet"], ".", "schema.json"),
        (["a.parquet", "b.parquet"], "a.parquet", "a.schema.json"),
        (["train/a.parquet", "valid/a.parquet"], ".", "schema.json"),
        (["t/day=1/a.parquet"], "t", "t/schema.json"),
        (["t/day=1/a.parquet", "t/day=2/a.parquet"], "t", "t/schema.json"),
        (["data/train-00000-of-00001.parquet"], ".", "data/schema.json"),
    ],
)
def test_the_schema_is_written_where_reading_finds_it(tmp_path: Path, files, source: str, place: str) -> None:
    for file in files:
        write(tmp_path / file, FRAME)
    dataset = Dataset(tmp_path / source)
    schema = inspect(dataset, verbose=False).schema
    before = {str(file) for file in tmp_path.rglob("*")}
    assert write_schema_beside(dataset, schema) == tmp_path / place
    assert {str(file) for file in tmp_path.rglob("*")} - before == {str(tmp_path / place)}
    assert Dataset(tmp_path / source).schema == schema
    assert schema["click"].has_tag(Tags.TARGET)


def test_a_schema_that_was_corrected_is_not_overwritten_unasked(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", FRAME)
    Schema([ColumnSchema("user_id"), ColumnSchema("click", tags=["mine"])]).save(tmp_path)
    dataset = Dataset(tmp_path)
    schema = inspect(dataset, verbose=False).schema
    with pytest.raises(
        FormatError, match=r"schema.json: there is a schema already. Correct it by hand, or ask to over"
    ):
        write_schema_beside(dataset, schema)
    write_schema_beside(dataset, schema, overwrite=True)
    assert Dataset(tmp_path).schema["click"].tags == {"mine"}
    assert Dataset(tmp_path).schema["user_id"].has_tag(Tags.USER_ID)


def test_a_schema_needs_a_place(tmp_path: Path) -> None:
    with pytest.raises(
        SettingError, match=r"^a frame: a schema can be written only beside files on this machine. Save"
    ):
        write_schema_beside(Dataset(FRAME), Schema())
    for folder in ("a/b", "c/d"):
        write(tmp_path / folder / "x.parquet", FRAME)
    with pytest.raises(SettingError, match=r"the files below lie too deep to find a schema.json here. Give one of the"):
        write_schema_beside(Dataset(tmp_path), Schema())


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "tags"),
    [
        ("movielens-1m/interactions", {"user_id": Tags.USER_ID, "movie_id": Tags.ITEM_ID, "rating": Tags.TARGET}),
        ("movielens-100k/ratings", {"user_id": Tags.USER_ID, "timestamp": Tags.TIME, "rating": Tags.REGRESSION}),
        (
            "online-retail/transactions",
            {"stock_code": Tags.ITEM_ID, "customer_id": Tags.USER_ID, "timestamp": Tags.TIME},
        ),
        ("diginetica/train_sessions", {"session": Tags.SESSION_ID, "items": Tags.SEQUENCE}),
        ("frappe/train", {"label": Tags.BINARY_CLASSIFICATION, "user": Tags.USER_ID, "weather": Tags.CATEGORICAL}),
        ("movielens-1m/movies", {"movie_id": Tags.ITEM_ID, "title": Tags.TEXT, "genres": Tags.LIST, "year": Tags.ITEM}),
    ],
)
def test_real_tables_get_the_tags_that_people_would_give(real_data: Path, file: str, tags: dict[str, str]) -> None:
    found = inspect(Dataset(real_data / f"{file}.parquet"), verbose=False)
    assert {name for name, tag in tags.items() if not found.schema[name].has_tag(tag)} == set()
    assert not {finding.kind for finding in found.findings} & {"leak", "few_ids", "unique_id", "future", "mixed_units"}


def test_lists_of_lists_are_no_categories_and_a_long_constant_is_cut() -> None:
    frame = pl.DataFrame({"deep": [[[1], [2]], [[3]]], "same": ["x" * 500] * 2, "n": [1, 2]})
    found = inspect(Dataset(frame))
    assert "categorical" not in found.columns[0].tags
    messages = [finding.message for finding in found.findings if finding.column == "same"]
    assert messages and all(len(message) < 150 for message in messages)
