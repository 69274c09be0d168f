"""Rows of a group come in one batch, whatever the data's size and order."""

import itertools
import json
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.data.dataset import Dataset
from tamis.data.grouped_rows import BucketSource, group_order
from tamis.data.loader import Loader
from tamis.errors import DataError, SettingError, UnknownColumnError
from tamis.schema import ColumnSchema, Schema, Tags

SCHEMA = Schema([ColumnSchema("row"), ColumnSchema("user"), ColumnSchema("click", tags=[Tags.TARGET])])
often = settings(max_examples=60, deadline=None, derandomize=True)


def frame_of(num_rows: int = 3000, num_users: int = 400) -> pl.DataFrame:
    """Users of very different numbers of rows, all over the data."""
    user = (np.random.default_rng(3).random(num_rows) ** 3 * num_users).astype(np.int64)
    row = np.arange(num_rows)
    return pl.DataFrame({"row": row, "user": user, "click": row % 2})


FRAME = frame_of()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("grouped") / "rows"
    return Dataset(FRAME, schema=SCHEMA).to_parquet(path, rows_per_group=100, rows_per_file=700)


def batches(loader: Loader) -> list[list[int]]:
    return [batch.features["row"].tolist() for batch in loader]


def flat(lists: list[list[int]]) -> list[int]:
    return [row for one in lists for row in one]


@often
@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(1, 70), st.integers(0, 5))
def test_an_order_of_groups_tears_none_that_fits(key: list[int], most: int, seed: int) -> None:
    order, starts = group_order(np.array(key), most, np.random.default_rng(seed))
    assert sorted(order) == list(range(len(key))) and starts[0] == 0 and starts[-1] == len(key)
    parts = [[key[row] for row in order[a:b]] for a, b in itertools.pairwise(starts)]
    assert all(len(set(part)) == 1 and len(part) <= most for part in parts)
    for name, size in Counter(key).items():
        sizes = [len(part) for part in parts if part[0] == name]
        assert sum(sizes) == size and len(sizes) == -(-size // most) and max(sizes) - min(sizes) <= 1
    runs = [name for i, name in enumerate(np.array(key)[order]) if i == 0 or name != np.array(key)[order][i - 1]]
    assert len(runs) == len(set(key))


@pytest.mark.parametrize("buffer_rows", [1, 500, 10_000])
@pytest.mark.parametrize("batch_size", [1, 40, 256, 2999, 5000])
@pytest.mark.parametrize("in_memory", [True, False])
def test_every_row_comes_once_and_no_group_that_fits_is_torn(
    files: Dataset, buffer_rows: int, batch_size: int, in_memory: bool
) -> None:
    dataset = Dataset(FRAME, schema=SCHEMA) if in_memory else files
    loader = Loader(dataset, batch_size, group="user", buffer_rows=buffer_rows)
    size_of, rows, batches_of = Counter(FRAME["user"].to_list()), [], {}
    for number, batch in enumerate(loader):
        assert torch.equal(batch.targets["click"], batch.features["row"] % 2)
        assert len(batch) < 2 * batch_size or len(loader) == 1
        users = batch.features["user"].tolist()
        assert users == FRAME["user"].gather(batch.features["row"].tolist()).to_list()
        changes = 1 + sum(a != b for a, b in itertools.pairwise(users))
        assert changes == len(set(users))  # beside each other
        rows += batch.features["row"].tolist()
        for user in set(users):
            batches_of.setdefault(user, []).append(number)
    assert sorted(rows) == list(range(len(FRAME)))
    assert number + 1 == len(loader) == max(len(FRAME) // batch_size, 1)
    assert all(len(found) == 1 for user, found in batches_of.items() if size_of[user] <= batch_size)
    if batch_size == 40:
        assert max(map(len, batches_of.values())) > 1  # some users have more rows than that


@pytest.mark.parametrize("buffer_rows", [500, 10_000])
@pytest.mark.parametrize("stop", [0, 1, 7, 23, 46, 50])
def test_a_state_resumes_to_the_very_same_batches(files: Dataset, buffer_rows: int, stop: int) -> None:
    def taken(loader: Loader, number: int) -> list[list[int]]:
        found: list[list[int]] = []
        while len(found) < number:
            for batch in loader:
                found.append(batch.features["row"].tolist())
                if len(found) == number:
                    break
        return found

    def make() -> Loader:
        return Loader(files, 64, group="user", buffer_rows=buffer_rows)

    expected = taken(make(), stop + 10)
    loader = make()
    assert taken(loader, stop) == expected[:stop]
    resumed = make()
    resumed.load_state_dict(json.loads(json.dumps(loader.state_dict())))
    assert taken(resumed, 10) == expected[stop:]


def test_seed_and_epoch_choose_the_order(files: Dataset) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        loader = Loader(files, 64, seed=seed, buffer_rows=800, group="user")
        loader.set_epoch(epoch)
        return flat(batches(loader))

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1) and order(0, 0) != order(1, 0)


def test_rows_of_large_data_go_to_buckets_that_hold_whole_groups_and_then_go_away(files: Dataset) -> None:
    loader = Loader(files, 64, group="user", buffer_rows=500)
    source = loader._source
    assert isinstance(source, BucketSource) and sum(source.group_rows) == len(FRAME) and len(source.group_rows) > 3
    held = [set(pl.read_parquet(file)["user"]) for file in source._files]
    assert sum(map(len, held)) == FRAME["user"].n_unique()
    folder = Path(source._files[0]).parent
    assert folder.is_dir()
    del loader, source
    assert not folder.exists()


def test_memory_holds_pools_and_not_the_data(tmp_path: Path) -> None:
    wide = frame_of(200_000, 20_000).with_columns(*[pl.col("row").alias(f"c{i}") for i in range(20)])
    dataset = Dataset(wide).to_parquet(tmp_path / "wide", rows_per_group=4000)
    loader = Loader(dataset, 500, group="user", buffer_rows=10_000)
    tracemalloc.start()
    total = sum(len(batch) for batch in loader)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == len(wide)
    assert peak < 200_000 * 23 * 8 / 4  # what numpy holds; the whole would take 37 MB


def test_the_group_need_not_be_among_the_columns_and_may_be_a_target(files: Dataset) -> None:
    batch = next(iter(Loader(files, 64, columns=["row"], targets=[], group="user")))
    assert set(batch.features) == {"row", "user"}
    batch = next(iter(Loader(files, 64, columns=["row"], targets=["user"], group="user")))
    assert set(batch.features) == {"row"} and set(batch.targets) == {"user"}


def test_a_group_that_says_nothing_of_belonging_is_refused(files: Dataset) -> None:
    frame = FRAME.with_columns(half=pl.col("user") / 2, both=pl.concat_list("user", "user"), name=pl.lit("a"))
    dataset = Dataset(frame)
    with pytest.raises(DataError, match=r"the group column 'half' holds numbers with a fraction\. Name one of whole"):
        Loader(dataset, columns=["row"], group="half")
    with pytest.raises(DataError, match=r"the group column 'both' holds several numbers a row"):
        Loader(dataset, columns=["row"], group="both")
    with pytest.raises(DataError, match=r"'name' holds string, which no tensor can hold\. Categorify it first"):
        Loader(dataset, columns=["row"], group="name")
    with pytest.raises(UnknownColumnError, match="no column 'usr'"):
        Loader(files, group="usr")
    for other in ({"shuffle": False}, {"world_size": 2}):
        with pytest.raises(SettingError, match=r"Loader: group='user' keeps rows together while they are shuffled"):
            Loader(files, group="user", **other)  # type: ignore[arg-type]
