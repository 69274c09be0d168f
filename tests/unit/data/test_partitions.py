"""Folders named after values: written, read back, and refused where they could not be."""

from datetime import date
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tamis.data.dataset import Dataset
from tamis.data.loader import Loader
from tamis.errors import DataError, SchemaError, SettingError, UnknownColumnError
from tamis.schema import ColumnSchema, Schema, Tags

TEXTS = ["a", "a/b", "ü", None, "", "a=b", " x", "%41", "007", "..", "null", "?*[x]"]


def test_any_text_comes_back_from_a_folders_name_with_its_rows_in_order(tmp_path: Path) -> None:
    frame = pl.DataFrame({"x": range(24), "text": TEXTS * 2})
    schema = Schema([ColumnSchema("text", tags=[Tags.CATEGORICAL]), ColumnSchema("x")])
    written = Dataset(frame, schema=schema).to_parquet(tmp_path / "out", partition_on="text")
    assert written.column_names == ["text", "x"]
    assert written.schema == Dataset(frame, schema=schema).schema == Dataset(tmp_path / "out").schema
    assert_frame_equal(written.compute().sort("x"), frame.select("text", "x"))
    assert written.filter(pl.col("text") == "a/b").compute()["x"].to_list() == [1, 13]
    assert len([place for place in (tmp_path / "out").iterdir() if place.is_dir()]) == len(TEXTS)


@pytest.mark.parametrize(
    ("values", "folder"),
    [
        (pl.Series([date(2024, 1, 1), None]), "key=2024-01-01"),
        (pl.Series([-5, 300], dtype=pl.Int16), "key=-5"),
        (pl.Series([2**64 - 1, 0], dtype=pl.UInt64), "key=18446744073709551615"),
        (pl.Series([True, False, None]), "key=true"),
        (pl.Series(["1", "2"]), "key=1"),
        (pl.Series([None, None], dtype=pl.Int8), "key=__HIVE_DEFAULT_PARTITION__"),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_a_key_keeps_its_type(tmp_path: Path, values: pl.Series, folder: str) -> None:
    frame = pl.DataFrame({"x": range(len(values)), "key": values})
    written = Dataset(frame).to_parquet(tmp_path / "out", partition_on=["key"])
    assert (tmp_path / "out" / folder / "part-00000.parquet").is_file()
    assert_frame_equal(written.compute().sort("x"), frame)


def test_two_keys_and_limits_of_a_file(tmp_path: Path) -> None:
    frame = pl.DataFrame({"x": range(100), "a": [i % 2 for i in range(100)], "b": ["u", "u", "v", "v"] * 25})
    written = Dataset(frame).to_parquet(tmp_path / "out", partition_on=["b", "a"], rows_per_file=10)
    files = sorted(str(file.relative_to(tmp_path / "out")) for file in (tmp_path / "out").rglob("*.parquet"))
    assert files[:3] == [f"b=u/a=0/part-0000{i}.parquet" for i in range(3)] and len(files) == 12
    assert written.column_names == ["x", "a", "b"] and written.files == ()
    assert_frame_equal(written.compute().sort("x"), frame)
    in_one = written.filter((pl.col("a") == 0) & (pl.col("b") == "u")).compute()["x"]
    assert in_one.to_list() == list(range(0, 100, 4))


def test_the_loader_reads_partitions_with_their_column(tmp_path: Path) -> None:
    written = Dataset(pl.DataFrame({"x": range(6), "day": [1, 2] * 3})).to_parquet(tmp_path / "out", partition_on="day")
    (batch,) = Loader(written, shuffle=False)
    assert batch.features["day"].tolist() == [1, 1, 1, 2, 2, 2]
    assert batch.features["x"].tolist() == [0, 2, 4, 1, 3, 5]


def test_partitions_replace_each_other_as_a_whole(tmp_path: Path) -> None:
    frame = pl.DataFrame({"x": range(4), "day": [1, 1, 2, 2]})
    Dataset(frame).to_parquet(tmp_path / "out", partition_on="day")
    later = Dataset(tmp_path / "out").filter(pl.col("day") == 2).to_parquet(tmp_path / "out", partition_on="day")
    assert later.compute().rows() == [(2, 2), (3, 2)]
    assert [place.name for place in tmp_path.iterdir()] == ["out"]


def test_no_rows_keep_their_columns(tmp_path: Path) -> None:
    empty = Dataset(pl.DataFrame({"x": [1], "day": [1]}).head(0)).to_parquet(tmp_path / "out", partition_on="day")
    assert empty.compute().schema == pl.Schema({"x": pl.Int64, "day": pl.Int64})


@pytest.mark.parametrize(
    ("keys", "kind", "message"),
    [
        ("nane", UnknownColumnError, r"Did you mean 'name'\?"),
        ("price", SchemaError, r"partition_on has 'price', which is float64. Only whole numbers, texts, truth values"),
        ("tags", SchemaError, r"partition_on has 'tags', which is list\[string\]"),
        (["name", "name"], SettingError, r"partition_on=\['name', 'name'\] names a column twice. Leave one out."),
    ],
)
def test_a_key_that_no_folder_can_be_named_after_is_refused(tmp_path, keys, kind, message: str) -> None:
    frame = pl.DataFrame({"name": ["x"], "price": [0.5], "tags": [["a"]]})
    with pytest.raises(kind, match=message):
        Dataset(frame).to_parquet(tmp_path / "out", partition_on=keys)
    assert not (tmp_path / "out").exists()


def test_a_column_has_to_be_left(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"partition_on=\['x'\] names all columns. Leave one out."):
        Dataset(pl.DataFrame({"x": [1]})).to_parquet(tmp_path / "out", partition_on="x")


@pytest.mark.parametrize("name", ["a=b", ".a"])
def test_a_column_that_no_folder_can_name_is_refused(tmp_path: Path, name: str) -> None:
    rows = Dataset(pl.DataFrame({name: ["x"], "b": [1]}))
    with pytest.raises(SettingError, match=rf"partition_on has {name!r}, which no folder's name can give back"):
        rows.to_parquet(tmp_path / "d", partition_on=[name])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "wrong"), [("__HIVE_DEFAULT_PARTITION__", "stands for null"), ("x" * 300, "is too long")]
)
def test_a_value_that_no_folder_can_name_is_refused(tmp_path: Path, value: str, wrong: str) -> None:
    rows = Dataset(pl.DataFrame({"a": ["ok", value], "b": [1, 2]}))
    with pytest.raises(DataError, match=rf"partition_on meets the value .*, which {wrong}"):
        rows.to_parquet(tmp_path / "d", partition_on=["a"])
    assert not list(tmp_path.iterdir())
