"""The stages over encoded queries: sources, filters, ranker, ordering, each to be asked by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tamis.errors import NotFittedError, SettingError, UnknownNameError
from tamis.features.workflow import Workflow
from tamis.index import SearchResult
from tamis.recommender.allowed_items import Allowed, AllowedForAll, allowed_for_all, combine
from tamis.recommender.audience import Audience
from tamis.recommender.building import (
    popularity,
)
from tamis.recommender.candidates import BLENDS, Candidates, blended
from tamis.recommender.catalogue import Catalogue
from tamis.recommender.filters import Filter, SeenItems
from tamis.recommender.id_rows import Rows
from tamis.recommender.interactions import Interactions
from tamis.recommender.ordering import Ordering, order_by
from tamis.recommender.queries import Queries
from tamis.recommender.ranker import Ranker
from tamis.recommender.source import Source

if TYPE_CHECKING:
    pass

POPULARITY = "popularity"


class StageSet:
    """What every stage of a recommender is, and what all of them know: the items, the users, and who met what.

    Args:
        sources: where candidates come from.
        filters: what is left out of every list.
        ranker: what predicts; None leaves the sources' scores.
        ordering: steps from scores to the list.
        blend: how several sources' lists become one.

    Raises:
        SettingError: no source, or two of one name.
        UnknownNameError: no such blend.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        filters: Sequence[Filter],
        ranker: Ranker | None,
        ordering: Sequence[Ordering],
        blend: str,
    ) -> None:
        self.sources, self.filters, self.ranker = list(sources), tuple(filters), ranker
        self.ordering, self.blend = tuple(ordering), blend
        self._parts: tuple[Workflow, Catalogue, Audience, Interactions] | None = None
        self._allowed: tuple[int, AllowedForAll] | None = None  # by the catalogue's version
        self._check()

    def _check(self) -> None:
        if not self.sources:
            raise SettingError("Recommender: there are no sources. Give one, a fitted retrieval model say.")
        if self.blend not in BLENDS:
            raise UnknownNameError(self.blend, BLENDS, where="Recommender", what="blend")
        names = self.source_names
        for name in names:
            if names.count(name) > 1:
                raise SettingError(f"Recommender: two sources are named {name!r}. Give one another name: name=...")

    @property
    def source_names(self) -> list[str]:
        """What each bit of a candidate's sources stands for; the last is the fallback of unknown users."""
        return [*(source.name for source in self.sources), POPULARITY]

    @property
    def parts(self) -> tuple[Workflow, Catalogue, Audience, Interactions]:
        """Workflow, items, users and who met what.

        Raises:
            NotFittedError: neither `fit` nor `load` came before.
        """
        if self._parts is None:
            raise NotFittedError("Recommender: it knows no users and items yet. Call fit, or load a saved one.")
        return self._parts

    @property
    def workflow(self) -> Workflow:
        """What turns raw rows into codes."""
        return self.parts[0]

    @property
    def catalogue(self) -> Catalogue:
        """The items."""
        return self.parts[1]

    @property
    def audience(self) -> Audience:
        """The known users."""
        return self.parts[2]

    @property
    def interactions(self) -> Interactions:
        """Who met what when."""
        return self.parts[3]

    @property
    def num_items(self) -> int:
        """How many items can be recommended."""
        return self.catalogue.num_offered

    @property
    def targets(self) -> list[str]:
        """What the ranker predicts."""
        return [] if self.ranker is None else self.ranker.targets

    def filters_for(self, more: Sequence[Filter] = (), *, exclude_seen: bool = True) -> list[Filter]:
        """The filters of a request: the recommender's, then these."""
        return [*(one for one in self.filters if exclude_seen or not isinstance(one, SeenItems)), *more]

    def allowed(self, queries: Queries, filters: Sequence[Filter] = (), *, exclude_seen: bool = True) -> Allowed:
        """What the filters leave for these requests."""
        all_filters = self.filters_for(filters, exclude_seen=exclude_seen)
        if filters:
            return combine(all_filters, self.catalogue, queries)
        if self._allowed is None or self._allowed[0] != self.catalogue.version:
            self._allowed = (self.catalogue.version, allowed_for_all(all_filters, self.catalogue))
        return combine(all_filters, self.catalogue, queries, for_all=self._allowed[1])

    def candidates(self, queries: Queries, allowed: Allowed, *, quotas: Mapping[str, int] | None = None) -> Candidates:
        """The first stage: the sources' lists as one, the popular items where no source has anything.

        `quotas` by the source's name stand for its own in this request.
        """
        quotas = quotas or {}
        can = [source.can_answer(queries) for source in self.sources]
        found = [
            self._search(source, queries, allowed, quotas.get(source.name), own)
            for source, own in zip(self.sources, can, strict=True)
        ]
        candidates = blended(found, len(self.catalogue), blend=self.blend)
        unanswered = np.flatnonzero(~np.logical_or.reduce(can))
        return self._with_popular(candidates, unanswered, allowed) if len(unanswered) else candidates

    def search(self, source: Source, queries: Queries, allowed: Allowed, *, k: int | None = None) -> SearchResult:
        """One source's list for each request, `k` long or as long as its quota; empty where it cannot answer."""
        return self._search(source, queries, allowed, k, source.can_answer(queries))

    def _search(
        self, source: Source, queries: Queries, allowed: Allowed, k: int | None, can: NDArray[np.bool_]
    ) -> SearchResult:
        rows = np.flatnonzero(can)
        k = min(k or source.quota, len(self.catalogue))
        if len(rows) == len(queries) > 0:
            return source.search(queries, k, exclude=allowed.exclude, allow=allowed.rows)
        ids, scores = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf, np.float32)
        if len(rows):
            exclude = None if allowed.exclude is None else [allowed.exclude[row] for row in rows.tolist()]
            found = source.search(queries.select(rows), k, exclude=exclude, allow=allowed.rows)
            ids[rows], scores[rows] = found.ids, found.scores
        return SearchResult(scores, ids)

    def _with_popular(self, candidates: Candidates, rows: Rows, allowed: Allowed) -> Candidates:
        """The candidates, with the most popular allowed items for these requests."""
        k = sum(source.quota for source in self.sources)
        most = 0 if allowed.exclude is None else max(len(allowed.exclude[row]) for row in rows.tolist())
        popular = self.catalogue.most_popular(allowed.for_all.mask, k + most)
        lists = [
            _first_allowed(popular, k, () if allowed.exclude is None else allowed.exclude[row]) for row in rows.tolist()
        ]
        return candidates.filled(rows, lists, popularity(self.catalogue), bit=len(self.sources))

    def rank(self, queries: Queries, candidates: Candidates) -> Candidates:
        """The second stage: the ranker's predictions for the candidates."""
        return candidates if self.ranker is None else self.ranker.rank(queries, candidates, self.catalogue)

    def order(
        self,
        candidates: Candidates,
        k: int,
        allowed: Allowed | None = None,
        *,
        generators: Sequence[np.random.Generator] | None = None,
    ) -> Candidates:
        """The lists of length `k`; see `order_by`."""
        return order_by(
            self.ordering, candidates, self.catalogue, k, targets=self.targets, allowed=allowed, generators=generators
        )


def _first_allowed(items: Rows, k: int, excluded: Sequence[int] | Rows) -> Rows:
    """The first `k` items that are not excluded."""
    some = items[: k + len(excluded)]
    return some[~np.isin(some, excluded)][:k]
