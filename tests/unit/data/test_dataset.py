import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from tamis.data.dataset import Dataset, check_ids
from tamis.errors import DataError, FormatError, SettingError, UnknownColumnError
from tamis.schema import ColumnSchema, Schema, Tags

SMALL = pl.DataFrame({"user": [1, 2, 3], "city": ["a", "b", None]})


def write(path: Path, frame: pl.DataFrame = SMALL) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.write_parquet(path)
    return path


def damage(file: Path) -> None:
    """Overwrite the data of the first column, and leave the footer as it is."""
    content = bytearray(file.read_bytes())
    start = pq.ParquetFile(file).metadata.row_group(0).column(0)
    at = start.dictionary_page_offset or start.data_page_offset
    content[at : at + start.total_compressed_size] = b"\xff" * start.total_compressed_size
    file.write_bytes(content)


class Stream:
    """Any other library's frame."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize(
    "convert",
    [
        lambda f: f,
        pl.DataFrame.lazy,
        pl.DataFrame.to_arrow,
        pl.DataFrame.to_pandas,
        lambda f: Stream(f.to_arrow()),
        Dataset,
    ],
    ids=["polars", "lazy", "arrow", "pandas", "stream", "dataset"],
)
def test_every_kind_of_frame_gives_the_same_rows(convert) -> None:
    dataset = Dataset(convert(SMALL))
    assert_frame_equal(dataset.compute(), SMALL)
    assert dataset.num_rows == 3 and dataset.column_names == ["user", "city"] and dataset.files == ()
    assert dataset.schema["city"].dtype == "string"


def test_a_pandas_frame_of_mixed_objects_is_refused() -> None:
    with pytest.raises(DataError, match=r"the frame cannot be read .* Give every column one type first"):
        Dataset(pd.DataFrame({"a": [1, "x", 2.5]}, dtype=object))


@pytest.mark.parametrize("source", [5, None, {"a": [1]}, [1, 2]], ids=repr)
def test_what_is_no_table_is_refused(source: object) -> None:
    with pytest.raises(DataError, match=rf"cannot read a {type(source).__name__}. Give a path, a glob"):
        Dataset(source)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for number, name in enumerate(["b/2.parquet", "a/1.parquet", "a/0.parquet", ".hidden/9.parquet", "a/.x.parquet"]):
        write(tmp_path / name, pl.DataFrame({"x": [number]}))
    (tmp_path / "a" / "notes.txt").write_text("x")
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ("{}", [2, 1, 0]),
        ("{}/a", [2, 1]),
        ("{}/a/1.parquet", [1]),
        ("{}/*/*.parquet", [2, 1, 0]),
        ("{}/**/*.parquet", [2, 1, 0]),
        ("{}/**", [2, 1, 0]),
        ("{}/[b]/?.parquet", [0]),
        ("{}/*", [2, 1, 0]),
        (["{}/b", "{}/a/1.parquet"], [0, 1]),
        (["{}/b", "{}/a/*.parquet"], [0, 2, 1]),
    ],
    ids=str,
)
def test_paths_globs_folders_and_lists_find_their_files_in_order(tree: Path, paths, expected: list[int]) -> None:
    given = paths.format(tree) if isinstance(paths, str) else [Path(path.format(tree)) for path in paths]
    (tree / "a" / "notes.txt").unlink()
    assert Dataset(given).compute()["x"].to_list() == expected


def test_a_relative_path_and_a_tilde_work(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    monkeypatch.setenv("HOME", str(tree))
    assert Dataset("a/*.parquet").num_rows == Dataset("~/a").num_rows == Dataset("~/a/*.parquet").num_rows == 2


def test_signs_of_a_glob_in_a_files_own_name_are_taken_literally(tmp_path: Path) -> None:
    assert Dataset(write(tmp_path / "a[1].parquet")).num_rows == 3


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nothing", r"there is no such file or folder. Check the path."),
        ("nothing/*.parquet", r"no file matches. Check the pattern and the folder."),
        (".", r"the folder holds no data file \(.parquet, .csv, .arrow, .jsonl\). Give the folder that holds them."),
    ],
)
def test_a_path_without_parquet_is_refused(tmp_path: Path, path: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Dataset(tmp_path / path)


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(DataError, match=r"the list of paths is empty. Give at least one path."):
        Dataset([])


def test_the_schema_beside_is_found_in_the_folder_or_the_one_above(tmp_path: Path) -> None:
    file = write(tmp_path / "train" / "0.parquet")
    Schema([ColumnSchema("user", tags=[Tags.USER_ID])]).save(tmp_path)
    for source in (file, tmp_path / "train", f"{tmp_path}/train/*.parquet", [file], tmp_path):
        assert Dataset(source).schema.select_by_tag(Tags.USER_ID).column_names == ["user"]
    Schema([ColumnSchema("city")]).save(tmp_path / "train")
    assert Dataset(tmp_path / "train").column_names == ["city"]
    assert Dataset(tmp_path / "train", schema=Schema(["user"])).column_names == ["user"]


def test_a_schema_beside_that_does_not_fit_is_named(tmp_path: Path) -> None:
    write(tmp_path / "0.parquet")
    Schema(["usr"]).save(tmp_path)
    with pytest.raises(UnknownColumnError, match=r"schema.json: the data has no column 'usr'. Did you mean 'user'\?"):
        Dataset(tmp_path)


def test_a_given_schema_chooses_columns_and_takes_the_dtypes_of_the_data() -> None:
    schema = Schema([ColumnSchema("city", "int8", tags=["place"], is_list=True)])
    dataset = Dataset(SMALL, schema=schema)
    assert dataset.schema == Schema([ColumnSchema("city", "string", tags=["place"])])
    assert dataset.compute().columns == ["city"]
    with pytest.raises(UnknownColumnError, match=r"Dataset: the data has no column 'cty'"):
        Dataset(SMALL, schema=Schema(["cty"]))


def test_selections_of_files_stay_files(tmp_path: Path) -> None:
    dataset = Dataset(write(tmp_path / "0.parquet"))
    selected = dataset.select(["city"])
    assert selected.files == dataset.files and selected.compute().columns == ["city"]
    assert Dataset(dataset, schema=Schema(["user"])).files == dataset.files
    assert dataset.select("user").column_names == dataset.select(Schema(["user"])).column_names == ["user"]
    with pytest.raises(UnknownColumnError):
        dataset.select("usr")


def test_filters_maps_and_samples_are_lazy_rows_of_the_same_schema(tmp_path: Path) -> None:
    schema = Schema([ColumnSchema("user", tags=[Tags.USER_ID])])
    dataset = Dataset(write(tmp_path / "0.parquet"), schema=schema)
    filtered = dataset.filter(pl.col("user") > 1)
    assert filtered.compute()["user"].to_list() == [2, 3] and filtered.files == ()
    assert filtered.schema == dataset.schema
    doubled = dataset.map(lambda rows: rows.select(pl.col("user") * 2), dataset.schema)
    assert doubled.compute()["user"].to_list() == [2, 4, 6]
    assert dataset.head(2)["user"].to_list() == [1, 2]
    assert len(dataset.sample(2, seed=1).compute()) == 2
    assert_frame_equal(dataset.sample(2, seed=1).compute(), dataset.sample(2, seed=1).compute())
    assert dataset.sample(99).num_rows == 3
    assert isinstance(dataset.to_pandas(), pd.DataFrame)


def test_a_filter_may_use_a_column_that_the_schema_leaves_out() -> None:
    dataset = Dataset(SMALL, schema=Schema(["user"]))
    assert dataset.filter(pl.col("city") == "b").compute()["user"].to_list() == [2]


def test_rows_are_counted_from_the_footers_alone(tmp_path: Path) -> None:
    file = write(tmp_path / "0.parquet")
    dataset = Dataset([file, write(tmp_path / "1.parquet")])
    damage(file)
    assert dataset.num_rows == 6


def test_a_file_that_is_no_parquet_is_named_by_whatever_meets_it(tmp_path: Path) -> None:
    write(tmp_path / "0.parquet")
    dataset = Dataset([write(tmp_path / "0.parquet"), write(tmp_path / "1.parquet")])
    (tmp_path / "1.parquet").write_bytes(b"garbage")
    message = r"1.parquet: the data cannot be read \(.*\). Write the file again or leave it out."
    for act in (dataset.compute, lambda: dataset.num_rows, dataset.filter(pl.col("user") > 0).compute):
        with pytest.raises(DataError, match=message):
            act()
    with pytest.raises(DataError, match=message):
        dataset.to_parquet(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataError, match=message):
        Dataset(tmp_path / "1.parquet")


def test_damaged_data_behind_a_good_footer_is_named(tmp_path: Path) -> None:
    frame = pl.DataFrame({"x": range(10_000)})
    files = [write(tmp_path / f"{i}.parquet", frame) for i in range(3)]
    damage(files[1])
    with pytest.raises(DataError, match=r"1.parquet: the data cannot be read"):
        Dataset(files).compute()


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (pl.DataFrame({"user": [1]}), "it has no column 'city', which is in .*0.parquet"),
        (pl.DataFrame({"user": ["x"], "city": ["x"]}), "its column 'user' is large_string, but int64 in .*0.parquet"),
        (SMALL.with_columns(more=pl.lit(1)), "its column 'more' is not in .*0.parquet"),
    ],
)
def test_files_with_other_columns_are_named_with_the_difference(tmp_path: Path, other, reason: str) -> None:
    write(tmp_path / "0.parquet")
    write(tmp_path / "1.parquet", other)
    with pytest.raises(DataError, match=rf"1.parquet: the data cannot be read \({reason}\)"):
        Dataset(tmp_path).compute()


def test_a_computation_that_fails_is_not_blamed_on_the_files(tmp_path: Path) -> None:
    dataset = Dataset(write(tmp_path / "0.parquet"))
    with pytest.raises(DataError, match=r"the rows cannot be computed \(.*\). Check the values and the expressions"):
        dataset.filter(pl.col("city").cast(pl.Int64) > 0).compute()
    with pytest.raises(DataError, match=r"a column is missing \(.*nothing.*\). Check the columns asked for."):
        dataset.filter(pl.col("nothing") > 0)


def test_written_rows_come_back_in_order_in_several_files_and_groups(tmp_path: Path) -> None:
    frame = pl.DataFrame({"x": range(1000), "l": [[i] * (i % 3) for i in range(1000)]})
    schema = Schema([ColumnSchema("x", tags=[Tags.ITEM_ID]), ColumnSchema("l")])
    written = Dataset(frame, schema=schema).to_parquet(tmp_path / "out", rows_per_group=100, rows_per_file=300)
    assert_frame_equal(written.compute(), frame)
    assert written.schema == Dataset(frame, schema=schema).schema == Dataset(tmp_path / "out").schema
    groups = [pq.ParquetFile(file).metadata for file in written.files]
    assert [g.num_rows for g in groups] == [300, 300, 300, 100]
    assert [groups[0].row_group(i).num_rows for i in range(groups[0].num_row_groups)] == [100, 100, 100]


def test_no_rows_are_written_as_one_file_that_tells_the_columns(tmp_path: Path) -> None:
    written = Dataset(SMALL.head(0)).to_parquet(tmp_path / "out")
    assert_frame_equal(written.compute(), SMALL.head(0))
    assert written.num_rows == 0


def test_a_folder_may_be_written_from_its_own_rows(tmp_path: Path) -> None:
    dataset = Dataset(SMALL).to_parquet(tmp_path / "data")
    smaller = Dataset(tmp_path / "data").filter(pl.col("user") > 1).to_parquet(tmp_path / "data")
    assert smaller.compute()["user"].to_list() == [2, 3]
    assert dataset.num_rows == 2  # an older Dataset of the folder reads what is there now
    assert [entry.name for entry in tmp_path.iterdir()] == ["data"]


def test_an_exception_while_writing_leaves_the_old_folder(tmp_path: Path) -> None:
    Dataset(SMALL).to_parquet(tmp_path / "data")

    def broken(frame: pl.DataFrame) -> pl.DataFrame:
        raise RuntimeError("half way")

    dataset = Dataset(SMALL)
    changed = dataset.map(lambda rows: rows.map_batches(broken, schema=SMALL.schema), dataset.schema)
    with pytest.raises((DataError, RuntimeError), match="half way"):
        changed.to_parquet(tmp_path / "data")
    assert_frame_equal(Dataset(tmp_path / "data").compute(), SMALL)
    assert [entry.name for entry in tmp_path.iterdir()] == ["data"]


_WRITER = """
import sys
import polars as pl
from tamis.data.dataset import Dataset

def stuck(frame):
    print("writing", flush=True)
    sys.stdin.read()

dataset = Dataset(pl.DataFrame({"user": [7], "city": ["z"]}))
dataset.map(lambda rows: rows.map_batches(stuck), dataset.schema).to_parquet(sys.argv[1])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_write_leaves_the_old_folder_and_the_next_write_cleans_up(tmp_path: Path) -> None:
    Dataset(SMALL).to_parquet(tmp_path / "data")
    command = [sys.executable, "-c", _WRITER, str(tmp_path / "data")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == "writing\n"
        writer.send_signal(signal.SIGKILL)
    assert_frame_equal(Dataset(tmp_path / "data").compute(), SMALL)
    assert Dataset(tmp_path).num_rows == 3  # the leftover is hidden from a scan of the folder above
    (leftover,) = (entry for entry in tmp_path.iterdir() if entry.name != "data")
    assert leftover.name.startswith(".data.new-")
    os.utime(leftover, (0, 0))
    Dataset(SMALL).to_parquet(tmp_path / "data")
    assert [entry.name for entry in tmp_path.iterdir()] == ["data"]


def test_a_folder_of_other_things_and_settings_of_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("x")
    with pytest.raises(FormatError, match="which is no data of ours"):
        Dataset(SMALL).to_parquet(tmp_path)
    with pytest.raises(SettingError, match=r"rows_per_group is 0, but must be at least 1. Give a larger one."):
        Dataset(SMALL).to_parquet(tmp_path / "x", rows_per_group=0)


def test_the_repr_tells_the_source_and_the_columns(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{i}.parquet") for i in range(2)]
    assert repr(Dataset(SMALL)).splitlines()[0] == "Dataset of a frame"
    assert repr(Dataset(files[0])).splitlines()[0] == f"Dataset of {files[0]}"
    assert repr(Dataset(files)).splitlines()[0] == f"Dataset of 2 files from {files[0]}"
    assert repr(Dataset(files).filter(pl.col("user") > 0)).startswith("Dataset of a computation over parquet\nSchema")
    assert repr(Dataset(SMALL)).splitlines()[2].split() == ["user", "int64"]
    assert Dataset(write(tmp_path / "<b>.parquet"))._repr_html_().count("&lt;b&gt;") == 1


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"id": [1.0, 2.0]}, r"fit: the id column 'id' holds fractional numbers \(float64\). Cast it to whole numbers"),
        ({"id": [1, None, None]}, r"fit: the id column 'id' has 2 nulls. Drop these rows or fill them first."),
        ({"id": [[1], [2]]}, r"fit: the id column 'id' holds lists. Give one id per row: explode it first."),
        ({"id": pl.Series([], dtype=pl.Int64)}, r"fit: the dataset has no rows. Check the path and the filters"),
    ],
)
def test_ids_that_are_none_are_refused(frame, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_ids(Dataset(pl.DataFrame(frame)), ["id"], where="fit")


def test_good_ids_pass_and_unknown_ones_are_named() -> None:
    check_ids(Dataset(SMALL), ["user"], where="fit")
    with pytest.raises(UnknownColumnError):
        check_ids(Dataset(SMALL), ["usr"], where="fit")
