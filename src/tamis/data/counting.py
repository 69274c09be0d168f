"""Rows that move a progress bar as they pass through a lazy frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import polars as pl

from tamis.progress import Advance, is_watched, progress


@contextmanager
def counting(frame: pl.LazyFrame, description: str, total: Callable[[], int | None]) -> Iterator[pl.LazyFrame]:
    """The frame, whose rows move a bar when it is computed inside the block; as it is where nobody watches."""
    if not is_watched():
        yield frame
        return
    with progress(description, total()) as advance:
        yield counted(frame, frame.collect_schema(), advance)


def counted(frame: pl.LazyFrame, names: Iterable[str], advance: Advance) -> pl.LazyFrame:
    """The frame, which tells how many rows passed whenever some do: by a column of these that it has."""
    schema = frame.collect_schema()
    name = next((name for name in names if name in schema), None)
    if name is None:
        return frame

    def passing(values: pl.Series) -> pl.Series:
        advance(len(values))
        return values

    return frame.with_columns(pl.col(name).map_batches(passing, return_dtype=schema[name], is_elementwise=True))
