"""Items that a user did not take, drawn for requests: from candidates, evenly, by popularity.

Every draw is a hash of the seed, the request and the item (or the number of the draw), so the same request gets the
same items whatever is drawn beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.data.stable_hash import Hashes, mixed
from tamis.errors import SettingError
from tamis.recommender.id_rows import Rows

_AT_ONCE = 4096  # requests whose candidates lie in memory beside each other
_UNIFORM, _POPULAR, _ROUNDING = (np.uint64(1 << 60) * np.uint64(i) for i in (1, 2, 3))  # streams of one request


@dataclass(frozen=True)
class NegativeSettings:
    """How many negatives a positive gets, and the shares of them that do not come from the candidates.

    Args:
        num_negatives: for each positive.
        uniform: share drawn evenly from all items.
        popular: share drawn by popularity.
        seed: of all draws.

    Raises:
        SettingError: below 0, or shares that are more than the whole.
    """

    num_negatives: int
    uniform: float
    popular: float
    seed: int

    def __post_init__(self) -> None:
        if self.num_negatives < 0:
            raise SettingError(f"ranking_rows: num_negatives is {self.num_negatives}. Choose 0 or more.")
        if not (self.uniform >= 0 and self.popular >= 0 and self.uniform + self.popular <= 1):
            raise SettingError(
                f"ranking_rows: uniform is {self.uniform} and popular {self.popular}. Give shares from 0 on that are 1 "
                "or less together."
            )


@dataclass(frozen=True)
class Negatives:
    """Drawn items: the request of each, the item's row, and how many candidates it stands for; [negatives] each."""

    requests: Rows
    items: Rows
    stands_for: NDArray[np.float64]


class NegativeDraws:
    """Draws negatives of requests.

    Args:
        settings: how many and from where.
        num_items: rows of the catalogue.
        counts: [items] popularity; needed where a share is drawn by it.
    """

    def __init__(self, settings: NegativeSettings, num_items: int, counts: NDArray[Any] | None = None) -> None:
        self.settings, self.num_items = settings, num_items
        self._cumulative = None if counts is None else np.cumsum(counts, dtype=np.float64)

    def draw(self, users: Rows, num_positives: Rows, keys: Hashes, pools: Rows, taken: Rows) -> Negatives:
        """Negatives of each request, distinct within it; fewer where there are no more.

        Args:
            users: [requests] the row of each request's user in `pools`.
            num_positives: [requests]
            keys: [requests] a hash of each request.
            pools: [users, width] candidates; -1 is an empty place.
            taken: pairs that are no negatives, `user * num_items + item`, in any order.
        """
        taken = np.unique(taken)
        free = self._free(pools, taken)
        keys = mixed(keys ^ np.uint64(self.settings.seed & ((1 << 64) - 1)))
        parts = [
            self._draw(
                users[at : at + _AT_ONCE], num_positives[at : at + _AT_ONCE], keys[at : at + _AT_ONCE], free, taken
            )
            for at in range(0, len(users), _AT_ONCE)
        ]
        requests = [part.requests + number * _AT_ONCE for number, part in enumerate(parts)]
        nothing = np.zeros(0, np.int64)
        return Negatives(
            np.concatenate([nothing, *requests]),
            np.concatenate([nothing, *(part.items for part in parts)]),
            np.concatenate([np.zeros(0), *(part.stands_for for part in parts)]),
        )

    def _free(self, pools: Rows, taken: Rows) -> Rows:
        """The pools without what was taken and without repetitions."""
        pairs = np.arange(len(pools))[:, None] * self.num_items + pools
        order = np.argsort(pools, axis=1, kind="stable")
        ordered = np.take_along_axis(pools, order, axis=1)
        repeated = np.zeros(pools.shape, np.bool_)
        np.put_along_axis(repeated, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
        return np.where((pools < 0) | repeated | _is_in(pairs, taken), -1, pools)

    def _draw(self, users: Rows, num_positives: Rows, keys: Hashes, free: Rows, taken: Rows) -> Negatives:
        needed = num_positives * self.settings.num_negatives
        num_uniform, num_popular = self._shares(needed, keys)
        pool = free[users]
        requests, items = _smallest(pool, keys, needed - num_uniform - num_popular)
        num_drawn = np.bincount(requests, minlength=len(users))
        stands_for = ((pool >= 0).sum(axis=1) / np.maximum(num_drawn, 1))[requests]
        for stream, number in ((_UNIFORM, num_uniform), (_POPULAR, num_popular)):
            if number.any():
                more = self._more(stream, number, keys, users, taken, requests * self.num_items + items)
                requests, items = np.append(requests, more[0]), np.append(items, more[1])
                stands_for = np.append(stands_for, np.ones(len(more[0])))
        order = np.argsort(requests, kind="stable")
        return Negatives(requests[order], items[order], stands_for[order])

    def _shares(self, needed: Rows, keys: Hashes) -> tuple[Rows, Rows]:
        """How many of each request's negatives are drawn evenly and by popularity: the shares hold on average."""
        luck = (mixed(keys ^ _ROUNDING) >> np.uint64(11)) / 2.0**53
        num_uniform = np.floor(needed * self.settings.uniform + luck + 1e-9).astype(np.int64)
        both = np.floor(needed * (self.settings.uniform + self.settings.popular) + luck + 1e-9).astype(np.int64)
        both, num_uniform = np.minimum(both, needed), np.minimum(num_uniform, needed)
        return num_uniform, both - num_uniform

    def _more(
        self, stream: np.uint64, needed: Rows, keys: Hashes, users: Rows, taken: Rows, chosen: Rows
    ) -> tuple[Rows, Rows]:
        """The first so many draws of each request that are neither taken nor chosen already."""
        tries = 2 * needed + 16  # some draws meet what was taken; in a small catalogue most do
        number = np.arange(tries.max())
        draws = mixed(keys[:, None] ^ (stream + number.astype(np.uint64)))
        items = self._items(stream, draws)
        requests = np.arange(len(keys))[:, None]
        pairs = requests * self.num_items + items
        is_first = np.zeros(pairs.size, np.bool_)
        is_first[np.unique(pairs.ravel(), return_index=True)[1]] = True
        good = is_first.reshape(pairs.shape) & (number < tries[:, None])  # so that no other request changes anything
        good &= ~_is_in(users[:, None] * self.num_items + items, taken)
        good &= ~_is_in(pairs, np.unique(chosen))
        good &= np.cumsum(good, axis=1) <= needed[:, None]
        return np.nonzero(good)[0], items[good]

    def _items(self, stream: np.uint64, draws: Hashes) -> Rows:
        if stream == _UNIFORM:
            return (draws % np.uint64(self.num_items)).astype(np.int64)
        assert self._cumulative is not None
        amount = (draws >> np.uint64(11)) / 2.0**53 * self._cumulative[-1]  # below the last, so there is always an item
        found: Rows = np.searchsorted(self._cumulative, amount, side="right").astype(np.int64)
        return found


def _smallest(pool: Rows, keys: Hashes, needed: Rows) -> tuple[Rows, Rows]:
    """Of each request's items so many at random: those with the smallest hash of request and item."""
    width = min(int(needed.max(initial=0)), pool.shape[1])
    if not width:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    hashes = mixed(keys[:, None] ^ mixed(pool.view(np.uint64)))
    hashes[pool < 0] = np.iinfo(np.uint64).max
    if width < pool.shape[1]:
        near = np.argpartition(hashes, width - 1, axis=1)[:, :width]
        hashes, pool = np.take_along_axis(hashes, near, 1), np.take_along_axis(pool, near, 1)
    ordered = np.take_along_axis(pool, np.argsort(hashes, axis=1, kind="stable"), 1)
    chosen = (ordered >= 0) & (np.arange(width) < needed[:, None])
    return np.nonzero(chosen)[0], ordered[chosen]


def _is_in(pairs: Rows, ascending: Rows) -> NDArray[np.bool_]:
    if not len(ascending):
        return np.zeros(pairs.shape, np.bool_)
    at = np.searchsorted(ascending, pairs).clip(max=len(ascending) - 1)
    found: NDArray[np.bool_] = ascending[at] == pairs
    return found
