"""Item-to-item weights from who chose what: item-kNN, random walks and EASE, the strongest few kept per item."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tamis.progress import progress
from tamis.recommender.id_rows import Rows
from tamis.recommender.sources.ragged import Lists, Numbers, Tally, best, offsets_of

_ENTRIES = 2**22  # votes looked at together: 64 MB


class Choices:
    """Which users chose which items, each pair once.

    Args:
        users: [pairs] int64
        items: [pairs] int64, below `num_items`.
        num_items: size of the catalogue.
    """

    def __init__(self, users: Rows, items: Rows, num_items: int) -> None:
        pairs = np.unique(users * num_items + items)
        users, items = pairs // num_items, pairs % num_items
        self.by_user = Lists.of_pairs(users, items, int(users[-1]) + 1 if len(users) else 0)
        self.by_item = Lists.of_pairs(items, users, num_items)

    def shared(self, user_weights: Numbers) -> Iterator[tuple[Rows, NDArray[np.float64]]]:
        """For each item the items that share users with it, itself included, ascending, and those users' weights' sum.

        In the memory of one catalogue, whatever the number of users and of items.
        """
        tally = Tally(len(self.by_item))
        for item in range(len(self.by_item)):
            users = self.by_item.values[self.by_item.offsets[item] : self.by_item.offsets[item + 1]]
            yield self._sums(tally, users, user_weights)

    def _sums(self, tally: Tally, users: Rows, user_weights: Numbers) -> tuple[Rows, NDArray[np.float64]]:
        ends = np.cumsum(self.by_user.lengths[users])
        if not len(ends) or ends[-1] <= _ENTRIES:
            return self._votes(tally, users, user_weights)
        cuts = np.unique(np.searchsorted(ends, np.arange(_ENTRIES, ends[-1], _ENTRIES)))
        sums = np.zeros(len(self.by_item))
        for part in np.split(users, cuts):
            items, found = self._votes(tally, part, user_weights)
            sums[items] += found
        items = np.flatnonzero(sums)
        return items, sums[items]

    def _votes(self, tally: Tally, users: Rows, user_weights: Numbers) -> tuple[Rows, NDArray[np.float64]]:
        positions, lengths = self.by_user.positions(users)
        return tally.of(self.by_user.values[positions], np.repeat(user_weights[users], lengths))


def knn_weights(choices: Choices, *, shrinkage: float, num_neighbours: int) -> Lists:
    """Item-kNN: the cosine of two items' users, shrunk where few of them are shared.

    w_ij = n_ij / (sqrt(n_i n_j) + shrinkage), with n_ij the users of both and n_i those of i.
    """
    counts = choices.by_item.lengths
    shared = choices.shared(np.ones(len(choices.by_user)))
    rows = (
        (items, numbers / (np.sqrt(counts[item] * counts[items]) + shrinkage))
        for item, (items, numbers) in enumerate(shared)
    )
    return strongest(rows, len(choices.by_item), num_neighbours)


def walk_weights(choices: Choices, *, num_neighbours: int) -> Lists:
    """The chance that two random steps lead from one item to the other: to one of its users, to one of that user's.

    w_ij = 1/n_i * sum over the users of both of 1/n_u. As matrices that is D^-1/2 (R'^T R') D^1/2, with R' the users'
    choices R divided by the roots of both degrees, and D the items' degrees: a filter that lets slow changes over the
    graph pass.

    Source: Cooper et al., Random Walks in Recommender Systems, WWW 2014, P3; the filter: Shen et al., How Powerful is
    Graph Convolution for Recommendation?, CIKM 2021.
    """
    counts = choices.by_item.lengths
    shared = choices.shared(1 / np.maximum(choices.by_user.lengths, 1))
    rows = ((items, sums / counts[item]) for item, (items, sums) in enumerate(shared))
    return strongest(rows, len(choices.by_item), num_neighbours)


def ease_lists(choices: Choices, *, l2: float, num_neighbours: int) -> Lists:
    """EASE, see `ease_weights`; in dense matrices, so in memory of the square of the items."""
    from tamis.models.ease import ease_weights  # torch loads where it is first used: a request needs none

    weights = ease_weights(gram(choices), l2=l2)
    items = np.arange(len(weights))
    return strongest(((items, row) for row in weights), len(weights), num_neighbours)


def gram(choices: Choices) -> NDArray[np.float32]:
    """How many users have both items: [items, items]."""
    matrix = np.zeros((len(choices.by_item), len(choices.by_item)), np.float32)
    for item, (items, numbers) in enumerate(choices.shared(np.ones(len(choices.by_user)))):
        matrix[item, items] = numbers
    return matrix


def strongest(rows: Iterator[tuple[Rows, Numbers]], num_items: int, num_neighbours: int) -> Lists:
    """Of each item's weights the largest in size, ascending by item; an item has no weight for itself."""
    lengths, values, weights = np.zeros(num_items, np.int64), [], []
    with progress("item-item weights", num_items, unit="items") as advance:
        for item, (items, row) in enumerate(rows):
            row = np.where(items == item, 0, row)
            kept = np.sort(best(np.abs(row), num_neighbours))
            kept = kept[row[kept] != 0]
            lengths[item] = len(kept)
            values.append(items[kept])
            weights.append(row[kept].astype(np.float32))
            advance(1)
    return Lists(offsets_of(lengths), np.concatenate(values), np.concatenate(weights))
