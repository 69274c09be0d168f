from datetime import date, datetime

import numpy as np
import polars as pl
import pytest

from tamis.data.stable_hash import hash_rows, is_hashable, mixed, stable_hash


def test_the_mixing_is_the_published_one() -> None:
    """The first numbers that splitmix64 draws from seed 0, as its authors' code prints them."""
    state = np.array([0, 0x9E3779B97F4A7C15], np.uint64)  # the generator adds this constant before each draw
    assert mixed(state).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


def test_equal_values_have_one_hash_whatever_their_width_and_place() -> None:
    short = pl.DataFrame({"a": pl.Series([7, -1, None], dtype=pl.Int16), "b": ["x", None, "y"]})
    long = short.cast({"a": pl.Int64, "b": pl.Categorical}).reverse()
    assert hash_rows(short, seed=1).tolist() == hash_rows(long, seed=1)[::-1].tolist()
    floats = pl.DataFrame({"a": [0.0, -0.0, float("nan"), -float("nan")]})
    hashes = hash_rows(floats, seed=0)
    assert hashes[0] == hashes[1] != hashes[2] == hashes[3]


def test_other_values_seeds_and_columns_have_other_hashes() -> None:
    rows = pl.DataFrame({"a": [1, 2, None, 0], "b": [2, 1, 0, None]})
    both = [*hash_rows(rows, seed=0), *hash_rows(rows, seed=1), *hash_rows(rows.select("a"), seed=0)]
    assert len(set(both)) == 12


def test_the_expression_gives_the_same_in_a_stream() -> None:
    rows = pl.DataFrame({"a": range(10_000), "b": [str(i % 7) for i in range(10_000)]})
    streamed = rows.lazy().select(stable_hash(["a", "b"], seed=3)).collect(engine="streaming").to_series()
    assert streamed.to_numpy().tolist() == hash_rows(rows, seed=3).tolist()
    thirds = np.bincount((streamed.to_numpy() >> np.uint64(62)).astype(np.int64))
    assert thirds.min() > 2350  # four quarters of 2,500; the deviation is 43


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1], True),
        ([1.5], True),
        ([True], True),
        (["a"], True),
        ([date(2024, 1, 1)], True),
        ([datetime(2024, 1, 1)], True),
        ([[1]], False),
        ([{"a": 1}], False),
        ([b"a"], False),
    ],
)
def test_what_can_be_hashed(values: list[object], expected: bool) -> None:
    column = pl.Series("a", values)
    assert is_hashable(column.dtype) is expected
    if expected:
        assert len(hash_rows(column.to_frame(), seed=0)) == 1
