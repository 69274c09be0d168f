"""Tensors out of bytes and JSON, and back: by hand, and what is wrong with them in words."""

import struct
from typing import Any

import numpy as np
import pytest

from tamis.serving.tensors import ProtocolError, TensorSpec, as_texts, from_bytes, from_json, to_bytes, to_json

TWO_TEXTS = b"\x02\x00\x00\x00u1\x03\x00\x00\x00\xc3\xbc2"  # u1, ü2


def test_texts_stand_behind_their_lengths_in_four_bytes() -> None:
    found = from_bytes(memoryview(TWO_TEXTS), "BYTES", [2, 1], "inputs.x")
    assert found.shape == (2, 1) and found.reshape(-1).tolist() == ["u1", "ü2"]
    assert to_bytes(found, "BYTES") == TWO_TEXTS
    assert to_bytes(as_texts([""]), "BYTES") == b"\x00\x00\x00\x00"
    assert from_bytes(memoryview(b""), "BYTES", [0, 1], "x").shape == (0, 1)


def test_numbers_are_little_endian() -> None:
    raw = b"\x01\x00\x00\x00\x00\x00\x00\x00" + b"\xff" * 8
    assert from_bytes(memoryview(raw), "INT64", [2], "x").tolist() == [1, -1]
    assert to_bytes(np.array([1, -1]), "INT64") == raw
    assert from_bytes(memoryview(struct.pack("<2f", 1.5, -2)), "FP32", [1, 2], "x").tolist() == [[1.5, -2.0]]
    assert from_bytes(memoryview(b"\x00\x01"), "BOOL", [2], "x").tolist() == [False, True]


@pytest.mark.parametrize(
    ("raw", "datatype", "shape", "words"),
    [
        (b"", "INT64", [1], r"there are 0 bytes, but INT64 of the shape \[1\] are 8"),
        (b"\x00" * 9, "INT64", [1], "there are 9 bytes"),
        (b"\x00" * 8, "INT64", [2**31 - 1, 2**31 - 1], "there are 8 bytes, but INT64"),
        (b"\x02", "BOOL", [1], "a byte of BOOL is neither 0 nor 1"),
        (b"\x01\x00\x00", "BYTES", [1], "1 texts need at least 4 bytes, but there are 3"),
        (b"\x01\x00\x00\x00", "BYTES", [1], "text 0 should have 1 bytes, but 0 are left"),
        (b"\xff\xff\xff\xffabc", "BYTES", [1], "text 0 should have 4,294,967,295 bytes, but 3 are left"),
        (b"\x04\x00\x00\x00abcd\x00", "BYTES", [2], "the bytes end before the length of text 1"),
        (TWO_TEXTS, "BYTES", [1], "7 bytes are left over behind 1 texts"),
        (b"\x01\x00\x00\x00\xff", "BYTES", [1], "text 0: it is not UTF-8"),
        (b"", "BYTES", [2**31 - 1, 2**31 - 1], "texts need at least"),
    ],
)
def test_bytes_that_do_not_fit_are_refused(raw: bytes, datatype: str, shape: list[int], words: str) -> None:
    with pytest.raises(ProtocolError, match=words) as caught:
        from_bytes(memoryview(raw), datatype, shape, "inputs.x")
    assert str(caught.value).startswith("inputs.x") and caught.value.status == 400


def test_json_is_flat_or_nested_as_the_shape_is() -> None:
    for data in ([1, 2, 3, 4], [[1, 2], [3, 4]]):
        assert from_json(data, "INT64", [2, 2], "x").tolist() == [[1, 2], [3, 4]]
    assert from_json([[[1], [2]], [[3], [4]]], "INT64", [2, 2, 1], "x").shape == (2, 2, 1)
    assert from_json([1, 2.5], "FP32", [2], "x").dtype == np.float32
    assert from_json(["a"], "BYTES", [1, 1], "x").tolist() == [["a"]]
    assert from_json([], "INT64", [0], "x").shape == (0,)


@pytest.mark.parametrize(
    ("data", "datatype", "shape", "words"),
    [
        (None, "INT64", [1], "the data are None. Give a list"),
        ("ab", "BYTES", [2], "the data are 'ab'. Give a list"),
        ([1, 2], "INT64", [3], r"there are 2 values, but the shape \[3\] has 3"),
        ([1], "INT64", [2**31 - 1, 2**31 - 1], "there are 1 values"),
        ([[1, 2], [3]], "INT64", [2, 2], "not nested as the shape"),
        ([[1, 2], 3], "INT64", [2, 2], "not nested as the shape"),
        ([1.5], "INT64", [1], "value 0 is 1.5, which is no INT64"),
        ([True], "INT64", [1], "value 0 is True, which is no INT64"),
        ([1], "BOOL", [1], "value 0 is 1, which is no BOOL"),
        ([1], "BYTES", [1], "value 0 is 1, which is no BYTES"),
        ([None], "FP32", [1], "value 0 is None"),
        ([[1]], "INT64", [1], r"value 0 is \[1\]"),
        ([2**63], "INT64", [1], "a value is too large for INT64"),
        ([1e300], "FP32", [1], "a value is too large for FP32"),
        ([10**400], "FP64", [1], "a value is too large for FP64"),
    ],
)
def test_json_that_does_not_fit_is_refused(data: Any, datatype: str, shape: list[int], words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        from_json(data, datatype, shape, "inputs.x")


def test_numbers_that_json_has_not_become_null() -> None:
    assert to_json(np.array([[1.5, np.nan, np.inf]], np.float32), "FP32") == [1.5, None, None]
    assert to_json(as_texts(["a", "b"]).reshape(2, 1), "BYTES") == ["a", "b"]


def test_a_spec_says_what_it_expected() -> None:
    spec = TensorSpec("x", "INT64", (-1, 1))
    spec.check("INT64", [7, 1], "inputs.x")
    with pytest.raises(ProtocolError, match=r"inputs.x: the datatype is 'FP32'. Give INT64\."):
        spec.check("FP32", [7, 1], "inputs.x")
    for shape in ([7], [7, 2], [7, 1, 1]):
        with pytest.raises(ProtocolError, match=r"Give \[-1, 1\], where -1 is any length"):
            spec.check("INT64", shape, "inputs.x")
