import gc
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from tamis.data.dataset import Dataset
from tamis.data.loader import Loader, deal
from tamis.data.row_source import FrameSource, ParquetSource, Piece, pieces_of, reads_files
from tamis.errors import DataError, SettingError, UnknownColumnError
from tamis.schema import ColumnSchema, Schema, Tags

SCHEMA = Schema([ColumnSchema("row"), ColumnSchema("click", tags=[Tags.TARGET])])


def frame_of(num_rows: int) -> pl.DataFrame:
    row = pl.int_range(num_rows, eager=True)
    return pl.DataFrame({"row": row, "click": row % 2})


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """1,003 rows in row groups of 50 and files of 200."""
    path = tmp_path_factory.mktemp("loader") / "thousand"
    return Dataset(frame_of(1003), schema=SCHEMA).to_parquet(path, rows_per_group=50, rows_per_file=200)


def batches(loader: Loader) -> list[list[int]]:
    return [batch.features["row"].tolist() for batch in loader]


def flat(lists: list[list[int]]) -> list[int]:
    return [row for one in lists for row in one]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("buffer_rows", [1, 120, 10_000])
@pytest.mark.parametrize("batch_size", [1, 64, 1003, 5000])
def test_every_row_comes_once_with_its_target(thousand: Dataset, shuffle, buffer_rows, batch_size) -> None:
    loader = Loader(thousand, batch_size, shuffle=shuffle, buffer_rows=buffer_rows)
    rows, sizes = [], []
    for batch in loader:
        assert torch.equal(batch.targets["click"], batch.features["row"] % 2)
        rows += batch.features["row"].tolist()
        sizes.append(len(batch))
    assert sorted(rows) == list(range(1003))
    assert len(sizes) == len(loader) and set(sizes[:-1]) <= {batch_size}
    assert (rows == list(range(1003))) is (not shuffle)


def test_the_last_small_batch_may_be_dropped(thousand: Dataset) -> None:
    loader = Loader(thousand, 100, drop_last=True)
    assert [len(batch) for batch in loader] == [100] * 10 and len(loader) == 10


def test_seed_and_epoch_choose_the_order(thousand: Dataset) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        loader = Loader(thousand, 64, seed=seed, buffer_rows=200)
        loader.set_epoch(epoch)
        return flat(batches(loader))

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1) and order(0, 0) != order(1, 0)
    loader = Loader(thousand, 64, seed=0, buffer_rows=200)
    assert [flat(batches(loader)), flat(batches(loader))] == [order(0, 0), order(0, 1)] and loader.epoch == 2


def test_an_iteration_broken_off_starts_its_epoch_again(thousand: Dataset) -> None:
    loader = Loader(thousand, 64)
    first = next(iter(loader)).features["row"].tolist()
    assert batches(loader)[0] == first and loader.epoch == 1


@pytest.mark.parametrize("buffer_rows", [150, 10_000])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("stop", [0, 1, 7, 15, 16, 20])
def test_a_state_resumes_to_the_very_same_batches(thousand: Dataset, buffer_rows, shuffle, stop) -> None:
    def make() -> Loader:
        return Loader(thousand, 64, shuffle=shuffle, buffer_rows=buffer_rows)

    def endless(loader: Loader) -> Iterator[list[int]]:
        while True:
            for batch in loader:
                yield batch.features["row"].tolist()

    whole = endless(make())
    expected = [next(whole) for _ in range(stop + 20)]
    loader = make()
    some = endless(loader)
    for number in range(stop):
        assert next(some) == expected[number]
    resumed = make()
    resumed.load_state_dict(json.loads(json.dumps(loader.state_dict())))
    assert resumed.state_dict() == loader.state_dict()
    rest = endless(resumed)
    assert [next(rest) for _ in range(20)] == expected[stop:]


def test_pools_before_the_resumed_batch_are_not_read(thousand: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = Loader(thousand, 50, shuffle=False)
    loader.load_state_dict({**loader.state_dict(), "batch": 18})
    read: list[int] = []
    original = ParquetSource.read
    monkeypatch.setattr(ParquetSource, "read", lambda self, piece: read.append(piece.group) or original(self, piece))
    assert flat(batches(loader)) == list(range(900, 1003))
    assert read == [18, 19, 20]


@pytest.mark.parametrize(
    ("other", "name"),
    [({"seed": 1}, "seed"), ({"batch_size": 65}, "batch_size"), ({"shuffle": False}, "shuffle")],
)
def test_a_state_of_other_settings_is_refused(thousand: Dataset, other, name: str) -> None:
    state = Loader(thousand, **{"batch_size": 64, **other}).state_dict()
    with pytest.raises(SettingError, match=rf"the state was saved with {name}=.*Use the same data and settings"):
        Loader(thousand, 64).load_state_dict(state)


def test_a_state_of_other_data_is_refused(thousand: Dataset, tmp_path: Path) -> None:
    state = Loader(thousand).state_dict()
    with pytest.raises(SettingError, match=r"saved with num_rows=1003, but here it is 7"):
        Loader(Dataset(frame_of(7), schema=SCHEMA)).load_state_dict(state)
    with pytest.raises(SettingError, match=r"saved with layout="):  # the same rows in other row groups
        Loader(Dataset(frame_of(1003), schema=SCHEMA)).load_state_dict(state)


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_ranks_share_the_rows_evenly_and_completely(thousand: Dataset, world_size: int) -> None:
    loaders = [Loader(thousand, 32, rank=rank, world_size=world_size) for rank in range(world_size)]
    sizes = [loader.num_rows for loader in loaders]
    assert max(sizes) - min(sizes) <= 1
    rows = [sorted(flat(batches(loader))) for loader in loaders]
    assert [len(one) for one in rows] == sizes and flat(rows) == list(range(1003))


def test_memory_holds_two_pools_whatever_the_size_of_the_data(thousand: Dataset) -> None:
    generator = np.random.default_rng(0)
    pieces = pieces_of([50] * 2000, 0, 100_000)
    pools = deal(pieces, 1000, generator)
    assert max(sum(map(len, pool)) for pool in pools) <= 1000 and len(pools) == 100
    assert sorted(p.group for pool in pools for p in pool) == list(range(2000))
    uneven = pieces_of([1, 999, 5, 400, 400, 3000, 1, 1, 1, 700] * 5, 0, 10**6)
    assert max(sum(map(len, pool)) for pool in deal(uneven, 1000, generator)) <= 3000


def test_each_pool_gets_a_piece_of_each_part_of_the_data() -> None:
    pools = deal(pieces_of([10] * 12, 0, 120), 40, np.random.default_rng(3))
    assert [sorted(piece.group // 3 for piece in pool) for pool in pools] == [[0, 1, 2, 3]] * 3


def test_batches_of_sorted_data_are_nearly_even_samples_of_the_whole(tmp_path: Path) -> None:
    """The figure of Loader's docstring, at a smaller scale: ten pools of thirty row groups each."""
    num_rows, rank = 300 * 1024, np.arange(1, 1025) / 1024
    dataset = Dataset(pl.DataFrame({"row": range(num_rows)})).to_parquet(tmp_path / "sorted", rows_per_group=1024)
    distances = []
    for batch in Loader(dataset, 1024, buffer_rows=num_rows // 10):
        place = np.sort(batch.features["row"].numpy()) / num_rows
        distances.append(np.maximum(np.abs(rank - place), np.abs(rank - 1 / 1024 - place)).max())
    assert np.mean(distances) < 0.06  # a perfect shuffle has .027 with batches of 1024, pools dealt freely .16


def test_lists_arrays_and_dtypes_come_as_promised() -> None:
    frame = pl.DataFrame(
        {"id": [5, 6, 7], "tags": [[1, 2], [], [3]], "vector": [[1.0, 2.0]] * 3, "click": [True, False, True]},
        schema_overrides={"vector": pl.Array(pl.Float64, 2)},
    )
    schema = Dataset(frame).schema
    schema += schema["id"].with_domain(9)
    (batch,) = Loader(Dataset(frame, schema=schema), shuffle=False, targets=["click"])
    f = batch.features
    assert f["id"].tolist() == [5, 6, 7] and f["id"].dtype == torch.int32
    assert f["tags__values"].tolist() == [1, 2, 3] and f["tags__offsets"].tolist() == [0, 2, 2, 3]
    assert f["tags__offsets"].dtype == torch.int64
    assert f["vector"].shape == (3, 2) and f["vector"].dtype == torch.float32
    assert batch.targets["click"].tolist() == [1.0, 0.0, 1.0] and batch.targets["click"].dtype == torch.float32
    assert set(f) == {"id", "tags__values", "tags__offsets", "vector"}


def test_columns_and_targets_may_be_chosen(thousand: Dataset) -> None:
    batch = next(iter(Loader(thousand, columns=[], targets=["row"])))
    assert set(batch.features) == set() and set(batch.targets) == {"row"}
    batch = next(iter(Loader(thousand, targets=[])))
    assert set(batch.features) == {"row", "click"} and not batch.targets
    for names in ({"columns": ["rwo"]}, {"targets": ["rwo"]}):
        with pytest.raises(UnknownColumnError, match=r"has no column 'rwo'. Did you mean 'row'\?"):
            Loader(thousand, **names)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, r"Loader: batch_size is 0, but must be at least 1. Give a larger one."),
        ({"seed": -1}, "seed is -1, but must be at least 0"),
        ({"buffer_rows": 0}, "buffer_rows is 0"),
        ({"world_size": 0}, "world_size is 0"),
        ({"rank": 2, "world_size": 2}, r"rank is 2, but must be from 0 to 1. Give another rank."),
        (
            {"batch_size": 2000, "drop_last": True},
            r"the 1,003 rows of this rank make no batch of 2,000. Give a smaller",
        ),
    ],
)
def test_settings_out_of_range_are_refused(thousand: Dataset, settings, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Loader(thousand, **settings)


def test_nothing_to_load_is_refused() -> None:
    with pytest.raises(DataError, match=r"Loader: the dataset has no rows. Check the path and the filters before it."):
        Loader(Dataset(frame_of(0), schema=SCHEMA))
    with pytest.raises(DataError, match=r"Loader: no columns are left to load. Name some in `columns`."):
        Loader(Dataset(frame_of(5), schema=SCHEMA), columns=[], targets=[])


def test_a_damaged_file_is_named_in_the_loop_and_the_thread_ends(tmp_path: Path) -> None:
    dataset = Dataset(frame_of(3000), schema=SCHEMA).to_parquet(tmp_path / "d", rows_per_group=500, rows_per_file=1000)
    loader = Loader(dataset, 100, shuffle=False)
    content = bytearray(Path(dataset.files[1]).read_bytes())
    content[4:3000] = b"\xff" * 2996
    Path(dataset.files[1]).write_bytes(content)
    seen = 0
    with pytest.raises(DataError, match=r"part-00001.parquet: the data cannot be read \(.*\). Write the file again"):
        for _ in loader:
            seen += 1
    assert seen == 10 and threads() == []
    Path(dataset.files[2]).write_bytes(b"garbage")
    with pytest.raises(DataError, match=r"part-00002.parquet: the data cannot be read"):
        Loader(dataset)


def test_nulls_are_named_with_file_and_way_out(tmp_path: Path) -> None:
    dataset = Dataset(pl.DataFrame({"a": [1, None]})).to_parquet(tmp_path / "d")
    with pytest.raises(
        DataError, match=r"part-00000.parquet: the column 'a' has 1 nulls. Fill them with `FillMissing`"
    ):
        next(iter(Loader(dataset)))


def test_nulls_of_a_computation_are_not_blamed_on_a_temporary_file(thousand: Dataset) -> None:
    schema = Schema(["row"])
    with_nulls = thousand.map(lambda rows: rows.select(pl.when(pl.col("row") > 0).then(pl.col("row"))), schema)
    with pytest.raises(DataError, match=r"^Loader: the column 'row' has 1 nulls"):
        next(iter(Loader(with_nulls)))


def test_a_file_without_one_of_the_columns_is_named(thousand: Dataset, tmp_path: Path) -> None:
    pl.DataFrame({"other": [1]}).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"x.parquet: the column 'click' is missing here, though other files have it"):
        Loader(Dataset([thousand.files[0], str(tmp_path / "x.parquet")], schema=SCHEMA))


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("tamis-loader")]


def test_no_thread_outlives_its_iteration(thousand: Dataset) -> None:
    loader = Loader(thousand, 10, buffer_rows=100)
    running = iter(loader)
    next(running)
    assert threads()
    running.close()  # type: ignore[attr-defined]
    assert threads() == []
    abandoned = iter(loader)
    next(abandoned)
    del abandoned
    gc.collect()
    assert threads() == []
    batches(loader)
    assert threads() == []


def test_a_computation_over_files_goes_by_way_of_a_folder_that_dies_with_the_loader(
    thousand: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    odd = thousand.filter(pl.col("row") % 2 == 1)
    loader = Loader(odd, 64, shuffle=False)
    assert len(list(tmp_path.iterdir())) == 1
    assert flat(batches(loader)) == flat(batches(loader)) == list(range(1, 1003, 2))
    assert batches(Loader(odd, 64)) == batches(Loader(odd, 64))
    running = iter(loader)
    next(running)
    del loader, running
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_a_computation_that_fails_leaves_no_folder(
    thousand: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    to_text_and_back = (pl.lit("x") + pl.col("row").cast(pl.String)).cast(pl.Int64).alias("row")
    broken = thousand.map(lambda rows: rows.with_columns(to_text_and_back), SCHEMA)
    with pytest.raises(DataError, match="the rows cannot be computed"):
        Loader(broken)
    assert list(tmp_path.iterdir()) == []


def test_a_computation_over_memory_stays_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dataset = Dataset(frame_of(100), schema=SCHEMA).filter(pl.col("row") > 9)
    assert flat(batches(Loader(dataset, 7, shuffle=False))) == list(range(10, 100))
    assert list(tmp_path.iterdir()) == []


def test_plans_over_files_are_told_from_plans_over_memory(thousand: Dataset) -> None:
    memory = frame_of(3).lazy()
    assert not reads_files(memory.filter(pl.col("row") > 1).join(memory, on="row"))
    assert reads_files(thousand.scan()) and reads_files(memory.join(thousand.scan(), on="row"))


def test_pieces_cut_groups_at_the_ends() -> None:
    assert pieces_of([5, 0, 5, 5], 3, 12) == [Piece(0, 3, 5), Piece(2, 0, 5), Piece(3, 0, 2)]


def test_a_frame_is_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tamis.data.row_source.ROWS_PER_GROUP", 4)
    source = FrameSource(frame_of(10))
    assert source.group_rows == [4, 4, 2]
    assert source.read(Piece(1, 1, 3)).column("row").to_pylist() == [5, 6]
