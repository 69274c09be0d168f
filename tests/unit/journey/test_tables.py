"""The tables of a configuration become one, or the error says which of them is wrong."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from known_world import interactions, items, users, write_world
from tamis.errors import DataError, UnknownColumnError
from tamis.journey.config import DataConfig, TrainConfig
from tamis.journey.tables import item_columns, joined, split_rows


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    return TrainConfig.read(write_world(tmp_path)).data


def rewrite(path: str, frame: pl.DataFrame) -> None:
    frame.write_parquet(path)


def test_features_of_both_tables_stand_beside_each_interaction(config: DataConfig) -> None:
    rows = joined(config).compute()
    assert rows.columns == ["user", "item", "pet", "age", "tags", "time"]
    assert rows.select("user", "item", "time").equals(interactions().select("user", "item", "time"))  # order kept
    assert all(pet == tags[0] for pet, tags in rows.select("pet", "tags").iter_rows())


def test_an_interaction_without_a_row_in_a_table_stays_with_nulls(config: DataConfig) -> None:
    rewrite(config.users, users().filter(pl.col("user") != "u0"))
    rows = joined(config).compute()
    assert len(rows) == len(interactions())
    assert rows.filter(pl.col("user") == "u0")["pet"].null_count() == 8


def test_only_positives_count_and_the_outcome_stays_beside_them(config: DataConfig) -> None:
    rewrite(config.interactions, interactions().with_columns(liked=(pl.col("time") % 2).cast(pl.Boolean)))
    rows = joined(replace(config, positive_column="liked")).compute()
    assert set(rows["time"]) == {1, 3, 5, 7}
    assert rows["liked"].all()


def test_the_latest_rows_train_and_all_before_the_held_out_are_known(config: DataConfig, tmp_path: Path) -> None:
    parts = split_rows(replace(config, latest=2), tmp_path / "parts")
    times = {name: sorted(set(part.compute()["time"])) for name, part in parts.items()}
    assert times == {"train": [0, 1, 2, 3, 4, 5], "valid": [6], "test": [7], "fit": [4, 5]}


def test_shown_columns_are_all_of_the_item_table_or_those_named(config: DataConfig) -> None:
    everything = item_columns(config)
    assert everything is not None
    assert everything.column_names == ["item", "tags", "title"]
    some = item_columns(replace(config, show=("title",)))
    assert some is not None
    assert some.column_names == ["item", "title"]
    assert item_columns(replace(config, items="")) is None
    with pytest.raises(UnknownColumnError, match=r"items.parquet: .* no column 'titel'. Did you mean 'title'\?"):
        item_columns(replace(config, show=("titel",)))


def test_the_outcome_must_be_a_number(config: DataConfig) -> None:
    rewrite(config.interactions, interactions().with_columns(liked=pl.lit("yes")))
    with pytest.raises(DataError, match=r"the column 'liked' holds string, which cannot be compared with 1.0"):
        joined(replace(config, positive_column="liked"))


def test_ids_of_another_kind_are_refused_before_the_join(config: DataConfig) -> None:
    rewrite(config.users, users().with_columns(user=pl.int_range(pl.len())))
    with pytest.raises(DataError, match=r"users.parquet: 'user' holds int64, but string in .*interactions.parquet"):
        joined(config)


def test_a_row_without_its_place_in_time_is_refused(config: DataConfig) -> None:
    rewrite(config.interactions, interactions().with_columns(time=pl.when(pl.col("time") > 1).then("time")))
    with pytest.raises(DataError, match=r"120 rows have no 'time', so their place is not known"):
        joined(config)


def test_a_feature_that_is_in_no_table_is_answered_with_the_nearest_of_all(config: DataConfig) -> None:
    with pytest.raises(UnknownColumnError, match=r"no column 'tgs'. Did you mean 'tags'\?"):
        joined(replace(config, item_features=("tgs",)))


def test_a_table_broken_in_its_middle_is_named(config: DataConfig) -> None:
    """Its footer is fine, so it is found out only when the rows are read."""
    people = pl.concat([users().with_columns(user=pl.format("{}-{}", "user", pl.lit(i))) for i in range(20)])
    rewrite(config.users, pl.concat([users(), people]))
    content = bytearray(Path(config.users).read_bytes())
    content[60:400] = b"\xff" * 340
    Path(config.users).write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"users.parquet: the data cannot be read"):
        joined(config)


def test_a_column_of_two_tables_comes_from_the_interactions(config: DataConfig) -> None:
    rewrite(config.users, users().with_columns(time=pl.lit(-1)))
    rewrite(config.items, items().with_columns(pet=pl.lit("fish")))
    rows = joined(config).compute()
    assert rows["time"].min() == 0
    assert "fish" not in set(rows["pet"])  # the users' table comes first


def test_of_rows_of_one_moment_the_later_in_the_file_is_the_latest(tmp_path: Path) -> None:
    """As in the split itself: otherwise training would see other rows than the ones just before validation."""
    rows = pl.DataFrame({"user": ["a"] * 6, "item": list("123456"), "time": [0, 1, 1, 1, 2, 3]})
    rows.write_parquet(tmp_path / "i.parquet")
    parts = split_rows(DataConfig(str(tmp_path / "i.parquet"), "user", "item", order="time", latest=2), tmp_path / "p")
    assert parts["train"].compute()["item"].to_list() == ["1", "2", "3", "4"]
    assert parts["fit"].compute()["item"].to_list() == ["3", "4"]


def test_more_latest_rows_than_a_user_has_are_all_of_them(config: DataConfig, tmp_path: Path) -> None:
    assert split_rows(replace(config, latest=99), tmp_path / "parts")["fit"].num_rows == 60 * 6


def test_without_an_order_the_latest_rows_are_the_last_in_the_file(tmp_path: Path) -> None:
    pl.DataFrame({"user": list("abababab"), "item": list("12345678")}).write_parquet(tmp_path / "i.parquet")
    parts = split_rows(DataConfig(str(tmp_path / "i.parquet"), "user", "item", latest=1), tmp_path / "p")
    assert parts["fit"].compute()["item"].to_list() == ["3", "4"]


@pytest.mark.parametrize("which", ["interactions", "users"])
def test_categorical_ids_join_with_text(config: DataConfig, which: str) -> None:
    frame = {"interactions": interactions, "users": users}[which]()
    rewrite(getattr(config, which), frame.with_columns(pl.col("user").cast(pl.Categorical)))
    assert joined(config).compute()["pet"].null_count() == 0


@pytest.mark.parametrize(
    ("dtype", "message"), [(pl.Float64, "fractional numbers"), (pl.List(pl.String), "holds lists")]
)
def test_ids_of_a_table_are_checked_as_those_of_the_interactions(
    config: DataConfig, dtype: pl.DataType, message: str
) -> None:
    rewrite(config.users, users().with_columns(user=pl.int_range(pl.len()).cast(pl.Int64)))
    rewrite(config.interactions, interactions().with_columns(user=pl.col("user").str.slice(1).cast(pl.Int64)))
    rewrite(config.users, users().with_columns(user=pl.lit(None, dtype)))
    with pytest.raises(DataError, match=rf"users.parquet: the id column 'user' .*{message}"):
        joined(config)


def test_a_list_is_no_id(config: DataConfig) -> None:
    rewrite(config.interactions, interactions().with_columns(user=pl.concat_list("user")))
    with pytest.raises(DataError, match=r"the id column 'user' holds lists. Give one id per row"):
        joined(config)


def test_nan_is_no_place_in_time(config: DataConfig) -> None:
    time = pl.when(pl.col("time") > 1).then(pl.col("time").cast(pl.Float64)).otherwise(float("nan"))
    rewrite(config.interactions, interactions().with_columns(time=time))
    with pytest.raises(DataError, match=r"120 rows have no 'time', so their place is not known"):
        joined(config)
