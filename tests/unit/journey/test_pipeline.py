"""Bad input to a training: an error with place, value and way out, and nothing written."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from known_world import interactions, users, write_world
from tamis import Dataset
from tamis.errors import DataError, NonFiniteLossError, SettingError, TamisError, UnknownColumnError
from tamis.journey.config import TrainConfig
from tamis.journey.pipeline import train

Change = Callable[[Path, str], str]


def table(name: str, frame: Callable[[], pl.DataFrame]) -> Change:
    """Replaces one of the tables; the TOML text stays."""

    def change(folder: Path, text: str) -> str:
        frame().write_parquet(folder / f"{name}.parquet")
        return text

    return change


def text(old: str, new: str) -> Change:
    """Replaces something in the TOML text."""
    return lambda folder, toml: toml.replace(old, new)


def corrupt(folder: Path, toml: str) -> str:
    (folder / "interactions.parquet").write_bytes(b"PAR1 this is no parquet file PAR1")
    return toml


def missing(folder: Path, toml: str) -> str:
    (folder / "users.parquet").unlink()
    return toml


CASES: list[tuple[Change, type[TamisError], str]] = [
    (text('user_id = "user"', 'user_id = "usr"'), UnknownColumnError, r"no column 'usr'. Did you mean 'user'\?"),
    (text('["tags"]', '["tgs"]'), UnknownColumnError, r"no column 'tgs'. Did you mean 'tags'\?"),
    (text('order = "time"', 'order = "tme"'), UnknownColumnError, r"no column 'tme'. Did you mean 'time'\?"),
    (missing, DataError, r"users.parquet: there is no such file"),
    (corrupt, DataError, r"interactions.parquet: .*cannot be read"),
    (
        table("interactions", lambda: interactions().with_columns(user=pl.when(pl.col("time") > 0).then("user"))),
        DataError,
        r"the id column 'user' has 60 nulls. Drop these rows",
    ),
    (
        table("interactions", lambda: interactions().with_columns(item=pl.lit(1.5))),
        DataError,
        r"the id column 'item' holds fractional numbers \(float64\)",
    ),
    (table("interactions", lambda: interactions().head(0)), DataError, r"interactions.parquet: .*no rows"),
    (
        table("interactions", lambda: interactions().filter(pl.col("time") < 2)),
        DataError,
        r"no rows are left for valid. Users need three rows or more",
    ),
    (
        table("users", lambda: pl.concat([users(), users().head(2)])),
        DataError,
        r"users.parquet: 'user' is not unique, so rows would double",
    ),
    (table("users", lambda: users().drop("user")), UnknownColumnError, r"users.parquet: the data has no column 'user'"),
    (
        text('order = "time"', 'order = "time"\npositive_column = "liked"'),
        DataError,
        r"the column 'liked' holds only the value 1.0, so it cannot tell positives from the rest",
    ),
    (
        text('order = "time"', 'order = "time"\npositive_column = "time"\npositive_min = 99'),
        DataError,
        r"the column 'time' goes from 0 to 7, so no row reaches 99.0. Lower positive_min",
    ),
    (text("learning_rate = 0.02", "learning_rate = 1e30"), NonFiniteLossError, r"the loss is nan at step \d+, epoch 1"),
    (
        text("learning_rate = 0.02", "learning_rate = 0.0"),
        SettingError,
        r"the learning rate is 0.0. Choose one above 0",
    ),
    (text("batch_size = 64", "batch_size = 0"), SettingError, r"batch_size is 0"),
    (text("dim = 8", "dim = -1"), SettingError, r"'embedding_dim_default' is -1"),
]


@pytest.mark.parametrize(("change", "error", "message"), CASES, ids=range(len(CASES)))
@pytest.mark.parametrize("has_old", [False, True], ids=["new", "replacing"])
def test_bad_input_writes_nothing(
    tmp_path: Path, change: Change, error: type[TamisError], message: str, has_old: bool
) -> None:
    file = write_world(tmp_path)
    if has_old:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "manifest.json").write_text("old")
    file.write_text(change(tmp_path, file.read_text()))
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(error, match=message):
        train(TrainConfig.read(file), say=lambda line: None, verbose=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    if has_old:
        assert (tmp_path / "out" / "manifest.json").read_text() == "old"


def test_what_is_evaluated_later_counts_the_same_rows_as_positives(tmp_path: Path) -> None:
    """The filter is in the workflow, so held-out rows below `positive_min` are no positives either."""
    file = write_world(tmp_path)
    rows = interactions().with_columns(liked=pl.when(pl.col("time") == 3).then(1.0).otherwise(5.0))
    rows.write_parquet(tmp_path / "interactions.parquet")
    wanted = 'order = "time"\npositive_column = "liked"\npositive_min = 4'
    file.write_text(file.read_text().replace('order = "time"', wanted).replace("epochs = 12", "epochs = 1"))
    trained = train(TrainConfig.read(file), say=lambda line: None, verbose=False)
    assert "liked" not in trained.recommender.workflow.output_schema
    both = trained.recommender.evaluate(Dataset(rows), metrics=["recall_at_24"])
    liked = trained.recommender.evaluate(Dataset(rows.filter(pl.col("liked") > 4)), metrics=["recall_at_24"])
    assert both == liked
    with pytest.raises(DataError, match="of 0 positive held-out rows"):
        trained.recommender.evaluate(Dataset(rows.filter(pl.col("liked") < 4)))
