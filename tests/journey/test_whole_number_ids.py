"""The known world with whole numbers as ids, through the commands as a shell runs them."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from known_world import interactions, items, kind_of, users, write_world
from tamis import Recommender
from tamis.journey.config import TrainConfig
from tamis.journey.pipeline import train


def numbered(frame: pl.DataFrame, column: str, dtype: type[pl.DataType]) -> pl.DataFrame:
    return frame.with_columns(pl.col(column).str.slice(1).cast(dtype))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ids have another width in each table, as happens; user 4 has no row in the users' table."""
    place = tmp_path_factory.mktemp("numbers")
    file = write_world(place)
    rows = numbered(numbered(interactions(), "user", pl.Int64), "item", pl.Int32)
    rows.write_parquet(place / "interactions.parquet")
    numbered(users(), "user", pl.UInt16).filter(pl.col("user") != 4).write_parquet(place / "users.parquet")
    priced = items().with_columns(price=pl.when(pl.col("item") == "i0").then(float("nan")).otherwise(1.5))
    numbered(priced, "item", pl.Int64).write_parquet(place / "items.parquet")
    train(TrainConfig.read(file), say=lambda line: None, verbose=False)
    return place / "out"


def tamis(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from tamis.cli import cli; cli()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_users_get_items_of_their_kind_in_the_dtype_of_the_interactions(folder: Path) -> None:
    recommender = Recommender.load(folder / "recommender")
    found = recommender.recommend(range(60), k=3)
    assert (found.schema["user"], found.schema["item"]) == (pl.Int64, pl.Int32)
    right = [kind_of(user) == kind_of(item) for user, item in found.select("user", "item").iter_rows()]
    assert sum(right) / len(right) > 0.95
    for asked in (["7", 7], [7.0, 7]):
        assert recommender.recommend(asked, k=1)["sources"].to_list() == [["retrieval"]] * 2
    assert recommender.recommend([7.5], k=1)["sources"].to_list() == [["popularity"]]
    shown = recommender.recommend([1], k=24, exclude_seen=False, show=["title"])
    assert all(title.endswith(f"no. {item}") for item, title in shown.select("item", "title").iter_rows())


def test_the_shell_gets_json_alone_on_stdout(folder: Path) -> None:
    asked = ("--user", "4", "--user", "x", "--k", "24", "--include-seen", "--show", "price", "--json")
    done = tamis("recommend", str(folder), *asked)
    assert done.returncode == 0, done.stderr
    assert "NaN" not in done.stdout  # JSON has none
    rows = json.loads(done.stdout)
    assert [row["user"] for row in rows] == [4] * 24 + [None] * 24
    assert {row["price"] for row in rows} == {None, 1.5}
    assert done.stderr == "Not known, so answered with the most popular items: x\n"


def test_the_shell_gets_one_line_and_the_exit_code_of_a_mistake(folder: Path) -> None:
    done = tamis("recommend", str(folder), "--user", "1", "--k", "99")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: recommend: k is 99, but the catalogue has 24 items. Choose 1 to 24.\n"
    with_traceback = tamis("--debug", "recommend", str(folder), "--user", "1", "--k", "99")
    assert with_traceback.returncode == 1
    assert "Traceback (most recent call last)" in with_traceback.stderr
