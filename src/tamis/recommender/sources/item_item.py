"""Candidates that go with what the user has met: linear item-to-item weights, summed over the history."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tamis.errors import DataError, NotFittedError, SettingError, UnknownNameError
from tamis.index import SearchResult
from tamis.recommender.audience import Audience
from tamis.recommender.catalogue import Catalogue
from tamis.recommender.id_rows import Rows
from tamis.recommender.interactions import Interactions
from tamis.recommender.queries import Queries
from tamis.recommender.source import Source
from tamis.recommender.sources.item_weights import Choices, ease_lists, knn_weights, walk_weights
from tamis.recommender.sources.picking import Passing, ResultLists
from tamis.recommender.sources.ragged import Lists, Tally, best

METHODS = ("ease", "knn", "graph")
_WEIGHTS = "weights"


class ItemItem(Source):
    """Each item of the history votes for the items that go with it; an item's score is the sum of its votes.

    Only items with a score above 0 are candidates. Items that are newer than the fit have no votes and get none. Once
    fitted, it takes the memory of `num_neighbours` weights an item, and for a search one number an item besides.

    Args:
        method: `"ease"`: linear regression in closed form, the best where the catalogue is small enough for it;
            `"graph"`: random walks of two steps, for any size, the best on wide catalogues with few choices per user;
            `"knn"`: cosine of the items' users, for any size.
        quota: candidates a request; by default 100, or all items of a smaller catalogue.
        l2: > 0, of `"ease"`: more of it for less data per item.
        shrinkage: >= 0, of `"knn"`: added to the denominator, so that pairs with few users in common count less.
        num_neighbours: votes that an item keeps, those largest in size; more cost memory and time, and add little.
        latest: only so many of the latest items of the history vote; None is all.
        half_life: an item's votes count half for every so many later items of the history; None counts all alike.
            Where the next item is asked for, as in a shop or for films, a few items are much better than None.
        max_dense_items: the largest catalogue for `"ease"`, which needs 12 bytes times its square while it is fitted:
            4.8 GB at 20,000 items.
        name: what its candidates are marked with.

    Raises:
        UnknownNameError: no such method.
        SettingError: a setting out of its range.
    """

    def __init__(
        self,
        method: str = "ease",
        *,
        quota: int | None = None,
        l2: float = 300.0,
        shrinkage: float = 20.0,
        num_neighbours: int = 100,
        latest: int | None = None,
        half_life: float | None = None,
        max_dense_items: int = 20_000,
        name: str | None = None,
    ) -> None:
        super().__init__(quota=quota, name=name)
        if method not in METHODS:
            raise UnknownNameError(method, METHODS, where="ItemItem", what="method")
        _check_positive(l2=l2, num_neighbours=num_neighbours, latest=latest, half_life=half_life)
        if not shrinkage >= 0:
            raise SettingError(f"ItemItem: shrinkage is {shrinkage}. Give a number from 0 on.")
        self.method, self.l2, self.shrinkage, self.num_neighbours = method, l2, shrinkage, num_neighbours
        self.latest, self.half_life, self.max_dense_items = latest, half_life, max_dense_items
        self._weights: Lists | None = None

    @property
    def weights(self) -> Lists:
        """List i holds the items that item i speaks for, and how strongly.

        Raises:
            NotFittedError: the recommender was not fitted.
        """
        if self._weights is None:
            raise NotFittedError(f"{self.name}: there are no weights yet. Call Recommender.fit first.")
        return self._weights

    def fit(self, catalogue: Catalogue, interactions: Interactions, audience: Audience) -> None:
        """Learn the weights from who met what; how often does not count.

        Raises:
            DataError: there are no interactions.
            SettingError: the catalogue is too large for `"ease"`.
        """
        if not len(interactions):
            raise DataError(
                f"{self.name}: there are no interactions to learn from. Fit on rows of known users and items."
            )
        self._check_size(len(catalogue))
        choices = Choices(interactions.users, interactions.items, len(catalogue))
        if self.method == "ease":
            self._weights = ease_lists(choices, l2=self.l2, num_neighbours=self.num_neighbours)
        elif self.method == "graph":
            self._weights = walk_weights(choices, num_neighbours=self.num_neighbours)
        else:
            self._weights = knn_weights(choices, shrinkage=self.shrinkage, num_neighbours=self.num_neighbours)

    def _check_size(self, num_items: int) -> None:
        if self.method == "ease" and num_items > self.max_dense_items:
            raise SettingError(
                f"{self.name}: EASE over {num_items:,} items inverts a matrix of that width, which takes "
                f"{12 * num_items**2 / 1e9:.1f} GB, and max_dense_items is {self.max_dense_items:,}. Choose "
                "method='graph' or method='knn', which need no such matrix, or raise max_dense_items if memory allows."
            )

    def can_answer(self, queries: Queries) -> NDArray[np.bool_]:
        """Requests of users who have met an item that has weights."""
        lengths = self.weights.lengths
        return np.array([bool(lengths[self._voters(seen)[0]].any()) for seen in queries.seen], np.bool_)

    def search(
        self, queries: Queries, k: int, *, exclude: Sequence[Rows] | None = None, allow: Rows | None = None
    ) -> SearchResult:
        """The items with the most votes; equal ones by the smaller row."""
        num_items, where = len(self.weights), f"{self.name}.search"
        passing, lists = (
            Passing(num_items, len(queries), exclude, allow, where=where),
            ResultLists(len(queries), k, where=where),
        )
        tally = Tally(num_items)
        for query, seen in enumerate(queries.seen):
            items, scores = self._votes(tally, seen)
            may = passing.of(query)[items] & (scores > 0)
            items, scores = items[may], scores[may]
            places = best(scores, k)
            lists.put(query, items[places], scores[places])
        return lists.result()

    def _votes(self, tally: Tally, seen: Rows) -> tuple[Rows, NDArray[np.float32]]:
        voters, decay = self._voters(seen)
        positions, lengths = self.weights.positions(voters)
        votes = self.weights.weights_at(positions) * np.repeat(decay, lengths)
        items, sums = tally.of(self.weights.values[positions], votes)
        return items, sums.astype(np.float32)

    def _voters(self, seen: Rows) -> tuple[Rows, NDArray[np.float64]]:
        """The items of a history that may vote, and how much each one's votes count."""
        history = seen if self.latest is None else seen[-self.latest :]
        ages = np.arange(len(history))[::-1]
        decay = np.ones(len(history)) if self.half_life is None else 0.5 ** (ages / self.half_life)
        known = history < len(self.weights)
        return history[known], decay[known]

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON can hold them."""
        names = (
            "method",
            "quota",
            "l2",
            "shrinkage",
            "num_neighbours",
            "latest",
            "half_life",
            "max_dense_items",
            "name",
        )
        return {name: getattr(self, name) for name in names}

    def save(self, folder: Path) -> None:
        """Write the weights."""
        self.weights.save(folder, _WEIGHTS)

    @classmethod
    def load(cls, folder: Path, settings: dict[str, Any]) -> Self:
        """Read what `save` wrote."""
        source = cls(**settings)
        source._weights = Lists.load(folder, _WEIGHTS)
        return source


def _check_positive(**settings: float | None) -> None:
    for name, value in settings.items():
        if value is not None and not value > 0:
            raise SettingError(f"ItemItem: {name} is {value}. Give a number above 0.")
