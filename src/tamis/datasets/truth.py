"""The hidden truth of a planted world: who likes what, what is popular, and who is shown what."""

from __future__ import annotations

import numpy as np

from tamis.datasets.columns import Array

NUM_TYPES = 97  # kinds of users, about as many as Ali-CCP has profiles
SUBCLUSTERS = 4
_DIM = 16
_SLOTS = 64  # a user's interests, in steps of a 64th
_USERS_PER_BLOCK = 16_384
_ZIPF_EXPONENT, _ZIPF_SHIFT = 1.0, 8.0
_LIKED_SHARE = 0.6  # of the impressions; the others go by popularity alone
_FOCUS = 5.0  # how strongly interests concentrate on the nearest clusters
_LOYALTY = 0.75  # share of users' favourite clusters that are their type's


class Truth:
    """Factors of users and items, clusters of items, popularity and activity; drawn once from `generator`.

    Items are in the order of their clusters. An impression shows an item of a cluster that the user is interested
    in, by its popularity within the cluster, or (in two rows of five) any item by its popularity alone.
    """

    def __init__(self, generator: np.random.Generator, num_users: int, num_items: int, signal: float) -> None:
        self.num_clusters = int(np.clip(np.sqrt(num_items) / 1.5, 2, 64))
        centres = _unit(generator.standard_normal((self.num_clusters, _DIM)))
        self._place_items(generator, centres, num_items)
        self._place_users(generator, centres, num_users)
        blocks = (self.users[start : start + _USERS_PER_BLOCK] for start in range(0, num_users, _USERS_PER_BLOCK))
        self.interests = np.concatenate(
            [_in_slots(self._interest(block, centres, _FOCUS * signal)) for block in blocks]
        )

    def _place_items(self, generator: np.random.Generator, centres: Array, num_items: int) -> None:
        shares = generator.dirichlet(np.full(self.num_clusters, 4.0))
        self.cluster = np.sort(generator.choice(self.num_clusters, num_items, p=shares))
        self.subcluster = generator.integers(0, SUBCLUSTERS, num_items)
        parts = _unit(generator.standard_normal((self.num_clusters, SUBCLUSTERS, _DIM)))
        noise = _unit(generator.standard_normal((num_items, _DIM)))
        factors = centres[self.cluster] + 0.6 * parts[self.cluster, self.subcluster] + 0.4 * noise
        self.items = _unit(factors).astype(np.float32)
        ranks = generator.permutation(num_items)
        weights = (ranks + 1 + _ZIPF_SHIFT) ** -_ZIPF_EXPONENT
        self.popularity = weights / weights.sum()
        self._line = _Line(self.popularity)
        self.masses = np.bincount(self.cluster, self.popularity, minlength=self.num_clusters)
        self._starts = np.cumsum(self.masses) - self.masses

    def _place_users(self, generator: np.random.Generator, centres: Array, num_users: int) -> None:
        self.user_type = generator.choice(NUM_TYPES, num_users, p=_unit_sum(1 / np.arange(5, NUM_TYPES + 5)))
        by_type = generator.choice(self.num_clusters, (NUM_TYPES, 2), p=self.masses)
        own = generator.choice(self.num_clusters, (num_users, 2), p=self.masses)
        favourites = np.where(generator.random((num_users, 2)) < _LOYALTY, by_type[self.user_type], own)
        noise = _unit(generator.standard_normal((num_users, _DIM)))
        factors = centres[favourites[:, 0]] + 0.7 * centres[favourites[:, 1]] + 0.5 * noise
        self.users = _unit(factors).astype(np.float32)
        self._activity = _Line(_unit_sum(generator.lognormal(0.0, 0.7, num_users)))

    def _interest(self, users: Array, centres: Array, focus: float) -> Array:
        """Weight of each cluster for each user, [users, clusters]: by nearness and by the cluster's mass."""
        weights: Array = np.exp(focus * (users @ centres.T)) * self.masses
        return weights

    def draw_users(self, generator: np.random.Generator, num_rows: int) -> Array:
        """Users by their activity."""
        return self._activity.at(generator.random(num_rows))

    def draw_items(self, generator: np.random.Generator, users: Array) -> Array:
        """The item of an impression for each of the users."""
        liked = generator.random(len(users), dtype=np.float32) < _LIKED_SHARE
        return self._draw_within(generator, users, liked)

    def draw_liked(self, generator: np.random.Generator, users: Array) -> Array:
        """An item of a cluster that the user is interested in, for each of the users."""
        return self._draw_within(generator, users, np.ones(len(users), dtype=bool))

    def _draw_within(self, generator: np.random.Generator, users: Array, liked: Array) -> Array:
        cluster = self.interests[users, generator.integers(0, _SLOTS, len(users), dtype=np.uint8)]
        places = generator.random(len(users))
        within = self._starts[cluster] + places * self.masses[cluster]  # items of a cluster are neighbours
        return self._line.at(np.where(liked, within, places))

    def impression_probability(self, users: Array) -> Array:
        """Probability that an impression of the user shows the item, [users, items]."""
        lift = self._lift(users)
        probability: Array = self.popularity * lift[:, self.cluster]
        return probability

    def _lift(self, users: Array) -> Array:
        slots = self.interests[users].astype(np.int64) + np.arange(len(users))[:, None] * self.num_clusters
        counts = np.bincount(slots.ravel(), minlength=len(users) * self.num_clusters)
        share = counts.reshape(len(users), self.num_clusters) / _SLOTS
        masses = np.maximum(self.masses, np.finfo(float).tiny)
        return (1 - _LIKED_SHARE) + _LIKED_SHARE * share / masses


class _Line:
    """Intervals of the given lengths side by side from 0 to 1; tells which one a place is in.

    A table of starting points leaves a step or two to walk, which is several times faster than a binary search.
    """

    def __init__(self, lengths: Array) -> None:
        self._ends = np.cumsum(lengths)
        self._ends[-1] = np.inf  # rounding may leave it a little below 1
        self._num_starts = 1 << (8 * len(lengths)).bit_length()
        starts = np.arange(self._num_starts) / self._num_starts
        self._first = np.searchsorted(self._ends, starts, side="right").astype(np.int32)

    def at(self, places: Array) -> Array:
        cells = np.minimum((places * self._num_starts).astype(np.int64), self._num_starts - 1)
        found = self._first[cells]
        behind = np.flatnonzero(self._ends[found] <= places)
        while len(behind):
            found[behind] += 1
            behind = behind[self._ends[found[behind]] <= places[behind]]
        return found


def _in_slots(weights: Array) -> Array:
    """Each row's `_SLOTS` equally likely picks: its weights, as parts of 1, rounded to steps of 1 / _SLOTS."""
    num_rows, num_clusters = weights.shape
    ends = np.cumsum(weights, axis=1)
    slots_before = np.rint(ends / ends[:, -1:] * _SLOTS).astype(np.int64)
    counts = np.diff(slots_before, axis=1, prepend=0)
    picks = np.repeat(np.tile(np.arange(num_clusters, dtype=np.uint8), num_rows), counts.ravel())
    return picks.reshape(num_rows, _SLOTS)


def _unit(vectors: Array) -> Array:
    units: Array = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return units


def _unit_sum(weights: Array) -> Array:
    parts: Array = weights / weights.sum()
    return parts
