"""The tables of an online workflow: in memory, or in a folder that processes map and share."""

from __future__ import annotations

import hashlib
import mmap
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.errors import FormatError
from tamis.features.hash_tables import Arrays, Find, Views, arrays_of, content_of, finder, text_of
from tamis.features.lookup import plain_values
from tamis.folders import MANIFEST, fcntl, read_json, read_manifest, saving

_KIND, _VERSION = "online tables", 1
_FORMATS: dict[str, Literal["b", "h", "i", "q", "B", "H", "I", "Q", "f", "d"]] = {
    "int8": "b", "int16": "h", "int32": "i", "int64": "q", "uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q",
    "float32": "f", "float64": "d",
}  # fmt: skip
_PAGE = 4096


class Tables:
    """What ops ask for their look-ups: each is built once, or taken from the files of a folder.

    A table goes by a hash of its content, so a file can only be the table that is asked for, and what several columns
    share is kept once.
    """

    def __init__(self, mapped: Mapping[str, Views] | None = None) -> None:
        self._mapped = dict(mapped or {})
        self.used: dict[str, Views] = {}
        self.has_built = False  # something that the folder did not have

    def positions(self, *keys: pl.Series) -> Callable[..., int | None]:
        """From one value for each of these columns to the number of the row that holds them; None where no row does.

        None and NaN are found where a row holds null or NaN. The rows must differ from each other.
        """
        plain = [_plain(column) for column in keys]
        if len(plain) == 1:
            return self._positions(plain[0])
        own, code = self._coded(plain[0])
        steps: list[tuple[Find, int, Find]] = []
        for number, column in enumerate(plain[1:], start=2):
            more, code_of_next = self._coded(column)
            radix = column.n_unique() + 1
            pairs = own * radix + more
            # Two codes become one number, which is looked up in turn, so that any number of columns fits into 64 bits.
            own, join = (pairs, self._positions(pairs)) if number == len(plain) else self._coded(pairs)
            steps.append((code_of_next, radix, join))
        return _chain(code, steps)

    def numbers(self, values: pl.Series | NDArray[Any]) -> memoryview:
        """Numbers to read one at a time, as plain Python ones; there must be no nulls."""
        array = np.ascontiguousarray(values.to_numpy() if isinstance(values, pl.Series) else values)
        views = self._get([array.dtype.name.encode(), array.tobytes()], lambda: {"numbers": array})
        numbers: memoryview = views["numbers"]
        return numbers

    def slices(self, values: pl.Series) -> Callable[[int, int], list[Any]] | None:
        """From a start and a stop to the values between, for numbers and text without nulls; None for others."""
        if values.dtype.is_numeric() and not values.dtype.is_decimal():
            numbers = self.numbers(values)
            return lambda start, stop: numbers[start:stop].tolist()
        if values.dtype != pl.String:
            return None
        views = self._get([b"text", *content_of(values)], lambda: text_of(values))
        offsets, text = views["offsets"], views["text"]
        return lambda start, stop: [text[offsets[i] : offsets[i + 1]].decode() for i in range(start, stop)]

    def _positions(self, keys: pl.Series) -> Find:
        find = finder(keys.dtype, self._get(content_of(keys), lambda: arrays_of(keys)))
        null = keys.is_null().arg_max() if keys.null_count() else None
        return lambda value: null if value is None or value != value else find(value)

    def _coded(self, column: pl.Series) -> tuple[pl.Series, Find]:
        """The column as numbers of its distinct values, null among them, and the function that gives these."""
        distinct = column.unique(maintain_order=True)
        codes = distinct.alias("value").to_frame().with_row_index("code")
        own = column.alias("value").to_frame().join(codes, "value", "left", nulls_equal=True, maintain_order="left")
        return own["code"].cast(pl.Int64), self._positions(distinct)

    def _get(self, content: list[bytes], build: Callable[[], Arrays]) -> Views:
        name = _digest(content)
        if name in self._mapped:
            self.used[name] = self._mapped[name]
        elif name not in self.used:
            self.used[name] = {key: _in_memory(key, array) for key, array in build().items()}
            self.has_built = True
        return self.used[name]


def _plain(keys: pl.Series) -> pl.Series:
    frame = keys.alias("value").to_frame()
    return frame.select(plain_values(pl.col("value"), keys.dtype)).to_series().rechunk()


def _chain(code: Find, steps: list[tuple[Find, int, Find]]) -> Callable[..., int | None]:
    def find(*values: Any) -> int | None:
        at = code(values[0])
        for value, (code_of, radix, join) in zip(values[1:], steps, strict=True):
            if at is None or (more := code_of(value)) is None:
                return None
            at = join(at * radix + more)
        return at

    return find


def _digest(content: list[bytes]) -> str:
    found = hashlib.sha256(f"{_VERSION} {sys.byteorder}".encode())
    for part in content:
        found.update(f" {len(part)} ".encode())
        found.update(part)
    return found.hexdigest()[:32]


def _in_memory(key: str, array: NDArray[Any]) -> Any:
    return array.tobytes() if key == "text" else array.data


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Processes that want to write the same folder go one after the other: the second finds what the first wrote."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    handle = os.open(folder.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def mapped_tables(folder: Path) -> dict[str, Views]:
    """The tables of a folder, mapped for reading; none where it is new, damaged or of another version.

    Raises:
        FormatError: the folder holds something else.
    """
    if not (folder / MANIFEST).is_file():
        return {}  # writing refuses a folder that holds anything but data of ours
    manifest = read_json(folder / MANIFEST)
    is_ours = isinstance(manifest, dict) and manifest.get("kind") == _KIND
    try:
        tables = read_manifest(folder, kind=_KIND, version=_VERSION)["tables"]
        return {
            name: {key: _map(folder / f"{name}.{key}", kind) for key, kind in t.items()} for name, t in tables.items()
        }
    except FormatError:
        if not is_ours:
            raise
        return {}  # all of it can be made again


def write_tables(folder: Path, tables: Tables) -> None:
    """Put all tables that were asked for into the folder, in the place of what was there."""
    views = tables.used
    kinds = {name: {key: _kind(view) for key, view in table.items()} for name, table in views.items()}
    with saving(folder, kind=_KIND, version=_VERSION, tables=kinds) as fresh:
        for name, table in views.items():
            for key, view in table.items():
                (fresh / f"{name}.{key}").write_bytes(view)


def _kind(view: Any) -> str:
    return np.dtype(view.format).name if isinstance(view, memoryview) else "text"


def _map(file: Path, dtype: str) -> Any:
    """A file's numbers, or its bytes; nothing is read until it is asked for."""
    content: bytes | mmap.mmap = b""
    if file.stat().st_size:
        with file.open("rb") as handle:
            content = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    for at in range(0, len(content), _PAGE):  # the first request should not be the one that waits for the pages
        content[at]
    return content if dtype == "text" else memoryview(content).cast(_FORMATS[dtype])
