from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tamis.data.dataset import Dataset
from tamis.datasets import generate_data, generator, oracle_of
from tamis.datasets.schemas import AGES, GENRES, SCHEMAS, named_schema
from tamis.errors import SchemaError, SettingError, UnknownColumnError, UnknownNameError
from tamis.schema import ColumnSchema, Schema, Tags

DOMAINS = {
    "user_id": 294_736, "item_id": 3_078_306, "item_category": 8_581, "item_shop": 604_498, "item_brand": 208_179,
    "item_intention": 96_258, "user_shops": 116_741, "user_profile": 98, "user_group": 14, "user_gender": 3,
    "user_age": 8, "user_consumption_1": 4, "user_consumption_2": 4, "user_is_occupied": 3, "user_geography": 5,
    "user_intentions": 33_786, "user_brands": 58_015, "user_categories": 6_086, "user_item_categories": 7_735,
    "user_item_shops": 384_343, "user_item_brands": 142_632, "user_item_intentions": 74_317, "position": 4,
    "click": 1, "conversion": 1,
}  # fmt: skip


def rows_of(*arguments: object, **settings: object) -> pl.DataFrame:
    made = generate_data(*arguments, **settings)  # type: ignore[arg-type]
    return pl.concat(part.compute() for part in (made if isinstance(made, tuple) else (made,)))


def test_ali_ccp_has_its_25_columns_with_their_domains_and_roles() -> None:
    schema = named_schema("aliccp-raw")
    assert {column.name: column.domain.max for column in schema} == DOMAINS
    assert schema.select_by_tag(Tags.USER_ID).column_names == ["user_id"]
    assert schema.select_by_tag(Tags.ITEM).column_names == [c for c in DOMAINS if c.startswith("item_")]
    assert len(schema.select_by_tag(Tags.USER)) == 13
    assert schema.select_by_tag(Tags.BINARY_CLASSIFICATION).column_names == ["click", "conversion"]


@pytest.mark.parametrize("signal", [0, None])
@pytest.mark.parametrize("name", SCHEMAS)
def test_the_values_keep_to_the_schema(name: str, signal: float | None) -> None:
    made = generate_data(name, 5_000, signal=signal)
    assert isinstance(made, Dataset) and made.num_rows == 5_000
    assert made.schema == named_schema(name)
    for column in made.schema:
        values = made.compute()[column.name]
        assert values.null_count() == 0
        if column.domain is not None and values.dtype.is_integer() and "values" not in column.properties:
            assert column.domain.min <= values.min() and values.max() <= column.domain.max


def test_labels_stand_for_numbers_and_lists_vary_in_length() -> None:
    rows = rows_of("movielens-1m", 20_000)
    assert set(rows["gender"]) == {"F", "M"} and set(rows["age"]) == set(AGES)
    assert set(rows["genres"].explode()) == set(GENRES)
    assert set(rows["genres"].list.len()) == {1, 2, 3, 4}
    assert (rows["genres"].list.n_unique() == rows["genres"].list.len()).all()
    assert set(rows["rating"]) == {1, 2, 3, 4, 5}
    assert rows["timestamp"].is_sorted()
    assert (rows.group_by("movie_id").agg(pl.col("genres").n_unique())["genres"] == 1).all()


@pytest.mark.parametrize("signal", [0, 1.0])
def test_the_same_seed_gives_the_same_rows_however_they_are_cut(tmp_path: Path, signal: float) -> None:
    whole = rows_of("aliccp-raw", 300_001, signal=signal)  # three blocks, the last one begun
    assert whole.equals(rows_of("aliccp-raw", 300_001, (0.5, 0.3, 0.2), signal=signal))
    assert whole.equals(rows_of("aliccp-raw", 300_001, (0.7, 0.3), signal=signal, path=tmp_path / "written"))
    assert not whole.equals(rows_of("aliccp-raw", 300_001, signal=signal, seed=43))


def test_the_sets_have_their_shares_and_folders(tmp_path: Path) -> None:
    train, valid = generate_data("aliccp-raw", 1_001, set_sizes=(0.7, 0.3), path=tmp_path)
    assert (train.num_rows, valid.num_rows) == (701, 300)
    assert Dataset(f"{tmp_path}/train/*.parquet").num_rows == 701
    assert Dataset(tmp_path / "valid").schema == named_schema("aliccp-raw")
    four = generate_data("movielens-1m", 100, set_sizes=(0.25,) * 4, path=tmp_path / "four")
    assert [Path(part.files[0]).parent.name for part in four] == ["set_0", "set_1", "set_2", "set_3"]
    alone = generate_data("movielens-1m", 100, path=tmp_path / "alone")
    assert isinstance(alone, Dataset) and Path(alone.files[0]).parent == tmp_path / "alone"


def test_many_rows_go_through_files_that_end_with_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cleanups: list[tuple[object, ...]] = []
    monkeypatch.setattr(generator, "_ROWS_IN_MEMORY", 100)
    monkeypatch.setattr(generator, "_ROWS_PER_FILE", 400)
    monkeypatch.setattr(generator.tempfile, "mkdtemp", lambda prefix: str(tmp_path))
    monkeypatch.setattr(generator.atexit, "register", lambda *call, **_: cleanups.append(call))
    train, valid = generate_data("aliccp-raw", 1_000, set_sizes=(0.7, 0.3))
    assert [len(part.files) for part in (train, valid)] == [2, 1]
    assert pl.concat([train.compute(), valid.compute()]).equals(_in_memory(monkeypatch, 1_000))
    assert cleanups == [(generator.shutil.rmtree, tmp_path)]


def _in_memory(monkeypatch: pytest.MonkeyPatch, num_rows: int) -> pl.DataFrame:
    monkeypatch.setattr(generator, "_ROWS_IN_MEMORY", 2_000_000)
    return rows_of("aliccp-raw", num_rows)


def test_without_signal_ids_are_lognormal_and_clicks_are_fair_coins() -> None:
    rows = rows_of("aliccp-raw", 200_000, signal=0)
    for column in ("user_id", "item_id"):
        logs = (rows[column] + 0.5).log()  # the whole numbers are rounded down
        assert logs.median() == pytest.approx(3.0, abs=0.03) and logs.std() == pytest.approx(1.0, abs=0.05)
        assert rows[column].min() == 1
    assert rows["click"].mean() == pytest.approx(0.5, abs=0.01)
    assert abs(rows.select(pl.corr("user_id", "item_id")).item()) < 0.01
    by_item = rows.group_by("item_id").agg(pl.col("item_brand").n_unique(), n=pl.len())
    assert (by_item["item_brand"] == 1).all()


def test_without_signal_features_are_equal_width_bins_of_the_id() -> None:
    schema = Schema(
        [
            ColumnSchema("u", tags=frozenset({Tags.USER_ID})).with_domain(100),
            ColumnSchema("half", tags=frozenset({Tags.USER})).with_domain(2),
        ]
    )
    rows = rows_of(schema, 5_000, signal=0)
    assert rows["u"].max() == 100
    assert (rows["half"] == 1 + (rows["u"] > 50).cast(pl.Int64)).all()


@pytest.fixture
def shop() -> Schema:
    return Schema(
        [
            ColumnSchema("who", tags=frozenset({Tags.USER_ID})).with_domain(500),
            ColumnSchema("what", tags=frozenset({Tags.ITEM_ID})).with_domain(300),
            ColumnSchema("income", dtype="float32", tags=frozenset({Tags.USER})).with_domain(5, min=1),
            ColumnSchema("price", dtype="float64", tags=frozenset({Tags.ITEM})),
            ColumnSchema("colours", dtype="int16", is_list=True, tags=frozenset({Tags.ITEM})).with_domain(6),
            ColumnSchema("tags", is_list=True, properties={"value_count": {"min": 0, "max": 2}}).with_domain(3),
            ColumnSchema("night", dtype="boolean"),
            ColumnSchema("when", dtype="float64", tags=frozenset({Tags.TIME})).with_domain(1.0),
            ColumnSchema("bought", dtype="boolean", tags=frozenset({Tags.TARGET, Tags.BINARY})),
            ColumnSchema("stars", dtype="float32", tags=frozenset({Tags.TARGET})).with_domain(5, min=1),
        ]
    )


@pytest.mark.parametrize("signal", [0, 1.0])
def test_any_schema_can_be_filled(shop: Schema, signal: float) -> None:
    rows = rows_of(shop, 3_000, signal=signal)
    assert rows.columns == shop.column_names
    assert rows.schema["colours"] == pl.List(pl.Int16) and rows.schema["bought"] == pl.Boolean
    assert set(rows["colours"].list.len()) == {1, 2, 3, 4} and set(rows["tags"].list.len()) == {0, 1, 2}
    assert rows["colours"].explode().is_between(1, 6).all() and set(rows["tags"].explode().drop_nulls()) == {1, 2, 3}
    assert rows["income"].is_between(1, 5).all() and rows["price"].is_between(0, 1).all()
    assert rows["when"].is_sorted() and rows["when"].is_between(0, 1).all()
    assert rows["stars"].is_between(1, 5).all()
    if signal:
        assert rows.group_by("who").agg(pl.col("income").n_unique())["income"].max() == 1
        assert (rows.filter("bought")["stars"].mean() or 0) > rows["stars"].mean()


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no data set 'aliccp-rwa'\. Did you mean 'aliccp-raw'\?"):
        generate_data("aliccp-rwa", 10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_rows": 0}, r"num_rows is 0\. Ask for at least one row"),
        ({"num_rows": 10, "set_sizes": (0.7, 0.2)}, r"set_sizes is \(0\.7, 0\.2\)\. Give positive shares that add"),
        ({"num_rows": 10, "set_sizes": ()}, r"set_sizes is \(\)"),
        ({"num_rows": 10, "set_sizes": (0.97, 0.03)}, r"10 rows in parts of \(0\.97, 0\.03\) leave one part empty"),
        ({"num_rows": 10, "seed": -1}, r"seed is -1\. Give a whole number from 0 on"),
        ({"num_rows": 10, "signal": -1}, r"signal is -1\. Give a number from 0"),
    ],
)
def test_numbers_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        generate_data("aliccp-raw", **settings)  # type: ignore[arg-type]


def test_schemas_that_nobody_could_fill_are_refused(shop: Schema) -> None:
    with pytest.raises(SchemaError, match=r"'size' has no domain.*with_domain"):
        generate_data(shop + ColumnSchema("size"), 10)
    with pytest.raises(SchemaError, match=r"'size' has the dtype 'date'\. Use one of int8"):
        generate_data(shop + ColumnSchema("size", dtype="date"), 10, signal=0)
    with pytest.raises(SchemaError, match=r"no column tagged item_id, so no truth can be planted"):
        generate_data(shop - ["what"], 10)
    wrong = ColumnSchema("likes", tags=frozenset({Tags.USER}), properties={"favourite_of": "colour"}).with_domain(9)
    with pytest.raises(UnknownColumnError, match=r"Did you mean 'colours'\?"):
        generate_data(shop + wrong, 10)


def test_no_signal_has_no_oracle() -> None:
    with pytest.raises(SettingError, match="signal=0 plants no truth"):
        oracle_of("aliccp-raw", 1_000, signal=0)


def test_sets_are_parts_of_one_stream_so_both_know_the_same_items() -> None:
    train, valid = generate_data("aliccp-raw", 50_000, set_sizes=(0.7, 0.3))
    known = set(train.compute()["item_id"])
    assert np.mean([item in known for item in valid.compute()["item_id"]]) > 0.95
