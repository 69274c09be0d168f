"""Lists of different lengths in two flat arrays, and sums over many of them in the memory of one catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tamis.recommender.id_rows import Rows

Numbers: TypeAlias = NDArray[Any]

_PARTS = ("offsets", "values", "weights")
_SPARSE = 16  # fewer votes than a sixteenth of the catalogue: sorting them beats a walk over the catalogue


@dataclass(frozen=True)
class Lists:
    """List i is `values[offsets[i]:offsets[i + 1]]`, and its weights are the same part of `weights`.

    Args:
        offsets: [lists + 1] int64, from 0 on.
        values: [entries] int64
        weights: [entries]; None where nothing is weighted.
    """

    offsets: Rows
    values: Rows
    weights: Numbers | None = None

    @classmethod
    def of_pairs(cls, lists: Rows, values: Rows, num_lists: int) -> Self:
        """One list per number below `num_lists`, with its values in the order given."""
        order = np.argsort(lists, kind="stable")
        return cls(offsets_of(np.bincount(lists, minlength=num_lists)), values[order])

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> Rows:
        """[lists]"""
        return np.diff(self.offsets)

    def positions(self, rows: Rows) -> tuple[Rows, Rows]:
        """Where the entries of these lists stand, one list after the other, and how many each has."""
        lengths = self.lengths[rows]
        shifts = self.offsets[rows] - offsets_of(lengths)[:-1]
        return np.arange(lengths.sum()) + np.repeat(shifts, lengths), lengths

    def weights_at(self, positions: Rows | slice) -> Numbers:
        """The weights that stand there."""
        assert self.weights is not None
        found: Numbers = self.weights[positions]
        return found

    def save(self, folder: Path, name: str) -> None:
        """Write the arrays as files that begin with `name`."""
        for part in _PARTS:
            array = getattr(self, part)
            if array is not None:
                np.save(folder / f"{name}_{part}.npy", array, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, name: str) -> Self:
        """Read what `save` wrote."""
        files = {part: folder / f"{name}_{part}.npy" for part in _PARTS}
        return cls(**{part: np.load(file, allow_pickle=False) for part, file in files.items() if file.exists()})


def offsets_of(lengths: Rows) -> Rows:
    """Where lists of these lengths begin, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


class Tally:
    """Sums of votes per item, used again for one list after another: it keeps one number per item.

    Args:
        num_items: size of the catalogue.
    """

    def __init__(self, num_items: int) -> None:
        self._sums = np.zeros(num_items)

    def of(self, items: Rows, weights: Numbers) -> tuple[Rows, NDArray[np.float64]]:
        """The items voted for, ascending, and the sum of each one's weights in the order of the votes, in float64."""
        if len(items) * _SPARSE > len(self._sums):
            sums = np.bincount(items, weights, minlength=len(self._sums)).astype(np.float64, copy=False)
            voted: Rows = np.flatnonzero(sums).astype(np.int64)
            return voted, sums[voted]
        np.add.at(self._sums, items, weights)
        voted = distinct(items)
        found: NDArray[np.float64] = self._sums[voted]
        self._sums[voted] = 0
        return voted, found


def distinct(values: Rows) -> Rows:
    """The values without repetitions, ascending."""
    ordered = np.sort(values)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])] if len(ordered) else ordered


def best(scores: Numbers, k: int) -> Rows:
    """Places of the `k` largest scores, largest first; equal ones by ascending place."""
    if k < len(scores):
        border = np.partition(scores, len(scores) - k)[len(scores) - k]
        places = np.flatnonzero(scores >= border)  # all that equal the last one come along: the order decides
        return places[np.argsort(-scores[places], kind="stable")[:k]]
    return np.argsort(-scores, kind="stable")
