import datetime as dt
import struct
import zlib

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import DataError, SettingError
from tamis.features.ops import Categorify, HashBucket
from tamis.features.workflow import Workflow
from tamis.schema import Tags


def made(op, values, dtype=None) -> pl.Series:
    frame = pl.DataFrame({"a": pl.Series(values, dtype=dtype)})
    return Workflow(["a"] >> op).fit(frame).transform(frame)["a"]


def bucket_by_hand(key: int, num_buckets: int) -> int:
    """Splitmix64's mixing in plain Python."""
    key = (key + 0x9E3779B97F4A7C15) % 2**64
    key = (key ^ (key >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    key = (key ^ (key >> 27)) * 0x94D049BB133111EB % 2**64
    return (key ^ (key >> 31)) % num_buckets


def test_the_buckets_are_the_same_on_every_machine() -> None:
    """The first two are the generator's published first numbers for the seeds 0 and 1."""
    expected = [0xE220A8397B1DCDAF % 1000, 0x910A2DEC89025CC1 % 1000, None, bucket_by_hand(2**64 - 1, 1000)]
    assert made(HashBucket(1000), [0, 1, None, -1]).to_list() == expected == [535, 465, None, 936]
    assert made(HashBucket(1000), ["", "a", "ü", None]).to_list() == [
        bucket_by_hand(zlib.crc32(text.encode()), 1000) for text in ("", "a", "ü")
    ] + [None]


def test_the_codes_fill_a_domain_and_are_categorical() -> None:
    frame = pl.DataFrame({"a": range(1000)})
    workflow = Workflow(["a"] >> HashBucket(5)).fit(frame)
    codes = workflow.transform(frame)["a"]
    assert codes.dtype == pl.Int32 and sorted(codes.unique()) == [0, 1, 2, 3, 4]
    assert workflow.output_schema["a"].has_tag(Tags.CATEGORICAL)
    assert workflow.output_schema["a"].cardinality == 5
    assert codes.value_counts()["count"].min() > 150


def test_it_is_the_hash_of_unknown_values_in_categorify() -> None:
    words = ["x", "y", "zebra", "Ω"]
    codes = made(Categorify(max_size=9, num_buckets=7), words)
    assert made(HashBucket(7), words).to_list() == (codes - 2).to_list()


def test_equal_numbers_of_any_dtype_share_a_bucket() -> None:
    for dtype in (pl.Int8, pl.UInt8, pl.UInt64, pl.Float32, pl.Float64):
        assert made(HashBucket(997), [0, 1, 77], dtype).to_list() == made(HashBucket(997), [0, 1, 77]).to_list()
    assert made(HashBucket(997), [0.0, -0.0]).n_unique() == 1
    assert made(HashBucket(99), [float("nan"), None]).to_list() == [None, None]
    assert made(HashBucket(1), ["a", None]).to_list() == [0, None]


def test_lists_dates_and_booleans_have_buckets_too() -> None:
    assert made(HashBucket({"a": 50}), [[1, None], [], None, [1]]).to_list() == [
        [bucket_by_hand(1, 50), None], [], None, [bucket_by_hand(1, 50)]
    ]  # fmt: skip
    assert made(HashBucket(50), [True, False]).to_list() == [bucket_by_hand(1, 50), bucket_by_hand(0, 50)]
    assert made(HashBucket(50), [dt.date(1970, 1, 4)]).to_list() == [bucket_by_hand(3, 50)]
    assert made(HashBucket(50), [dt.datetime(1970, 1, 1, 0, 0, 1)]).to_list() == [bucket_by_hand(10**6, 50)]


@pytest.mark.parametrize("number", [0, -1, 1.5, True, 2**31])
def test_a_number_of_buckets_that_is_none_is_refused(number) -> None:
    with pytest.raises(SettingError, match=f"HashBucket: num_buckets={number!r} is not a whole number from 1"):
        HashBucket({"a": number})


def test_columns_without_a_number_or_a_hash_are_refused() -> None:
    with pytest.raises(SettingError, match=r"HashBucket: there is no number for 'a'. Add it to num_buckets"):
        made(HashBucket({"b": 5}), [1])
    with pytest.raises(DataError, match="HashBucket: the column 'a' holds binary, which has no stable hash"):
        made(HashBucket(5), [b"x"])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(value=st.integers(-(2**63), 2**64 - 1) | st.text(max_size=4) | st.floats(allow_nan=False))
def test_the_hash_is_the_one_that_is_described(value) -> None:
    if isinstance(value, str):
        key, dtype = zlib.crc32(value.encode()), pl.String
    elif isinstance(value, int):
        key, dtype = value % 2**64, pl.UInt64 if value >= 2**63 else pl.Int64
    else:
        is_whole = value == value // 1 and -(2**63) <= value < 2**63
        key, dtype = int(value) % 2**64 if is_whole else struct.unpack("<Q", struct.pack("<d", value))[0], pl.Float64
    assert made(HashBucket(10_007), [value], dtype).to_list() == [bucket_by_hand(key, 10_007)]
