import os
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tamis.datasets import movielens
from tamis.errors import DataError, UnknownNameError
from tamis.schema import Tags


def write_1m(folder: Path) -> Path:
    ratings = ["2::10::4::500", "1::11::3::200", "1::10::5::100", "1::12::1::200", "2::12::2::400"]
    (folder / "ratings.dat").write_text("\n".join(ratings) + "\n", encoding="latin-1")
    (folder / "users.dat").write_text("1::F::1::10::48067\n2::M::56::16::70072-12\n", encoding="latin-1")
    movies = ["10::Amélie, or: a Fable (2001)::Comedy|Romance", "11::M (1931)::Drama", "12::Untitled::Drama"]
    (folder / "movies.dat").write_text("\n".join(movies) + "\n", encoding="latin-1")
    return folder


def test_ratings_come_in_order_of_user_and_time_and_equal_times_in_order_of_the_file(tmp_path: Path) -> None:
    rows = movielens("1m", write_1m(tmp_path)).interactions.compute()
    assert rows.columns == ["user_id", "movie_id", "rating", "timestamp", "position"]
    assert rows.rows() == [
        (1, 10, 5, 100, 0), (1, 11, 3, 200, 1), (1, 12, 1, 200, 2), (2, 12, 2, 400, 0), (2, 10, 4, 500, 1)
    ]  # fmt: skip


def test_users_and_movies_keep_their_text(tmp_path: Path) -> None:
    found = movielens("1m", write_1m(tmp_path))
    assert found.users.compute().rows() == [(1, "F", 1, 10, "48067"), (2, "M", 56, 16, "70072-12")]
    assert found.items.compute().rows() == [
        (10, "Amélie, or: a Fable (2001)", ["Comedy", "Romance"], 2001),
        (11, "M (1931)", ["Drama"], 1931),
        (12, "Untitled", ["Drama"], None),
    ]


def test_the_columns_say_what_they_are(tmp_path: Path) -> None:
    found = movielens("1m", write_1m(tmp_path))
    assert found.interactions.schema.select_by_tag(Tags.ITEM_ID).column_names == ["movie_id"]
    assert found.interactions.schema.select_by_tag(Tags.TARGET).column_names == ["rating"]
    assert found.users.schema.select_by_tag(Tags.USER_ID).column_names == ["user_id"]
    assert found.items.schema["genres"].is_list and found.items.schema["genres"].has_tag(Tags.CATEGORICAL)


def test_parquet_gives_the_same_as_the_original_files(tmp_path: Path) -> None:
    original = movielens("1m", write_1m(tmp_path))
    tables = tmp_path / "tables"
    tables.mkdir()
    original.interactions.compute().drop("timestamp").reverse().write_parquet(tables / "interactions.parquet")
    original.users.compute().write_parquet(tables / "users.parquet")
    original.items.compute().drop("year").write_parquet(tables / "movies.parquet")
    read = movielens("1m", tables)
    assert_frame_equal(read.interactions.compute(), original.interactions.compute().drop("timestamp"))
    assert_frame_equal(read.users.compute(), original.users.compute())
    assert_frame_equal(read.items.compute(), original.items.compute())


def test_the_100k_files_have_the_same_columns(tmp_path: Path) -> None:
    (tmp_path / "u.data").write_text("1\t5\t3\t900\n1\t6\t4\t800\n")
    (tmp_path / "u.user").write_text("1|24|M|technician|85711\n")
    flags = ["0"] * 19
    flags[5] = flags[15] = "1"
    lines = [f"5|Café (1995)|01-Jan-1995||http://x|{'|'.join(flags)}", f"6|unknown||||1|{'|'.join(['0'] * 18)}"]
    (tmp_path / "u.item").write_text("\n".join(lines) + "\n", encoding="latin-1")
    found = movielens("100k", tmp_path)
    assert found.interactions.compute().rows() == [(1, 6, 4, 800, 0), (1, 5, 3, 900, 1)]
    assert found.users.compute().rows(named=True) == [
        {"user_id": 1, "gender": "M", "age": 24, "occupation": "technician", "zip_code": "85711"}
    ]
    assert found.items.compute().rows() == [
        (5, "Café (1995)", ["Comedy", "Sci-Fi"], 1995), (6, "unknown", ["unknown"], None)
    ]  # fmt: skip


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"no data set '1M'\. There are '1m', '100k'"):
        movielens("1M", tmp_path)
    with pytest.raises(DataError, match=r"neither ratings\.dat, users\.dat, movies\.dat nor interactions\.parquet"):
        movielens("1m", tmp_path)
    write_1m(tmp_path)
    (tmp_path / "users.dat").write_text("1::F::1::10::48067\n2::M::56\n")
    with pytest.raises(DataError, match=r"users\.dat, line 2: '2::M::56' does not have 5 parts"):
        movielens("1m", tmp_path)
    (tmp_path / "users.dat").write_text("1::F::old::10::48067\n")
    with pytest.raises(DataError, match=r"users\.dat: a value of 'age' is no whole number \('old'\)"):
        movielens("1m", tmp_path)


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "sizes"), [("1m", (1_000_209, 6_040, 3_883)), ("100k", (100_000, 943, 1_682))])
def test_the_real_tables_are_read_whole_and_in_order(name: str, sizes: tuple[int, int, int]) -> None:
    root = Path(os.environ.get("TAMIS_DATA", Path(__file__).parents[4] / "shared" / "data"))
    if not (root / f"movielens-{name}").is_dir():
        pytest.skip(f"the real data sets are not at {root}")
    found = movielens(name, root / f"movielens-{name}")
    assert (found.interactions.num_rows, found.users.num_rows, found.items.num_rows) == sizes
    rows = found.interactions.compute()
    expected = rows.select(pl.int_range(pl.len(), dtype=pl.Int32).over("user_id"))
    assert rows["position"].equals(expected.to_series())
    assert rows["user_id"].is_sorted()
