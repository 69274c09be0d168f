"""All filters together: what may be recommended, and what each of them took out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tamis.recommender.catalogue import Catalogue
from tamis.recommender.filters import Filter, Mask
from tamis.recommender.id_rows import Rows
from tamis.recommender.queries import Queries


@dataclass(frozen=True)
class AllowedForAll:
    """What the filters leave of the catalogue, for all requests alike. Good until the catalogue changes.

    Args:
        mask: [items] what may be recommended: on offer, and let pass by every filter.
        num_offered: items on offer.
        left: for each filter that looks at items, how many of those on offer it leaves by itself.
        unknown_ids: for each filter the ids of its settings that the catalogue lacks, where there are any.
        masks: [items] of each filter that looks at items, by name: what it lets pass by itself.
    """

    mask: Mask
    num_offered: int
    left: dict[str, int]
    unknown_ids: dict[str, list[Any]]
    masks: dict[str, Mask]

    @cached_property
    def rows(self) -> Rows | None:
        """The rows left, ascending, not to be changed; None where all items of the catalogue are."""
        if self.mask.all():
            return None
        rows = np.flatnonzero(self.mask).astype(np.int64)
        rows.flags.writeable = False  # an index may remember what it made of them
        return rows

    @property
    def num_left(self) -> int:
        """How many items are left."""
        return int(self.mask.sum())


@dataclass(frozen=True)
class Allowed:
    """What may be recommended to these requests.

    Args:
        for_all: what the filters leave of the catalogue.
        num_queries: how many requests there are.
        exclude: for each request the items that it may not get, besides; None where no filter asks for that.
        lists: the same for each filter that looks at requests, by name.
    """

    for_all: AllowedForAll
    num_queries: int
    exclude: list[Rows] | None
    lists: dict[str, list[Rows]]

    @cached_property
    def excluded(self) -> dict[str, Rows]:
        """For each filter that looks at requests, how many items left by `for_all` it takes out, per request."""
        return {name: _num_taken(found, self.for_all.mask) for name, found in self.lists.items()}

    @property
    def rows(self) -> Rows | None:
        """The only rows that may be recommended, the same for all requests; None for all rows."""
        return self.for_all.rows

    def allows(self, rows: Rows) -> Mask:
        """[queries, rows] which of these items each request may get."""
        allowed = np.tile(self.for_all.mask[rows], (self.num_queries, 1))
        if not self.exclude:
            return allowed
        gone = np.concatenate(self.exclude)
        query = np.repeat(np.arange(self.num_queries), [len(one) for one in self.exclude])
        for place, row in enumerate(rows.tolist()):
            allowed[query[gone == row], place] = False
        return allowed

    def reason(self, query: int | None = None) -> str | None:
        """Why no item is left: for all requests, or for this one; None where some are."""
        if not self.for_all.num_left:
            return f"no item is left: {_reason_for_all(self.for_all)}"
        if query is None or self.exclude is None:
            return None
        gone = np.unique(self.exclude[query])
        left = self.for_all.num_left - int(self.for_all.mask[gone].sum())
        if left:
            return None
        parts = [f"{name} takes out {counts[query]:,}" for name, counts in self.excluded.items() if counts[query]]
        return f"no item is left: of {self.for_all.num_left:,} items, {' and '.join(parts)}"


def _reason_for_all(found: AllowedForAll) -> str:
    if not found.num_offered:
        return "the catalogue has none on offer"
    empty = [name for name, left in found.left.items() if not left]
    parts = [
        f"{name} leaves {found.left[name]:,} of {found.num_offered:,}{_unknown(found, name)}"
        for name in empty[:1] or found.left
    ]
    return parts[0] if empty else f"{' and '.join(parts)}, but no item passes all of them"


def _unknown(found: AllowedForAll, name: str) -> str:
    unknown = found.unknown_ids.get(name)
    return f" ({len(unknown):,} of its ids are not in the catalogue)" if unknown else ""


def allowed_for_all(filters: Sequence[Filter], catalogue: Catalogue) -> AllowedForAll:
    """What the filters leave of the catalogue, whoever asks."""
    masks = {name: mask for name, one in named(filters).items() if (mask := one.allowed(catalogue)) is not None}
    mask = catalogue.is_offered.copy()
    for one in masks.values():
        mask &= one
    return AllowedForAll(
        mask,
        int(catalogue.is_offered.sum()),
        {name: int((found & catalogue.is_offered).sum()) for name, found in masks.items()},
        {name: unknown for name, one in named(filters).items() if (unknown := one.unknown_ids(catalogue))},
        masks,
    )


def named(filters: Sequence[Filter]) -> dict[str, Filter]:
    """The filters by name; of several with one name, all but the first are numbered."""
    found: dict[str, Filter] = {}
    for one in filters:
        same = sum(one.name == other.name for other in found.values())
        found[f"{one.name} #{same + 1}" if same else one.name] = one
    return found


def combine(
    filters: Sequence[Filter], catalogue: Catalogue, queries: Queries, *, for_all: AllowedForAll | None = None
) -> Allowed:
    """What the filters leave for these requests.

    Args:
        filters: all must let an item pass; with none, everything on offer may be recommended.
        catalogue: the items.
        queries: the requests.
        for_all: what `allowed_for_all` gave for these filters and this catalogue, to spare it.
    """
    for_all = for_all or allowed_for_all(filters, catalogue)
    lists = {name: found for name, one in named(filters).items() if (found := one.excluded(queries)) is not None}
    return Allowed(for_all, len(queries), _joined(list(lists.values())), lists)


def _num_taken(lists: Sequence[Rows], mask: Mask) -> Rows:
    lengths = np.array([len(rows) for rows in lists], np.int64)
    taken = mask[np.concatenate(lists)] if lengths.sum() else np.zeros(0, np.bool_)
    query = np.repeat(np.arange(len(lists)), lengths)
    return np.bincount(query, taken, len(lists)).astype(np.int64)


def _joined(lists: Sequence[list[Rows]]) -> list[Rows] | None:
    if len(lists) < 2:
        return lists[0] if lists else None
    return [np.concatenate(of_query) for of_query in zip(*lists, strict=True)]
