"""What filters leave of the catalogue, kept for the next request with the same filters."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from tamis.recommender.allowed_items import Allowed, AllowedForAll, allowed_for_all, combine
from tamis.recommender.catalogue import Catalogue
from tamis.recommender.filters import Filter, Where
from tamis.recommender.id_rows import Rows
from tamis.recommender.queries import Queries
from tamis.recommender.recommender import Recommender

_MAX_BYTES = 128e6
_BYTES_PER_ITEM = 9  # a mask, and the rows that pass


@dataclass(frozen=True)
class _NotThese(Filter):
    """Items that a request leaves out, by row: cheaper than a mask of the whole catalogue.

    Args:
        rows: of the catalogue.
    """

    rows: Any

    @property
    def name(self) -> str:
        """How reports call it."""
        return f"exclude ({len(self.rows):,} items)"

    def excluded(self, queries: Queries) -> list[Rows]:
        """The same items for each request."""
        return [self.rows] * len(queries)


class FilterCache:
    """Answers which items requests may get. Conditions are evaluated once for each state of the catalogue.

    Args:
        recommender: whose filters and items they are.
    """

    def __init__(self, recommender: Recommender) -> None:
        self._recommender = recommender
        self._kept: OrderedDict[tuple[str, ...], tuple[int, AllowedForAll]] = OrderedDict()
        self._lock = threading.Lock()
        self.hits = self.misses = 0

    def allowed(
        self, queries: Queries, conditions: tuple[str, ...], exclude: Rows, *, exclude_seen: bool = True
    ) -> Allowed:
        """What may be recommended to these requests.

        Args:
            queries: the requests.
            conditions: as `Where` takes them; besides the recommender's own filters.
            exclude: rows of items that none of the requests may get.
            exclude_seen: see `Recommender.recommend`.

        Raises:
            SettingError: no condition.
            UnknownColumnError: a condition on a column that is not there.
        """
        more: list[Filter] = [Where(one) for one in conditions]
        for_all = self._for_all(conditions, more)
        if len(exclude):
            more.append(_NotThese(exclude))
        filters = self._recommender.filters_for(more, exclude_seen=exclude_seen)
        return combine(filters, self._recommender.catalogue, queries, for_all=for_all)

    def _for_all(self, conditions: tuple[str, ...], more: list[Filter]) -> AllowedForAll:
        catalogue = self._recommender.catalogue
        with self._lock:
            version, kept = self._kept.get(conditions, (-1, None))
            if kept is not None and version == catalogue.version:
                self._kept.move_to_end(conditions)
                self.hits += 1
                return kept
            self.misses += 1
        found = allowed_for_all(self._recommender.filters_for(more), catalogue)
        with self._lock:
            self._kept[conditions] = (catalogue.version, found)
            self._kept.move_to_end(conditions)
            while len(self._kept) > _most(catalogue):
                self._kept.popitem(last=False)
        return found


def _most(catalogue: Catalogue) -> int:
    return max(4, int(_MAX_BYTES / (_BYTES_PER_ITEM * max(len(catalogue), 1))))
