"""Tables in files give the codes that tables in memory give."""

import errno
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tamis import Dataset, Workflow, ops
from tamis.errors import DiskFullError
from tamis.features import frames, large_lookup, lookup
from tamis.features.large_lookup import GroupedTable, TextTable


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few keys already take several pieces and regions."""
    monkeypatch.setattr(large_lookup, "_ROWS_AT_ONCE", 7)
    monkeypatch.setattr(large_lookup, "_KEYS_PER_REGION", 10)


@pytest.mark.parametrize("num_keys", [0, 1, 2, 3, 100, 1000])
def test_every_key_has_its_number_and_no_other_has_one(small_pieces: None, num_keys: int) -> None:
    keys = np.random.default_rng(3).permutation(5 * num_keys)[:num_keys].astype(np.uint64) * np.uint64(2**61 - 1)
    table = GroupedTable(lambda: [keys[: num_keys // 3], keys[num_keys // 3 :]], num_keys, first=3)
    assert table.find(keys).tolist() == list(range(3, 3 + num_keys))
    wanted = np.arange(5 * num_keys + 10, dtype=np.uint64) * np.uint64(2**61 - 1)
    number_of = {key: number for number, key in enumerate(keys.tolist(), start=3)}
    assert table.find(wanted).tolist() == [number_of.get(key, 0) for key in wanted.tolist()]


def test_the_keys_at_either_end_are_found(small_pieces: None) -> None:
    keys = np.array([0, 2**64 - 1, 2**63, 1], np.uint64)
    assert GroupedTable(lambda: [keys], 4, first=1).find(keys).tolist() == [1, 2, 3, 4]


def test_texts_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TextTable, "_hash", lambda self, texts: texts.str.len_bytes().fill_null(0).cast(pl.UInt64))
    table = TextTable(pl.Series(["bb", "aa", "", "cc", "ß"]), first=3)
    asked = pl.Series(["aa", "cc", "dd", "", None, "bb", "ß", "eee"])
    assert table.find(asked).tolist() == [4, 6, 0, 5, 0, 3, 7, 0]


def test_a_full_disk_is_told_with_what_was_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    message = r"the disk is full \(.*No space left.*\): 8.0 MB needed for a table of codes\. .*POLARS_OOC_SPILL_DIR"
    with pytest.raises(DiskFullError, match=message):
        GroupedTable(lambda: [], 1_000_000, first=1)


@pytest.fixture
def tiny_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Everything goes to files of this folder."""
    monkeypatch.setattr(lookup, "memory_limit", lambda: 0)
    monkeypatch.setattr(frames, "memory_limit", lambda: 0)
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(frames, "scratch_folder", lambda: folder)
    monkeypatch.setattr(large_lookup, "scratch_folder", lambda: folder)
    return folder


COLUMNS = {
    "number": [5, 5, None, -(2**63), 2**63 - 1, 7, 5, 7],
    "float": [0.5, -0.0, 0.0, float("nan"), None, float("inf"), 0.5, 3.0],
    "whole": [3.0, 3.0, 2.0, None, 1.0, 1.0, 1.0, float("nan")],
    "text": ["a", "ü", None, "", "a", "b", "ü", "ü"],
    "flag": [True, None, False, True, True, False, True, True],
    "big": pl.Series([2**64 - 1, 1, None, 1, 2, 2, 2, 2**64 - 1], dtype=pl.UInt64),
}
TYPED = pl.DataFrame(COLUMNS).with_columns(
    day=pl.from_epoch(pl.int_range(8) % 3, "d"),
    moment=pl.from_epoch(pl.int_range(8) % 4, "us").dt.replace_time_zone("UTC"),
)
OTHERS = pl.DataFrame({**COLUMNS, "text": [None, "zz", "b", "a", "ü", "c", "", "aa"]}).with_columns(
    number=pl.Series([1, 2, 5, None, 7, 8, 9, -1]),
    float=pl.Series([1.5, 0.5, None, 3.0, 0.0, 9.0, 2.0, 1e300]),
    day=pl.from_epoch(pl.int_range(8), "d"),
    moment=pl.from_epoch(pl.int_range(8), "us").dt.replace_time_zone("UTC"),
)


def encoder(num_buckets: int) -> Workflow:
    encoded = [*TYPED.columns[:-1], "moment"] >> ops.Categorify(num_buckets=num_buckets)
    renamed = [["number", "whole"]] >> ops.Categorify(freq_threshold=2) >> ops.Rename(postfix="_joint")
    return Workflow(encoded + renamed)


@pytest.mark.parametrize("num_buckets", [1, 3])
def test_codes_out_of_files_are_those_out_of_memory(
    request: pytest.FixtureRequest, tmp_path: Path, num_buckets: int
) -> None:
    rows = Dataset(TYPED).to_parquet(tmp_path / "rows")
    in_memory = encoder(num_buckets).fit(rows)
    wanted = [in_memory.transform(frame) for frame in (TYPED, OTHERS)]
    scratch: Path = request.getfixturevalue("tiny_memory")
    in_files = encoder(num_buckets).fit(rows)
    in_files.save(tmp_path / "workflow")
    for workflow in (in_files, Workflow.load(tmp_path / "workflow")):
        for name in TYPED.columns:
            assert_frame_equal(workflow.categories(name), in_memory.categories(name))
        for frame, codes in zip((TYPED, OTHERS), wanted, strict=True):
            assert_frame_equal(workflow.transform(frame), codes)
    assert list(scratch.iterdir()) == []  # the files have no names, so nothing can be left behind


def test_a_frame_out_of_a_file_is_like_one_in_memory(tiny_memory: Path) -> None:
    made = frames.collect(TYPED.lazy(), len(TYPED))
    assert_frame_equal(made, TYPED)
    strange = pl.select(pl.lit(5).cast(pl.Int128).alias("wide"))  # which Arrow does not know
    assert_frame_equal(frames.collect(strange.lazy(), 1), strange)
    assert_frame_equal(frames.collect(TYPED.lazy().filter(False), 0), TYPED.head(0))


def test_where_nobody_knows_how_many_rows_come_a_limit_decides(
    monkeypatch: pytest.MonkeyPatch, tiny_memory: Path
) -> None:
    used: list[pl.LazyFrame] = []
    monkeypatch.setattr(frames, "_in_file", used.append)
    for is_limited in (False, True):
        monkeypatch.setattr(frames, "is_limited", lambda is_limited=is_limited: is_limited)
        frames.collect(TYPED.lazy(), None)
    assert len(used) == 1
