"""No more than so many items of a kind in one list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import SettingError
from tamis.recommender.candidates import Candidates
from tamis.recommender.catalogue import Catalogue
from tamis.recommender.id_rows import Rows
from tamis.recommender.item_codes import NO_CODE, Codes, column_codes, distinct_rows
from tamis.recommender.ordering_step import Ordering, Situation, need_columns

_BLOCK = 1024  # requests at once, so that the counts stay in the cache


@dataclass(frozen=True)
class Caps(Ordering):
    """Keep at most so many items per value of a column: `{"category": 2, "brand": 1}`.

    Goes down the list and leaves out each item that would be one too many; an item that is left out for one column
    does not count for another. In a column of lists an item counts for every value of its list. Null, and an empty
    list, is no value: such items are not capped. Lists may become shorter than asked for.

    Args:
        caps: how many items per value, by item column.

    Raises:
        SettingError: no caps, or one below 1.
    """

    caps: Mapping[str, int]

    def __post_init__(self) -> None:
        caps: Any = self.caps
        if not isinstance(caps, Mapping) or not caps:
            raise SettingError(f"Caps: the caps are {caps!r}. Give one by item column, {{'category': 2}} say.")
        object.__setattr__(self, "caps", dict(caps))
        for column, cap in caps.items():
            if not isinstance(cap, int) or cap < 1:
                raise SettingError(f"Caps: the cap of {column!r} is {cap!r}. Give a whole number of 1 or more.")

    def check(self, catalogue: Catalogue, targets: Sequence[str]) -> None:
        """Refuse columns that the catalogue does not have.

        Raises:
            UnknownColumnError: names the nearest.
        """
        need_columns(self, tuple(self.caps), catalogue)

    def order(self, candidates: Candidates, situation: Situation) -> Candidates:
        """The candidates that are not one too many, in the order they had."""
        self.check(situation.catalogue, situation.targets)
        rows, places = distinct_rows(candidates.items, len(situation.catalogue))
        tables = [column_codes(situation.catalogue.columns[name].gather(rows)) for name in self.caps]
        kept = np.zeros(candidates.items.shape, np.bool_)
        for start in range(0, len(candidates), _BLOCK):
            block = places[start : start + _BLOCK]
            kept[start : start + _BLOCK] = _kept(block, tables, list(self.caps.values()))
        order = np.argsort(~kept, axis=1, kind="stable")
        return candidates.take(np.where(np.take_along_axis(kept, order, 1), order, -1))


def _kept(places: Rows, tables: Sequence[Codes], caps: Sequence[int]) -> NDArray[np.bool_]:
    """[queries, width] what stays of the items in these places of the tables, going down each list."""
    kept = np.zeros(places.shape, np.bool_)
    codes = [_numbered(places, table) for table in tables]
    counts = [np.zeros((len(places), int(code.max(initial=0)) + 1), np.int32) for code in codes]
    query = np.arange(len(places))[:, None]
    for place in range(places.shape[1]):
        stays = places[:, place] >= 0
        here = [code[:, place] for code in codes]
        for count, code, cap in zip(counts, here, caps, strict=True):
            stays &= ~((count[query, code] >= cap) & (code > 0)).any(axis=1)
        for count, code in zip(counts, here, strict=True):
            count[query, code] += stays[:, None]
        kept[:, place] = stays
    return kept


def _numbered(places: Rows, table: Codes) -> NDArray[np.int64]:
    """[queries, width, values] the values numbered from 1 within each request; 0 is none."""
    codes = np.where(places[:, :, None] < 0, NO_CODE, table[places] if len(table) else NO_CODE)
    flat = codes.reshape(len(places), int(np.prod(codes.shape[1:])))
    order = np.argsort(flat, axis=1, kind="stable")
    ascending = np.take_along_axis(flat, order, 1)
    is_new = np.ones(ascending.shape, np.bool_)
    is_new[:, 1:] = ascending[:, 1:] != ascending[:, :-1]
    numbers = np.cumsum(is_new & (ascending != NO_CODE), axis=1)
    found = np.zeros(flat.shape, np.int64)
    np.put_along_axis(found, order, numbers, 1)
    return found.reshape(codes.shape)
