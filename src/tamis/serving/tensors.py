"""Tensors of the Open Inference Protocol: what a model takes, and how values become bytes or JSON and back."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

BYTES = "BYTES"
DTYPES: Mapping[str, np.dtype[Any]] = {  # of the protocol's names; more significant bytes come last
    name: np.dtype(code)
    for name, code in {
        "BOOL": "?",
        "INT32": "<i4",
        "INT64": "<i8",
        "FP32": "<f4",
        "FP64": "<f8",
    }.items()
}
_LENGTH = struct.Struct("<I")
_WHOLE, _REAL = (int,), (int, float)
_KINDS: Mapping[str, tuple[type, ...]] = {"BOOL": (bool,), BYTES: (str,), "FP32": _REAL, "FP64": _REAL}

Array = NDArray[Any]  # of text for BYTES


class ProtocolError(Exception):
    """A request that is not answered, with its status."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class TensorSpec:
    """A tensor as a model takes or gives it.

    Args:
        name: of the tensor.
        datatype: of the protocol.
        shape: -1 for what may have any length.
        is_optional: whether a request may leave it out.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    is_optional: bool = False

    def told(self) -> dict[str, Any]:
        """As metadata."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}

    def check(self, datatype: object, shape: Sequence[int], where: str) -> None:
        """Refuse another datatype or shape.

        Raises:
            ProtocolError: saying what was expected.
        """
        if datatype != self.datatype:
            raise ProtocolError(f"{where}: the datatype is {shown(datatype)}. Give {self.datatype}.")
        fits = len(shape) == len(self.shape) and all(
            wanted in (-1, got) for wanted, got in zip(self.shape, shape, strict=True)
        )
        if not fits:
            raise ProtocolError(
                f"{where}: the shape is {shown(list(shape))}. Give {list(self.shape)}, where -1 is any length."
            )


def shown(value: object) -> str:
    """A value in a message, cut off where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def from_bytes(raw: memoryview, datatype: str, shape: Sequence[int], where: str) -> Array:
    """The values of a tensor out of its bytes.

    Raises:
        ProtocolError: fewer or more bytes than the shape has, or texts that are none.
    """
    count = math.prod(shape)
    if datatype == BYTES:
        return _texts(raw, count, where).reshape(shape)
    dtype = DTYPES[datatype]
    if len(raw) != count * dtype.itemsize:
        raise ProtocolError(
            f"{where}: there are {len(raw):,} bytes, but {datatype} of the shape {list(shape)} are "
            f"{count * dtype.itemsize:,}."
        )
    found = np.frombuffer(raw, dtype)
    if datatype == "BOOL" and count and np.frombuffer(raw, np.uint8).max() > 1:
        raise ProtocolError(f"{where}: a byte of BOOL is neither 0 nor 1.")
    return found.reshape(shape)


def _texts(raw: memoryview, count: int, where: str) -> Array:
    """Texts, each behind its length in 4 bytes."""
    if count * _LENGTH.size > len(raw):
        raise ProtocolError(
            f"{where}: {count:,} texts need at least {count * _LENGTH.size:,} bytes, but there are {len(raw):,}."
        )
    texts: list[str] = []
    at = 0
    for number in range(count):
        if at + _LENGTH.size > len(raw):
            raise ProtocolError(f"{where}: the bytes end before the length of text {number}.")
        (length,) = _LENGTH.unpack_from(raw, at)
        at += _LENGTH.size
        if at + length > len(raw):
            raise ProtocolError(f"{where}: text {number} should have {length:,} bytes, but {len(raw) - at:,} are left.")
        texts.append(_text(raw[at : at + length], f"{where}: text {number}"))
        at += length
    if at != len(raw):
        raise ProtocolError(f"{where}: {len(raw) - at:,} bytes are left over behind {count:,} texts.")
    return as_texts(texts)


def _text(raw: memoryview, where: str) -> str:
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError as error:
        raise ProtocolError(f"{where}: it is not UTF-8 ({error.reason} at byte {error.start}).") from error


def as_texts(texts: Sequence[str]) -> Array:
    """Texts as an array of objects."""
    found = np.empty(len(texts), object)
    found[:] = texts
    return found


def to_bytes(values: Array, datatype: str) -> bytes:
    """A tensor's bytes."""
    if datatype == BYTES:
        parts = [text.encode() for text in values.reshape(-1).tolist()]
        return b"".join(chain.from_iterable((_LENGTH.pack(len(part)), part) for part in parts))
    return np.ascontiguousarray(values, DTYPES[datatype]).tobytes()


def from_json(data: object, datatype: str, shape: Sequence[int], where: str) -> Array:
    """The values of a tensor out of JSON: flat, or nested as the shape is.

    Raises:
        ProtocolError: another number of values, or of another kind.
    """
    values = _flat(data, shape, where)
    if len(values) != math.prod(shape):
        raise ProtocolError(
            f"{where}: there are {len(values):,} values, but the shape {list(shape)} has {math.prod(shape):,}."
        )
    kinds = _KINDS.get(datatype, _WHOLE)
    for number, value in enumerate(values):
        if type(value) not in kinds:
            raise ProtocolError(f"{where}: value {number} is {shown(value)}, which is no {datatype}.")
    if datatype == BYTES:
        return as_texts(values).reshape(shape)
    return _numbers(values, datatype, where).reshape(shape)


def _flat(data: object, shape: Sequence[int], where: str) -> list[Any]:
    if not isinstance(data, list):
        raise ProtocolError(f"{where}: the data are {shown(data)}. Give a list of values.")
    for length in shape[1:]:
        if not data or not isinstance(data[0], list):
            return data
        if any(not isinstance(one, list) or len(one) != length for one in data):
            raise ProtocolError(f"{where}: the lists are not nested as the shape {list(shape)} is.")
        data = list(chain.from_iterable(data))
    return data


def _numbers(values: list[Any], datatype: str, where: str) -> Array:
    dtype = DTYPES[datatype]
    try:
        found = np.array(values, np.float64 if dtype.kind == "f" else dtype)
        with np.errstate(over="ignore"):
            found = found.astype(dtype, copy=False)
    except OverflowError as error:
        raise ProtocolError(f"{where}: a value is too large for {datatype}.") from error
    if dtype.kind == "f" and not np.isfinite(found).all():
        raise ProtocolError(f"{where}: a value is too large for {datatype}.")
    return found


def to_json(values: Array, datatype: str) -> list[Any]:
    """A tensor's values, flat; numbers that are not finite become null, as JSON has none."""
    flat: list[Any] = values.reshape(-1).tolist()
    if datatype in ("FP32", "FP64"):
        return [value if math.isfinite(value) else None for value in flat]
    return flat
