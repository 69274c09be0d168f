"""MovieLens 1M and 100K, from their original files or from parquet, under the same column names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tamis.data.dataset import Dataset
from tamis.errors import DataError, UnknownNameError
from tamis.schema import ColumnSchema, Schema, Tags

_GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip


@dataclass(frozen=True)
class MovieLens:
    """Who rated what, who they are, and what it is.

    - `interactions`: user_id, movie_id, rating, position, and timestamp (seconds) where the source has it; sorted by
      user and time. `position` counts a user's ratings from 0; equal times stay in the order of the file.
    - `users`: user_id, gender, age, occupation, zip_code.
    - `items`: movie_id, title, genres, year.
    """

    interactions: Dataset
    users: Dataset
    items: Dataset


def movielens(name: str, path: str | Path) -> MovieLens:
    """The data set of that name out of a folder.

    Args:
        name: `"1m"` or `"100k"`.
        path: a folder with the original files (`ratings.dat`, `users.dat`, `movies.dat`; for 100k `u.data`, `u.user`,
            `u.item`), or with the tables `interactions`/`ratings`, `users`, `movies` as parquet.

    Raises:
        UnknownNameError: another name.
        DataError: the folder has neither, or a line of a file has the wrong number of parts.
    """
    if name not in _READERS:
        raise UnknownNameError(name, _READERS, where="movielens", what="data set")
    originals, read = _READERS[name]
    folder = Path(path)
    tables = [_table(folder, names) for names in _TABLES]
    if all(tables):
        frames = [pl.scan_parquet(table).collect() for table in tables if table]
    elif all((folder / file).is_file() for file in originals):
        frames = read(folder)
    else:
        raise DataError(
            f"{folder}: it holds neither {', '.join(originals)} nor interactions.parquet, users.parquet, "
            "movies.parquet. Give the folder that holds one of these sets."
        )
    interactions, users, movies = frames
    return MovieLens(_interactions(interactions), Dataset(_same_dtypes(users), schema=_USERS), _items(movies))


_WHOLE: dict[str, type[pl.DataType]] = {
    "user_id": pl.Int32,
    "movie_id": pl.Int32,
    "age": pl.Int32,
    "rating": pl.Int8,
    "timestamp": pl.Int64,
}
_TABLES = (("interactions", "ratings"), ("users",), ("movies",))


def _table(folder: Path, names: Sequence[str]) -> Path | None:
    return next((file for name in names if (file := folder / f"{name}.parquet").is_file()), None)


def _interactions(ratings: pl.DataFrame) -> Dataset:
    ratings = _same_dtypes(ratings)
    if "position" not in ratings.columns:
        ratings = ratings.sort("user_id", "timestamp", maintain_order=True)
        place = pl.int_range(pl.len(), dtype=pl.Int32).over("user_id")
        ratings = ratings.with_columns(place.alias("position"))
    else:
        ratings = ratings.sort("user_id", "position")
    return Dataset(ratings, schema=_INTERACTIONS.select([c for c in _INTERACTIONS.column_names if c in ratings]))


def _items(movies: pl.DataFrame) -> Dataset:
    if "year" not in movies.columns:
        movies = movies.with_columns(_year())
    return Dataset(_same_dtypes(movies), schema=_ITEMS)


def _same_dtypes(table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(pl.col(name).cast(dtype) for name, dtype in _WHOLE.items() if name in table.columns)


def _year() -> pl.Expr:
    return pl.col("title").str.extract(r"\((\d{4})\)\s*$").cast(pl.Int32).alias("year")


def _read_1m(folder: Path) -> list[pl.DataFrame]:
    ratings = _lines(folder / "ratings.dat", "::", ["user_id", "movie_id", "rating", "timestamp"])
    users = _lines(folder / "users.dat", "::", ["user_id", "gender", "age", "occupation", "zip_code"])
    movies = _lines(folder / "movies.dat", "::", ["movie_id", "title", "genres"])
    users = users.with_columns(_number(users["occupation"], pl.Int32, folder / "users.dat"))  # a word in 100k
    return [ratings, users, movies.with_columns(pl.col("genres").str.split("|"))]


def _read_100k(folder: Path) -> list[pl.DataFrame]:
    ratings = _lines(folder / "u.data", "\t", ["user_id", "movie_id", "rating", "timestamp"])
    users = _lines(folder / "u.user", "|", ["user_id", "age", "gender", "occupation", "zip_code"])
    head = ["movie_id", "title", "release_date", "video_release_date", "imdb_url"]
    movies = _lines(folder / "u.item", "|", [*head, *_GENRES_100K])
    genres = pl.concat_list([pl.when(pl.col(g) == "1").then(pl.lit(g)) for g in _GENRES_100K]).list.drop_nulls()
    return [ratings, users, movies.select("movie_id", "title", genres.alias("genres"))]


def _lines(file: Path, separator: str, names: Sequence[str]) -> pl.DataFrame:
    """The parts of each line of a Latin-1 file; the ones named in `_WHOLE` as numbers."""
    text = file.read_text(encoding="latin-1").splitlines()
    lines = pl.DataFrame({"line": text}).filter(pl.col("line") != "")
    parts = lines.select(pl.col("line").str.split(separator))["line"]
    wrong = (parts.list.len() != len(names)).arg_true()
    if len(wrong):
        raise DataError(
            f"{file}, line {wrong[0] + 1}: {text[wrong[0]]!r} does not have {len(names)} parts ({', '.join(names)}) "
            f"between {separator!r}. Take the original file."
        )
    table = parts.list.to_struct(fields=list(names)).struct.unnest()
    return table.with_columns(_number(table[name], _WHOLE[name], file) for name in names if name in _WHOLE)


def _number(text: pl.Series, dtype: type[pl.DataType], file: Path) -> pl.Series:
    numbers = text.cast(dtype, strict=False)
    if numbers.null_count():
        wrong = text.filter(numbers.is_null())[0]
        raise DataError(f"{file}: a value of {text.name!r} is no whole number ({wrong!r}). Take the original file.")
    return numbers


_READERS: dict[str, tuple[tuple[str, ...], Callable[[Path], list[pl.DataFrame]]]] = {
    "1m": (("ratings.dat", "users.dat", "movies.dat"), _read_1m),
    "100k": (("u.data", "u.user", "u.item"), _read_100k),
}


def _categorical(name: str, *tags: str) -> ColumnSchema:
    return ColumnSchema(name, tags=frozenset({Tags.CATEGORICAL, *tags}))


_INTERACTIONS = Schema(
    [
        _categorical("user_id", Tags.USER_ID),
        _categorical("movie_id", Tags.ITEM_ID),
        ColumnSchema("rating", tags=frozenset({Tags.TARGET, Tags.REGRESSION})),
        ColumnSchema("timestamp", tags=frozenset({Tags.TIME})),
        ColumnSchema("position"),
    ]
)
_USERS = Schema(
    [
        _categorical("user_id", Tags.USER_ID),
        *(_categorical(name, Tags.USER) for name in ("gender", "age", "occupation", "zip_code")),
    ]
)
_ITEMS = Schema(
    [
        _categorical("movie_id", Tags.ITEM_ID),
        ColumnSchema("title", tags=frozenset({Tags.ITEM, Tags.TEXT})),
        _categorical("genres", Tags.ITEM, Tags.LIST),
        _categorical("year", Tags.ITEM),
    ]
)
