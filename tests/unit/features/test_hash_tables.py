"""Look-ups of one value against dictionaries, and the folder that processes share."""

import datetime as dt
import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import FormatError
from tamis.features import lookup
from tamis.features.hash_tables import bucket_of
from tamis.features.table_store import Tables, mapped_tables, write_tables

KEYS = {
    pl.Int64: st.integers(-(2**63), 2**63 - 1) | st.integers(-5, 5) | st.integers(-99, 99).map(lambda n: n << 40),
    pl.UInt64: st.integers(0, 2**64 - 1) | st.integers(0, 5),
    pl.Float64: st.floats(allow_nan=False) | st.integers(-99, 99).map(float),
    pl.String: st.text(max_size=4),
    pl.Boolean: st.booleans(),
    pl.Date: st.dates(),
    pl.Time: st.times(),
    pl.Duration("us"): st.timedeltas(dt.timedelta(-99), dt.timedelta(99)),
    pl.Datetime("us", "Europe/Berlin"): st.datetimes(timezones=st.just(dt.UTC)).filter(lambda at: 2 < at.year < 9998),
}


def positions(*columns: list, dtypes: list) -> dict:
    return Tables().positions(*(pl.Series(values, dtype=dtype) for values, dtype in zip(columns, dtypes, strict=True)))


@pytest.mark.parametrize("dtype", KEYS, ids=str)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_value_is_found_where_a_dictionary_has_it(dtype, data) -> None:
    values = st.lists(st.none() | KEYS[dtype], max_size=30)
    keys = list(dict.fromkeys(data.draw(values)))
    find, row = positions(keys, dtypes=[dtype]), {value: i for i, value in enumerate(keys)}
    for value in [*keys, *data.draw(values)]:
        assert find(value) == row.get(value)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_a_row_of_several_keys_is_found_where_a_dictionary_has_it(data) -> None:
    rows = st.lists(
        st.tuples(st.none() | st.integers(0, 3), st.none() | st.text("ab", max_size=1), st.none() | st.booleans()),
        max_size=12,
    )
    keys = list(dict.fromkeys(data.draw(rows)))
    columns = [list(column) for column in zip(*keys, strict=True)] or [[], [], []]
    find = positions(*columns, dtypes=[pl.Int64, pl.String, pl.Boolean])
    row = {key: i for i, key in enumerate(keys)}
    for key in [*keys, *data.draw(rows), (7, "a", True)]:
        assert find(*key) == row.get(key)


def test_nan_is_found_where_null_is() -> None:
    for keys in ([1.5, None], [1.5, math.nan]):
        find = positions(keys, dtypes=[pl.Float64])
        assert [find(1.5), find(math.nan), find(None), find(2.5)] == [0, 1, 1, None]


def test_both_zeros_are_one_key() -> None:
    assert positions([-0.0], dtypes=[pl.Float64])(0.0) == 0


def test_many_scattered_keys_are_all_found_and_their_neighbours_are_not() -> None:
    keys = [i * 7919**3 for i in range(20_000)]
    find = positions(keys, dtypes=[pl.Int64])
    assert [find(key) for key in keys] == list(range(20_000))
    assert {find(key + 1) for key in keys} == {None}


def test_keys_with_the_same_checksum_are_told_apart() -> None:
    same = ["plumless", "buckeroo"]  # a known collision of CRC-32
    find = positions(same, dtypes=[pl.String])
    assert [find(value) for value in same] == [0, 1]


@given(st.integers(0, 2**64 - 1), st.integers(1, 2**31 - 1))
def test_the_bucket_of_one_key_is_that_of_many(key, num_buckets) -> None:
    assert bucket_of(key, num_buckets) == lookup.bucket(np.array([key], np.uint64), num_buckets)[0]


def test_numbers_come_back_as_plain_python_ones() -> None:
    numbers = Tables().numbers(np.array([0.1, 2], np.float32))
    assert [type(number) for number in numbers] == [float, float]
    assert numbers[0] == float(np.float32(0.1))


@pytest.mark.parametrize("values", [["a", "", "é", "日本"], [3, -1, 2**62], [0.5, 1.0, 2.0]], ids=str)
def test_a_slice_gives_the_values_between(values) -> None:
    between = Tables().slices(pl.Series(values))
    assert between is not None
    assert [between(1, 3), between(2, 2), between(0, 3)] == [values[1:3], [], values[:3]]


def test_slices_are_of_numbers_and_text() -> None:
    assert Tables().slices(pl.Series([dt.date(2024, 1, 1)])) is None


@pytest.fixture
def some_tables(tmp_path):
    """A folder with two tables, and what asks for them."""

    def ask(tables: Tables) -> list:
        words, counts = tables.positions(pl.Series(["a", "é", None])), tables.numbers(pl.Series([3, 4], dtype=pl.Int16))
        nothing = tables.positions(pl.Series([], dtype=pl.String))
        return [words("a"), words("é"), words(None), words("b"), counts[1], nothing("a")]

    tables = Tables()
    assert ask(tables) == [0, 1, 2, None, 4, None]
    write_tables(tmp_path / "tables", tables)
    return tmp_path / "tables", ask


def test_tables_of_a_folder_say_the_same_and_are_not_built_again(some_tables) -> None:
    folder, ask = some_tables
    tables = Tables(mapped_tables(folder))
    assert ask(tables) == [0, 1, 2, None, 4, None]
    assert not tables.has_built


def test_another_vocabulary_is_built_and_never_taken_from_the_folder(some_tables) -> None:
    folder, _ = some_tables
    tables = Tables(mapped_tables(folder))
    assert tables.positions(pl.Series(["é", "a", None]))("a") == 1
    assert tables.has_built


def test_the_same_bytes_of_another_dtype_are_another_table() -> None:
    tables = Tables()
    whole, fraction = tables.positions(pl.Series([0])), tables.positions(pl.Series([0.0]))
    assert (whole(0), fraction(0.0)) == (0, 0)
    assert len(tables.used) == 2


def test_equal_vocabularies_are_kept_once() -> None:
    tables = Tables()
    tables.positions(pl.Series("one", ["a", "b"]))
    tables.positions(pl.Series("other", ["a", "b"]))
    assert len(tables.used) == 1


def test_a_damaged_folder_counts_as_empty(some_tables) -> None:
    folder, _ = some_tables
    next(folder.glob("*.text")).write_bytes(b"x")
    assert mapped_tables(folder) == {}


def test_a_folder_with_a_missing_file_counts_as_empty(some_tables) -> None:
    folder, _ = some_tables
    next(folder.glob("*.slots")).unlink()
    assert mapped_tables(folder) == {}


def test_a_folder_of_something_else_is_refused(tmp_path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"kind": "workflow"}))
    with pytest.raises(FormatError, match="it holds 'workflow', not 'online tables'"):
        mapped_tables(tmp_path)
