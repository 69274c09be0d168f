"""One table, many formats: what is read, and what each mistake is answered with."""

import gzip
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tamis.data.dataset import Dataset
from tamis.data.loader import Loader
from tamis.data.source_files import find_files
from tamis.errors import DataError, MissingExtraError, SettingError, UnknownNameError
from tamis.schema import ColumnSchema, Schema, Tags

SMALL = pl.DataFrame({"user": [1, 2, 3], "city": ["a", "b", None]})


def write(path: Path, frame: pl.DataFrame = SMALL) -> Path:
    """By the ending of the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    separator = "\t" if plain.suffix == ".tsv" else ","
    if plain.suffix in (".csv", ".tsv"):
        frame.write_csv(plain, separator=separator)
    elif plain.suffix in (".jsonl", ".ndjson"):
        frame.write_ndjson(plain)
    elif plain.suffix in (".arrow", ".feather", ".ipc"):
        frame.write_ipc(plain)
    else:
        frame.write_parquet(plain)
    if plain != path:
        path.write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    return path


NAMES = ["a.parquet", "a.pq", "a.csv", "a.CSV", "a.tsv", "a.csv.gz", "a.tsv.gz", "a.jsonl", "a.ndjson", "a.jsonl.gz"]


@pytest.mark.parametrize("name", [*NAMES, "a.arrow", "a.feather", "a.ipc"])
def test_every_format_gives_the_same_rows_by_file_folder_and_glob(tmp_path: Path, name: str) -> None:
    file = write(tmp_path / name.replace("CSV", "csv"))
    if name == "a.CSV":
        file = file.rename(tmp_path / name)
    for source in (file, tmp_path, tmp_path / "a*", [file]):
        dataset = Dataset(source)
        assert_frame_equal(dataset.compute(), SMALL)
        assert dataset.num_rows == 3
    assert dataset.files == ((str(file),) if name in ("a.parquet", "a.pq") else ())
    assert repr(dataset).startswith(f"Dataset of {file}\n")


def test_several_files_of_a_format_are_one_table_in_order(tmp_path: Path) -> None:
    for number, name in enumerate(["b.csv", "a.tsv", "sub/c.csv.gz"]):
        write(tmp_path / name, pl.DataFrame({"x": [number]}))
    assert sorted(Dataset(tmp_path).compute()["x"]) == [0, 1, 2]
    for number, name in enumerate(["b.jsonl", "a.jsonl"]):
        write(tmp_path / "lines" / name, pl.DataFrame({"x": [number]}))
    assert Dataset(tmp_path / "lines").compute()["x"].to_list() == [1, 0]


def test_a_dataset_of_text_is_filtered_written_and_loaded_like_any_other(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.csv", pl.DataFrame({"x": range(10), "y": [0.5] * 10}))
    dataset = Dataset(tmp_path / "in")
    assert dataset.filter(pl.col("x") > 7).compute()["x"].to_list() == [8, 9]
    assert repr(dataset.filter(pl.col("x") > 7)).startswith("Dataset of a computation over csv\n")
    written = dataset.to_parquet(tmp_path / "out")
    assert_frame_equal(written.compute(), dataset.compute())
    assert len(written.files) == 1
    assert [len(batch) for batch in Loader(dataset, batch_size=4)] == [4, 4, 2]


def test_times_in_a_csv_are_times(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("day,at\n2024-01-31,2024-01-31T12:30:00\n")
    assert Dataset(tmp_path / "a.csv").compute().row(0) == (date(2024, 1, 31), datetime(2024, 1, 31, 12, 30))


def test_types_can_be_said_and_win_over_what_is_guessed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("zip,n\n00501,1\n90210,2\n")
    assert Dataset(tmp_path / "a.csv").compute()["zip"].to_list() == [501, 90210]
    dataset = Dataset(tmp_path / "a.csv", dtypes={"zip": "string", "n": float})
    assert dataset.compute().rows() == [("00501", 1.0), ("90210", 2.0)]
    assert dataset.schema["zip"].dtype == "string"
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n')
    assert Dataset(tmp_path / "a.jsonl", dtypes={"n": pl.Int8}).schema["n"].dtype == "int8"


def test_a_schema_beside_tells_the_types_of_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("zip,n\n00501,1\n")
    Schema([ColumnSchema("zip", "string", tags=[Tags.CATEGORICAL])]).save(tmp_path)
    dataset = Dataset(tmp_path / "a.csv")
    assert dataset.compute().rows() == [("00501",)]
    assert Dataset(tmp_path / "a.csv", dtypes={"zip": "int32"}).compute().rows() == [(501,)]


def test_a_schema_of_a_files_own_name_is_for_that_file_alone(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet")
    write(tmp_path / "b.parquet")
    Schema([ColumnSchema("user", tags=[Tags.USER_ID])]).save(tmp_path / "a.schema.json")
    assert Dataset(tmp_path / "a.parquet").column_names == ["user"]
    assert Dataset(tmp_path / "b.parquet").column_names == Dataset(tmp_path / "*").column_names == ["user", "city"]


@pytest.mark.parametrize("name", ["table", "table.json", "table.txt"])
def test_a_name_that_tells_no_format_is_refused_and_read_when_it_is_told(tmp_path: Path, name: str) -> None:
    write(tmp_path / "a.jsonl").rename(tmp_path / name)
    with pytest.raises(DataError, match=rf"{name}: (the ending '\.\w+' stands for no known format|a name without)"):
        Dataset(tmp_path / name)
    assert_frame_equal(Dataset(tmp_path / name, format="jsonl").compute(), SMALL)
    assert_frame_equal(Dataset(tmp_path, format="jsonl").compute(), SMALL)


def test_json_is_answered_with_json_lines(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(DataError, match=r"format='jsonl' if every line is an object of its own; known are parquet, cs"):
        Dataset(tmp_path / "a.json")


def test_two_formats_in_a_folder_are_named_both(tmp_path: Path) -> None:
    write(tmp_path / "a.csv")
    write(tmp_path / "b.parquet")
    (tmp_path / "README.md").write_text("no data")
    message = r"there are files of two formats, csv \(a.csv\) and parquet \(b.parquet\). Say which to read, for example"
    for source in (tmp_path, tmp_path / "?.*"):
        with pytest.raises(DataError, match=message):
            Dataset(source)
    assert Dataset(tmp_path, format="parquet").files == (str(tmp_path / "b.parquet"),)
    assert Dataset(tmp_path, format="csv").files == ()
    with pytest.raises(DataError, match=r"the paths are csv and parquet. Read each as a dataset of its own."):
        Dataset([tmp_path / "a.csv", tmp_path / "b.parquet"])


def test_a_folder_without_the_format_asked_for_says_so(tmp_path: Path) -> None:
    write(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"the folder holds no arrow file \(.arrow, .feather, .ipc\). Give the folder"):
        Dataset(tmp_path, format="arrow")


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"format": "parket"}, UnknownNameError, r"Dataset: there is no format 'parket'. Did you mean 'parquet'\?"),
        ({"split": "train"}, SettingError, r"a.parquet: split='train' is for a folder of files on this machine"),
        (
            {"dtypes": {"x": "int8"}},
            SettingError,
            r"dtypes is for csv and jsonl, but parquet files hold their own types",
        ),
        ({"dtypes": {"x": "intt"}}, SettingError, r"dtypes has 'intt' for 'x', which is no type. Give one of int8, "),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, settings, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        Dataset(write(tmp_path / "a.parquet"), **settings)


@pytest.mark.parametrize("setting", ["format", "split", "dtypes", "storage_options"])
def test_settings_of_files_are_refused_for_frames(setting: str) -> None:
    with pytest.raises(
        SettingError, match=rf"Dataset: {setting} is for files, but the source is a DataFrame. Leave it"
    ):
        Dataset(SMALL, **{setting: {}})


def test_a_line_that_breaks_the_guess_is_named_with_its_file_and_the_way_out(tmp_path: Path) -> None:
    write(tmp_path / "0.csv", pl.DataFrame({"x": [1]}))
    write(tmp_path / "1.csv", pl.DataFrame({"x": [*map(str, range(20_000)), "oops"]}))
    with pytest.raises(
        DataError, match=r"1.csv: the data cannot be read \(.*oops.*'x'.*\). Mend the file, or say what"
    ):
        Dataset(tmp_path).compute()
    assert Dataset(tmp_path, dtypes={"x": "string"}).num_rows == 20_002
    (tmp_path / "1.jsonl").write_text('{"x": 1}\nnonsense\n')
    with pytest.raises(DataError, match=r"1.jsonl: the data cannot be read"):
        Dataset(tmp_path / "1.jsonl").compute()
    (tmp_path / "1.arrow").write_bytes(b"garbage")
    with pytest.raises(DataError, match=r"1.arrow: the data cannot be read"):
        Dataset(tmp_path / "1.arrow")


# --- parts of a folder ---


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """As published on a hub: numbered files below `data`, words beside."""
    for number, name in enumerate(["train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"]):
        write(tmp_path / "data" / f"{name}.parquet", pl.DataFrame({"x": [number]}))
    (tmp_path / "README.md").write_text("words")
    return tmp_path


def test_a_split_takes_its_numbered_files(hub: Path) -> None:
    assert Dataset(hub, split="train").compute()["x"].to_list() == [0, 1]
    assert len(Dataset(hub / "data", split="test").files) == 1


def test_splits_are_never_mixed_unseen(hub: Path) -> None:
    with pytest.raises(DataError, match=r"it holds the splits 'test', 'train'. Say which one to read, .*split='train'"):
        Dataset(hub)
    assert Dataset(f"{hub}/data/*").num_rows == 3


def test_an_unknown_split_is_answered_with_the_nearest(hub: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"there is no split 'trian'. Did you mean 'train'\?"):
        Dataset(hub, split="trian")


@pytest.mark.parametrize("name", ["train/x.parquet", "train.csv", "train_0.csv", "a/train-01.jsonl", "train/a/b.arrow"])
def test_a_split_may_be_a_name_or_a_folder(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    write(tmp_path / name.replace("train", "test"))
    assert Dataset(tmp_path, split="train").num_rows == 3
    assert find_files(str(tmp_path), split="train")[0] == (str(tmp_path / name),)


# --- folders that are columns ---


def test_folders_hold_columns_with_types(tmp_path: Path) -> None:
    for day, shop in (("2024-01-02", "7"), ("2024-01-01", "10")):
        write(tmp_path / f"run=3/logs/day={day}/shop={shop}/part.parquet", pl.DataFrame({"x": [int(shop)]}))
    write(tmp_path / "run=3/logs/day=__HIVE_DEFAULT_PARTITION__/shop=8/part.parquet", pl.DataFrame({"x": [8]}))
    expected = [(10, date(2024, 1, 1), 10), (7, date(2024, 1, 2), 7), (8, None, 8)]
    for source in (tmp_path / "run=3" / "logs", tmp_path, f"{tmp_path}/run=3/logs/*/*/*.parquet"):
        dataset = Dataset(source)
        assert dataset.column_names == ["x", "day", "shop"]  # `run` is not right above the files
        assert dataset.compute().rows() == expected
        assert dataset.files == ()
    assert dataset.filter(pl.col("day") == date(2024, 1, 2)).compute().rows() == [expected[1]]
    assert dataset.num_rows == 3
    assert Dataset(dataset, schema=Schema(["shop"])).compute()["shop"].to_list() == [10, 7, 8]


def test_codes_with_leading_zeros_stay_texts(tmp_path: Path) -> None:
    for code in ("007", "7"):
        write(tmp_path / f"code={code}/a.parquet", pl.DataFrame({"x": [1]}))
    assert sorted(Dataset(tmp_path).compute()["code"]) == ["007", "7"]


def test_arrow_files_have_such_folders_too_and_texts_do_not(tmp_path: Path) -> None:
    write(tmp_path / "arrow" / "day=1" / "a.arrow")
    assert Dataset(tmp_path / "arrow").compute()["day"].to_list() == [1, 1, 1]
    write(tmp_path / "text" / "day=1" / "a.csv")
    with pytest.raises(DataError, match=r"folders such as day=... hold columns of parquet and arrow files only, and"):
        Dataset(tmp_path / "text")


def test_files_in_other_folders_than_the_rest_are_named(tmp_path: Path) -> None:
    write(tmp_path / "day=1" / "a.parquet")
    write(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"it lies in folders of 'day', but .*b.parquet in folders of no column. Read"):
        Dataset(tmp_path)


def test_a_schema_that_leaves_the_folders_out_makes_plain_files(tmp_path: Path) -> None:
    written = Dataset(SMALL).to_parquet(tmp_path / "lr=0.1")
    assert written.column_names == ["user", "city"] and len(written.files) == 1


# --- Delta Lake and Iceberg: without their packages here, with them where they are installed ---


@pytest.mark.parametrize(("format", "package"), [("delta", "deltalake"), ("iceberg", "pyiceberg")])
def test_a_table_of_a_lake_is_recognised_and_its_package_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, package: str
) -> None:
    monkeypatch.setattr("tamis.data.lake_tables.find_spec", lambda name: None)
    inner = tmp_path / ("_delta_log" if format == "delta" else "metadata")
    inner.mkdir()
    (inner / "00000-x.metadata.json").write_text("{}")
    write(tmp_path / "data" / "a.parquet")
    message = rf"needs '{package}', which is not installed. Run: pip install 'tamis\[{format}\]'."
    for settings in ({}, {"format": format}):
        with pytest.raises(MissingExtraError, match=message):
            Dataset(tmp_path, **settings)
    with pytest.raises(MissingExtraError, match=message):
        Dataset("s3://bucket/table", format=format)
    assert Dataset(tmp_path, format="parquet").num_rows == 3


def test_the_newest_description_of_an_iceberg_table_counts(tmp_path: Path) -> None:
    from tamis.data.lake_tables import newest_metadata

    (tmp_path / "metadata").mkdir()
    for name in ("00009-a.metadata.json", "00010-b.metadata.json", "v2.metadata.json"):
        (tmp_path / "metadata" / name).write_text("{}")
    newest = str(tmp_path / "metadata" / "00010-b.metadata.json")
    assert newest_metadata(str(tmp_path)) == newest_metadata(newest) == newest
    assert newest_metadata("s3://b/t") == "s3://b/t"
    with pytest.raises(DataError, match=r"it has no metadata/\*.metadata.json. Give the folder of an Iceberg table."):
        newest_metadata(str(tmp_path / "metadata"))


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint8", "uint16"])
def test_small_whole_numbers_come_out_of_json_lines(tmp_path: Path, dtype: str) -> None:
    (tmp_path / "x.jsonl").write_text('{"a": 1, "b": "x"}\n{"a": null, "b": "y"}\n')
    dataset = Dataset(tmp_path / "x.jsonl", dtypes={"a": dtype})
    assert dataset.schema["a"].dtype == dtype and dataset.compute()["a"].to_list() == [1, None]


def test_a_number_too_large_for_its_type_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"a": 300}\n')
    with pytest.raises(DataError, match="300"):
        Dataset(tmp_path / "x.jsonl", dtypes={"a": "int8"}).compute()
