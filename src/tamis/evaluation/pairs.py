"""Which candidates belong to which query: relevant ones, or ones to leave out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tamis.errors import DataError


@dataclass(frozen=True, repr=False)
class Pairs:
    """Positions of candidates per query: those of query `i` are `positions[offsets[i]:offsets[i + 1]]`, ascending.

    Build it with `from_arrays` or `from_frame`.

    Args:
        offsets: [queries + 1] int64
        positions: [pairs] int64, distinct within a query.
        num_unknown: [queries] int64, items of the query that are outside the catalogue.
    """

    offsets: Tensor
    positions: Tensor
    num_unknown: Tensor

    @classmethod
    def from_arrays(cls, query: Any, position: Any, num_queries: int) -> Pairs:
        """Pairs out of two equally long arrays of whole numbers, in any order.

        A pair given twice counts once. A position of -1 is an item outside the catalogue: it takes no part in
        any list but counts in `num_items` (each time it is given, since nobody can tell two of them apart).

        Args:
            query: [pairs], rows of the queries, 0 to `num_queries - 1`.
            position: [pairs], rows of the candidates, or -1.
            num_queries: how many queries there are, those without a pair included.

        Raises:
            DataError: lengths differ, fractional numbers, a query or position out of range.
        """
        rows, places = _whole(query, "query"), _whole(position, "position")
        if len(rows) != len(places):
            raise DataError(f"Pairs: {len(rows):,} queries but {len(places):,} positions. Give one of each per pair.")
        if len(rows) and not (rows.min() >= 0 and rows.max() < num_queries):
            raise DataError(
                f"Pairs: query rows go from {rows.min()} to {rows.max()}, but there are {num_queries:,} queries. "
                "Give rows from 0 to the number of queries - 1."
            )
        if len(places) and places.min() < -1:
            raise DataError(f"Pairs: a position is {places.min()}. Give rows of candidates, or -1 for unknown items.")
        known = places >= 0
        num_unknown = np.bincount(rows[~known], minlength=num_queries)
        rows, places = _sorted_distinct(rows[known], places[known])
        offsets = np.zeros(num_queries + 1, np.int64)
        np.cumsum(np.bincount(rows, minlength=num_queries), out=offsets[1:])
        return cls(*(torch.from_numpy(array) for array in (offsets, places, num_unknown.astype(np.int64))))

    @classmethod
    def from_frame(cls, frame: Any, query: str, position: str, *, num_queries: int) -> Pairs:
        """Pairs out of two columns of a Polars or pandas frame; see `from_arrays`."""
        return cls.from_arrays(frame[query].to_numpy(), frame[position].to_numpy(), num_queries)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        return f"Pairs(queries={len(self):,}, pairs={len(self.positions):,}, unknown={int(self.num_unknown.sum()):,})"

    @property
    def counts(self) -> Tensor:
        """[queries], candidates per query, those outside the catalogue not included."""
        return self.offsets.diff()

    @property
    def num_items(self) -> Tensor:
        """[queries], candidates per query, those outside the catalogue included."""
        return self.counts + self.num_unknown

    def of_rows(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Query rows, counted from `start`, and positions of the pairs of queries `start` to `stop`; both ascending."""
        offsets = self.offsets[start : stop + 1]
        first, last = int(offsets[0]), int(offsets[-1])
        rows = torch.repeat_interleave(torch.arange(len(offsets) - 1, device=offsets.device), offsets.diff())
        return rows, self.positions[first:last]

    def select(self, rows: Tensor) -> Pairs:
        """The pairs of these queries, in this order."""
        counts = self.counts[rows]
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        shift = torch.repeat_interleave(self.offsets[:-1][rows] - offsets[:-1], counts)
        taken = torch.arange(len(shift), device=shift.device) + shift
        return Pairs(offsets, self.positions[taken], self.num_unknown[rows])

    def to(self, device: torch.device | str) -> Pairs:
        """The same pairs on another device."""
        return Pairs(self.offsets.to(device), self.positions.to(device), self.num_unknown.to(device))


def _whole(values: Any, name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    array = np.asarray(values.cpu() if isinstance(values, Tensor) else values)
    if array.size == 0:
        return np.zeros(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError(
            f"Pairs: {name} is {array.dtype} of shape {array.shape}. Give one whole number per pair, no nulls."
        )
    return array.astype(np.int64)


def _sorted_distinct(rows: Any, places: Any) -> tuple[Any, Any]:
    width = int(places.max()) + 1 if len(places) else 1
    keys = np.unique(rows * width + places)
    return keys // width, keys % width
