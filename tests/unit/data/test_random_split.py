from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tamis.data.dataset import Dataset
from tamis.data.random_split import split_by_user, split_random
from tamis.errors import DataError, SchemaError, SettingError, UnknownColumnError
from tamis.schema import ColumnSchema, Schema, Tags

SCHEMA = Schema(
    [
        ColumnSchema("user", tags=frozenset({Tags.USER_ID})),
        ColumnSchema("item", tags=frozenset({Tags.ITEM_ID})),
        ColumnSchema("time", tags=frozenset({Tags.TIME})),
    ]
)


def log(num_rows: int = 3000, seed: int = 0) -> pl.DataFrame:
    generator = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "user": generator.integers(0, 400, num_rows),
            "item": generator.integers(0, 30, num_rows),
            "time": generator.integers(0, 50, num_rows),
        }
    )


def sizes(parts: tuple[Dataset, ...]) -> list[int]:
    return [part.num_rows for part in parts]


def test_parts_by_user_have_no_user_in_common_and_all_rows_in_their_order() -> None:
    rows = log().with_row_index("row")
    parts = [part.compute() for part in split_by_user(Dataset(rows), (0.6, 0.3, 0.1), user="user")]
    users = [set(part["user"]) for part in parts]
    assert not users[0] & users[1] and not users[0] & users[2] and not users[1] & users[2]
    assert_frame_equal(pl.concat(parts).sort("row"), rows)
    assert all(part["row"].is_sorted() for part in parts)
    for found, share in zip(users, (0.6, 0.3, 0.1), strict=True):
        assert abs(len(found) / rows["user"].n_unique() - share) < 0.08  # three deviations of 400 draws


def test_a_user_keeps_its_part_whatever_the_order_the_dtype_and_the_rows_added() -> None:
    rows = log()
    more = pl.concat([log(seed=1), rows.reverse()]).cast({"user": pl.Int16})
    first, second = (split_by_user(Dataset(frame), (0.5, 0.5), user="user") for frame in (rows, more))
    for one, other in zip(first, second, strict=True):
        assert set(one.compute()["user"]) <= set(other.compute()["user"])


def test_another_seed_deals_anew() -> None:
    parts = [split_by_user(Dataset(log(), SCHEMA), (0.5, 0.5), seed=seed)[0].compute() for seed in (0, 0, 1)]
    assert_frame_equal(parts[0], parts[1])
    assert set(parts[0]["user"]) != set(parts[2]["user"])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 2)), min_size=60), st.integers(0, 9))
def test_rows_of_one_pair_are_never_torn(rows: list[tuple[int, int, int]], seed: int) -> None:
    frame = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    try:
        parts = split_random(Dataset(frame, SCHEMA), (0.5, 0.5), seed=seed)
    except DataError:  # so few pairs that all went one way
        return
    pairs = [set(part.compute().select("user", "item").iter_rows()) for part in parts]
    assert not pairs[0] & pairs[1]
    assert sum(sizes(parts)) == len(rows)


def test_rows_at_random_have_about_their_shares() -> None:
    rows = pl.DataFrame({"user": range(10_000), "item": range(10_000), "time": 0})
    shares = np.array(sizes(split_random(Dataset(rows, SCHEMA), (0.7, 0.2, 0.1)))) / 10_000
    np.testing.assert_allclose(shares, [0.7, 0.2, 0.1], atol=0.02)


def test_what_stays_together_can_be_named() -> None:
    rows = pl.DataFrame({"user": 1, "item": 1, "time": [*range(100), *range(100)]})
    with pytest.raises(DataError, match="by 'user', 'item'"):  # one pair cannot be in two parts
        split_random(Dataset(rows, SCHEMA), (0.5, 0.5))
    parts = split_random(Dataset(rows, SCHEMA), (0.5, 0.5), together=["user", "item", "time"])
    times = [part.compute()["time"] for part in parts]
    assert not set(times[0]) & set(times[1])
    assert all((found.value_counts()["count"] == 2).all() for found in times)


def test_without_ids_equal_rows_stay_together() -> None:
    rows = pl.DataFrame({"a": [*range(200), *range(200)], "b": ["x"] * 400, "list": [[i] for i in range(400)]})
    parts = [set(part.compute()["a"]) for part in split_random(Dataset(rows), (0.5, 0.5))]
    assert not parts[0] & parts[1] and len(parts[0] | parts[1]) == 200


def test_the_parts_are_lazy_and_keep_columns_and_tags(tmp_path: Path) -> None:
    file = tmp_path / "log.parquet"
    log().write_parquet(file)
    for part in (*split_by_user(Dataset(file, SCHEMA), (0.5, 0.5)), *split_random(Dataset(file, SCHEMA), (0.5, 0.5))):
        assert "PARQUET SCAN" in part.scan().explain().upper()
        assert part.schema.select_by_tag(Tags.ITEM_ID).column_names == ["item"]
        assert part.column_names == ["user", "item", "time"]


def test_what_cannot_be_split_is_said() -> None:
    dataset = Dataset(log())
    for split in (split_by_user, split_random):
        with pytest.raises(SettingError, match=rf"{split.__name__}: fractions is \(0\.5, 0\.6\)\. Give two or more"):
            split(dataset, (0.5, 0.6))
    with pytest.raises(SettingError, match=r"fractions is \(1\.0,\)"):
        split_random(dataset, (1.0,))
    with pytest.raises(SchemaError, match=r"split_by_user: no column is tagged user_id.*`user=`"):
        split_by_user(dataset)
    with pytest.raises(UnknownColumnError, match=r"split_by_user: the data has no column 'usr'.*'user'"):
        split_by_user(dataset, user="usr")
    with pytest.raises(UnknownColumnError, match=r"split_random: the data has no column 'itm'"):
        split_random(dataset, together=["user", "itm"])
    with pytest.raises(DataError, match=r"split_by_user: the id column 'user' has 1 nulls"):
        split_by_user(Dataset(pl.DataFrame({"user": [1, None]})), user="user")
    with pytest.raises(
        DataError, match=r"parts of \(0\.8, 0\.1, 0\.1\) would have 2, 0, 0 rows, by 'user'\. Give other"
    ):
        split_by_user(Dataset(pl.DataFrame({"user": [1, 1]})), user="user")
    with pytest.raises(DataError, match=r"split_random: parts of .* would have 0, 0, 0 rows, by 'user', 'item'"):
        split_random(Dataset(log().head(0), SCHEMA))
    lists = Dataset(pl.DataFrame({"list": [[1], [2]]}))
    with pytest.raises(DataError, match=r"split_random: the column 'list' holds List\(Int64\), which has no stable"):
        split_random(lists, together=["list"])
    with pytest.raises(SettingError, match="split_random: there is no column to tell rows apart by"):
        split_random(lists)
    with pytest.raises(SettingError, match="split_random: there is no column to tell rows apart by"):
        split_random(dataset, together=[])
