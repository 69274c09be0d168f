"""What items have in common: the values of a column as small whole numbers, and vectors of unit length."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.recommender.id_rows import Rows

Codes = NDArray[np.int32]
NO_CODE = -1


def distinct_rows(items: Rows, num_items: int) -> tuple[Rows, Rows]:
    """The rows among these [queries, width], ascending, and for each place which of them it is; -1 if empty."""
    if items.size < num_items // 8:  # few out of many: sorting them beats looking at all items
        rows = np.unique(items)
        rows = rows[rows >= 0]
        return rows, np.where(items < 0, -1, np.searchsorted(rows, items))
    is_there = np.zeros(num_items + 1, np.bool_)
    is_there[items] = True  # -1 is the place behind the last item
    is_there[num_items] = False
    numbers = np.where(is_there, np.cumsum(is_there) - 1, -1)
    return np.flatnonzero(is_there), numbers[items]


def column_codes(values: pl.Series) -> Codes:
    """[items, values of an item]: equal numbers for equal values, filled up with -1. Nulls have no number.

    A value that a list holds twice counts once.
    """
    is_list = isinstance(values.dtype, pl.List | pl.Array)
    frame = pl.DataFrame({"row": np.arange(len(values), dtype=np.uint32), "value": values})
    frame = (frame.explode("value") if is_list else frame).drop_nulls().unique(maintain_order=True)
    codes = frame["value"].rank("dense").to_numpy().astype(np.int32)
    rows = frame["row"].to_numpy().astype(np.int64)
    counts = np.bincount(rows, minlength=len(values))
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((len(values), max(int(counts.max(initial=0)), 1)), NO_CODE, np.int32)
    table[rows, place] = codes
    return table


def indicators(codes: Codes) -> NDArray[np.float32]:
    """[items, numbers] 1 where the item has the number, by what `column_codes` gave."""
    found = np.zeros((len(codes), int(codes.max(initial=0)) + 1), np.float32)
    row, place = np.nonzero(codes != NO_CODE)
    found[row, codes[row, place]] = 1
    return found


def unit_vectors(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """The vectors [items, dim], each divided by its length; zero vectors stay."""
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
    unit: NDArray[np.float32] = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return unit
