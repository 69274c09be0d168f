"""Items that stand where they were put."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tamis.errors import SettingError
from tamis.recommender.candidates import Candidates
from tamis.recommender.described import KIND
from tamis.recommender.id_rows import Rows
from tamis.recommender.ordering_step import Ordering, Situation
from tamis.recommender.raw_ids import as_ids

_NOWHERE = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Pins(Ordering):
    """Put items at fixed places of every list: `{0: "a", 3: "b"}` has "a" first and "b" fourth.

    A pinned item is there though no source found it (its scores are NaN then), and never where a filter denies it: not
    on offer, denied, or seen already where seen items are left out. The other items move up or down around it. In a
    list too short for its place it comes last. Ids that the catalogue does not have are passed over. Has to be the last
    step; caps do not hold for pinned items.

    Args:
        items: raw item id by place, from 0.

    Raises:
        SettingError: no pins, a place that is none, or an item at two places.
    """

    is_last: ClassVar[bool] = True
    items: Mapping[int, Any]

    def __post_init__(self) -> None:
        items: Any = self.items
        if not isinstance(items, Mapping) or not items:
            raise SettingError(f"Pins: the items are {items!r}. Give one by place, {{0: 'item'}} say.")
        for place in items:
            if isinstance(place, bool) or not str(place).isdecimal():
                raise SettingError(f"Pins: {place!r} is no place. Give a whole number, 0 for the first.")
        pinned = {int(place): items[place] for place in sorted(items, key=int)}
        object.__setattr__(self, "items", pinned)
        twice = [item for i, item in enumerate(pinned.values()) if item in list(pinned.values())[:i]]
        if twice:
            raise SettingError(f"Pins: {twice[0]!r} is pinned to two places. Give it one.")

    def describe(self) -> dict[str, Any]:
        """The kind and the settings, as JSON can hold them."""
        return {KIND: "Pins", "items": {str(place): item for place, item in self.items.items()}}

    def order(self, candidates: Candidates, situation: Situation) -> Candidates:
        """The candidates and the pinned items among them."""
        catalogue = situation.catalogue
        rows = catalogue.rows_of(as_ids(self.items.values(), catalogue.ids.name, catalogue.ids.dtype))
        places = np.array(list(self.items), np.int64)[rows >= 0]
        rows = rows[rows >= 0]
        may_stand = _may_stand(rows, len(candidates), situation)
        longer = _with_items(candidates, rows)
        keys = _keys(longer.items, rows, places, may_stand)
        order = np.argsort(keys, axis=1, kind="stable")
        return longer.take(np.where(np.take_along_axis(keys, order, 1) == _NOWHERE, -1, order))


def _may_stand(rows: Rows, num_queries: int, situation: Situation) -> NDArray[np.bool_]:
    """[queries, pins] whether the request may get the item."""
    if situation.allowed is None:
        return np.broadcast_to(situation.catalogue.is_offered[rows], (num_queries, len(rows)))
    return situation.allowed.allows(rows)


def _with_items(candidates: Candidates, rows: Rows) -> Candidates:
    """The candidates, and these items behind them."""
    shape = (len(candidates), len(rows))
    nothing = np.full(shape, np.nan, np.float32)
    ranking = candidates.ranking
    if ranking is not None:
        unasked = np.full((*shape, ranking.shape[2]), np.nan, np.float32)
        ranking = np.concatenate([ranking, unasked], axis=1)
    return Candidates(
        np.concatenate([candidates.items, np.broadcast_to(rows, shape)], axis=1),
        np.concatenate([candidates.scores, nothing], axis=1),
        np.concatenate([candidates.found_by, np.zeros(shape, np.int64)], axis=1),
        np.concatenate([candidates.retrieval, nothing], axis=1),
        ranking,
    )


def _keys(items: Rows, rows: Rows, places: Rows, may_stand: NDArray[np.bool_]) -> Rows:
    """[queries, width + pins] the place that each entry goes to; a pin that is a candidate too goes by that entry."""
    width = items.shape[1] - len(rows)
    keys = np.full(items.shape, _NOWHERE)
    is_free = items >= 0
    is_free[:, width:] = False
    for pin, row in enumerate(rows.tolist()):
        is_same = (items[:, :width] == row) & may_stand[:, pin, None]
        is_free[:, :width] &= ~is_same
        keys[:, :width][is_same] = places[pin]
        keys[may_stand[:, pin] & ~is_same.any(axis=1), width + pin] = places[pin]
    free = np.cumsum(is_free, axis=1) - 1
    for pin in range(len(rows)):  # ascending places: each pin moves on what would stand at its place or behind it
        free += may_stand[:, pin, None] & (free >= places[pin])
    return np.where(is_free, free, keys)
