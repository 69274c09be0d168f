"""A world whose truth is known: rows to learn from, and the oracle that says what could have been learned."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from tamis.datasets.columns import Array, bounds, check_column, is_binary, is_continuous, size, to_series
from tamis.datasets.draws import row_column
from tamis.datasets.planted_features import crosses, item_features, user_features
from tamis.datasets.truth import Truth
from tamis.errors import DataError, SchemaError, SettingError
from tamis.schema import ColumnSchema, Schema, Tags

_ROWS_PER_USER = 30
_CLICK_SHARE, _NEXT_SHARE = 0.4, 0.12  # of the impressions; of the rows where the target before was 1
_TASTE = 5.0  # how much a click depends on the affinity
_SCORES_PER_BLOCK = 8_000_000
_WORLD_STREAM = 2**32  # beyond any block number, so that no block shares random numbers with the world


class PlantedWorld:
    """Hidden interests of users and qualities of items, and everything that follows from them.

    - Users and items have hidden factors. Items form clusters; a user is interested in a few of them. Item
      popularity follows Zipf's law and has nothing to do with the clusters.
    - An impression shows mostly items of the user's clusters, otherwise popular ones.
    - The first binary target (a click) is drawn from the affinity of user and item, times the chance that the user
      looked, if a column tells it. Each further binary target needs the one before to be 1: a conversion needs a
      click. Other targets grow with the affinity. Without a binary target every row is an interaction.
    - Features reveal a part: see `planted_features`.

    There are about 30 rows per user, and 9 * sqrt(num_rows) items, where the domains allow it. Ids are random
    numbers of their domains, so that their order tells nothing. The same schema, num_rows, seed and signal make the
    same world.

    Raises:
        SchemaError: the schema has no user id or no item id, or a column without a domain.
    """

    def __init__(self, schema: Schema, num_rows: int, *, seed: int = 42, signal: float = 1.0) -> None:
        for column in schema:
            check_column(column)
        if signal <= 0:
            raise SettingError(f"PlantedWorld: signal is {signal}. Give a number above 0.")
        self.schema = schema
        self.num_rows = num_rows
        self._user_id, self._item_id = _id_column(schema, Tags.USER_ID), _id_column(schema, Tags.ITEM_ID)
        num_users = min(max(num_rows // _ROWS_PER_USER, 10), size(self._user_id))
        num_items = min(max(round(9 * num_rows**0.5), 20), size(self._item_id))
        generator = np.random.default_rng([seed, _WORLD_STREAM])
        self._truth = Truth(generator, num_users, num_items, signal)
        self._user_labels = _ids(generator, self._user_id, num_users)
        self._item_labels = _ids(generator, self._item_id, num_items)
        self._user_order, self._item_order = np.argsort(self._user_labels), np.argsort(self._item_labels)
        self._items = {f.name: f for f in item_features(generator, schema, self._item_id, self._truth)}
        of_users = user_features(generator, schema, self._user_id, self._truth, self._items)
        self._users = {f.name: f for f in of_users}
        self._crosses = {c.column.name: c for c in crosses(generator, schema, self._users, self._items)}
        self._look = {c.name: np.array(c.properties["examination"]) for c in schema if "examination" in c.properties}
        self._targets = [column.name for column in schema if column.has_tag(Tags.TARGET) and is_binary(column)]
        self._taste = _TASTE * signal
        self._offsets = self._calibrate(generator)

    @property
    def user_ids(self) -> Array:
        """Raw ids of all users, ascending."""
        return self._user_labels[self._user_order]

    @property
    def item_ids(self) -> Array:
        """Raw ids of all items, ascending: the columns of `next_item_log_prob`."""
        return self._item_labels[self._item_order]

    @property
    def popularity(self) -> Array:
        """Share of each item of `item_ids` in the impressions of a user without interests."""
        popularity: Array = self._truth.popularity[self._item_order]
        return popularity

    def click_probability(self, user_ids: Array, item_ids: Array, positions: Array | None = None) -> Array:
        """Probability that the user clicks the item once it is shown, for pairs of ids; 1 without a binary target.

        Args:
            user_ids: [pairs]
            item_ids: [pairs]
            positions: [pairs], where on the page the item is shown; by default the mean over all places.

        Raises:
            DataError: an id that the world does not have.
        """
        users, items = self._users_at(user_ids), self._items_at(item_ids)
        looked = self._mean_look()
        if positions is not None:
            for name, shares in self._look.items():
                looked = shares[np.asarray(positions) - int(bounds(self.schema[name])[0])]
        return looked * self._taken(0, self._affinity(users, items))

    def next_item_log_prob(self, user_ids: Array) -> Array:
        """Natural log of the probability that the user's next click is on each item, [users, items].

        An item's share of the impressions times its chance of a click, as parts of 1 per user.

        Raises:
            DataError: an id that the world does not have.
        """
        weights = self._next_weights(user_ids)
        log_probability: Array = np.log(weights / weights.sum(axis=1, keepdims=True))
        return log_probability

    def best_items(self, user_ids: Array, k: int = 10, *, seen: pl.DataFrame | None = None) -> Array:
        """The `k` items that each user most probably clicks next, best first, [users, k] of raw ids.

        No model can expect to rank better. Rows are independent draws, so it is also the best ranking of the items
        not yet seen; `seen` holds them as rows of user id and item id in columns of the schema's names. Ties go to
        the smaller id.

        Raises:
            DataError: an id that the world does not have.
            SettingError: `k` is larger than the number of items.
        """
        user_ids, num_items = np.asarray(user_ids), len(self._item_labels)
        if not 1 <= k <= num_items:
            raise SettingError(f"best_items: k is {k}, but the world has {num_items} items. Ask for 1 to {num_items}.")
        found = [
            _best(_without(self._next_weights(block), self._pairs(seen, block)), k)
            for block in _blocks(user_ids, num_items)
        ]
        best: Array = self.item_ids[np.concatenate(found) if found else np.empty((0, k), np.int64)]
        return best

    def draw(self, generator: np.random.Generator, start: int, num_rows: int) -> pl.DataFrame:
        """Rows `start` to `start + num_rows` of the stream."""
        users = self._truth.draw_users(generator, num_rows)
        items = self._truth.draw_items(generator, users)
        affinity = self._affinity(users, items)
        drawn = {
            self._user_id.name: to_series(self._user_id, self._user_labels[users]),
            self._item_id.name: to_series(self._item_id, self._item_labels[items]),
        }
        drawn |= {name: feature.of(users) for name, feature in self._users.items()}
        drawn |= {name: feature.of(items) for name, feature in self._items.items()}
        drawn |= {name: cross.of(users, items) for name, cross in self._crosses.items()}
        looked = self._draw_looked(generator, drawn, num_rows)
        self._draw_targets(generator, drawn, looked, affinity)
        for column in self.schema:
            if column.name not in drawn:
                drawn[column.name] = row_column(generator, column, start, num_rows, of_rows=self.num_rows)
        return pl.DataFrame([drawn[name] for name in self.schema.column_names])

    def _draw_looked(self, generator: np.random.Generator, drawn: dict[str, pl.Series], num_rows: int) -> Array | float:
        looked: Array | float = 1.0
        for name, shares in self._look.items():
            places = generator.integers(0, len(shares), num_rows, dtype=np.int32)
            drawn[name] = to_series(self.schema[name], places + int(bounds(self.schema[name])[0]))
            looked = looked * shares.astype(np.float32)[places]
        return looked

    def _draw_targets(
        self, generator: np.random.Generator, drawn: dict[str, pl.Series], looked: Array | float, affinity: Array
    ) -> None:
        positive: Array | None = None
        for number, name in enumerate(self._targets):
            probability = self._taken(number, affinity)
            chance = generator.random(len(affinity), dtype=np.float32)
            positive = chance < probability * looked if positive is None else positive & (chance < probability)
            drawn[name] = to_series(self.schema[name], positive)
        for column in self.schema.select_by_tag(Tags.TARGET):
            if column.name not in drawn and not column.is_list:
                drawn[column.name] = to_series(column, _graded(generator, column, affinity))

    def _next_weights(self, user_ids: Array) -> Array:
        users = self._users_at(user_ids)
        affinity = self._truth.users[users] @ self._truth.items.T
        weights: Array = self._truth.impression_probability(users) * self._taken(0, affinity)
        return weights[:, self._item_order]

    def _affinity(self, users: Array, items: Array) -> Array:
        affinity: Array = np.einsum(
            "ij,ij->i", self._truth.users.take(users, axis=0), self._truth.items.take(items, axis=0)
        )
        return affinity

    def _taken(self, number: int, affinity: Array) -> Array:
        """Probability of target `number`, given that the one before it is 1 and that the user looked."""
        if not self._targets:
            return np.ones_like(affinity)
        return 1 / (1 + np.exp(-self._taste * affinity - self._offsets[number]))

    def _mean_look(self) -> float:
        return float(np.prod([shares.mean() for shares in self._look.values()]))

    def _calibrate(self, generator: np.random.Generator) -> list[np.float32]:
        """Offsets that give the targets their shares, found on a sample of impressions."""
        users = self._truth.draw_users(generator, 50_000)
        affinity = self._affinity(users, self._truth.draw_items(generator, users))
        offsets: list[np.float32] = []
        weights = np.ones(len(affinity))
        for number in range(len(self._targets)):
            share = _CLICK_SHARE / self._mean_look() if number == 0 else _NEXT_SHARE
            offsets.append(_offset_for(share, self._taste * affinity, weights))
            self._offsets = offsets
            weights = weights * self._taken(number, affinity)
        return offsets

    def _users_at(self, user_ids: Array) -> Array:
        return _positions(user_ids, self._user_labels, self._user_order, "user")

    def _items_at(self, item_ids: Array) -> Array:
        return _positions(item_ids, self._item_labels, self._item_order, "item")

    def _pairs(self, seen: pl.DataFrame | None, user_ids: Array) -> tuple[Array, Array]:
        """Row and column in a block of users of each seen item."""
        if seen is None:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        rows = pl.DataFrame({"user": user_ids}).with_row_index("row")
        own = seen.select(user=pl.col(self._user_id.name).cast(rows["user"].dtype), item=self._item_id.name)
        pairs = rows.join(own, on="user")
        self._items_at(pairs["item"].to_numpy())  # refuses ids that the world does not have
        return pairs["row"].to_numpy(), np.searchsorted(self.item_ids, pairs["item"].to_numpy())


def _id_column(schema: Schema, tag: str) -> ColumnSchema:
    found = [column for column in schema.select_by_tag(tag) if not column.is_list]
    if not found:
        raise SchemaError(
            f"generate_data: the schema has no column tagged {tag!s}, so no truth can be planted. "
            "Tag one, or use signal=0."
        )
    return found[0]


def _ids(generator: np.random.Generator, column: ColumnSchema, number: int) -> Array:
    return int(bounds(column)[0]) + generator.choice(size(column), number, replace=False)


def _positions(ids: Array, labels: Array, order: Array, what: str) -> Array:
    ids = np.asarray(ids)
    found = order[np.minimum(np.searchsorted(labels, ids, sorter=order), len(labels) - 1)]
    unknown = labels[found] != ids
    if unknown.any():
        raise DataError(
            f"PlantedWorld: there is no {what} {ids[unknown][0]}. Ask with the arguments that the rows came from."
        )
    return found


def _offset_for(share: float, scores: Array, weights: Array) -> np.float32:
    """The offset that makes the weighted mean of sigmoid(scores + offset) equal `share`, by bisection."""
    low, high = -60.0, 60.0
    for _ in range(50):
        middle = (low + high) / 2
        mean = np.average(1 / (1 + np.exp(-scores.astype(np.float64) - middle)), weights=weights)
        low, high = (middle, high) if mean < share else (low, middle)
    return np.float32(low)


def _graded(generator: np.random.Generator, column: ColumnSchema, affinity: Array) -> Array:
    """Values of a target that is not binary: higher with more affinity, within the domain."""
    low, high = bounds(column)
    shares = 0.4 + 0.5 * affinity + 0.2 * generator.standard_normal(len(affinity), dtype=np.float32)
    values = low + (high - low) * np.clip(shares, 0, 1)
    return values if is_continuous(column) else np.rint(values)


def _blocks(ids: Array, num_items: int) -> Iterator[Array]:
    step = max(_SCORES_PER_BLOCK // num_items, 1)
    return (ids[start : start + step] for start in range(0, len(ids), step))


def _without(scores: Array, pairs: tuple[Array, Array]) -> Array:
    scores[pairs] = -1.0  # below every weight
    return scores


def _best(scores: Array, k: int) -> Array:
    """Places of the `k` largest of each row, largest first, ties in the order of place."""
    found = np.sort(np.argpartition(-scores, k - 1, axis=1)[:, :k], axis=1)
    values = np.take_along_axis(scores, found, axis=1)
    last = values.min(axis=1, keepdims=True)
    torn = (scores == last).sum(axis=1) > (values == last).sum(axis=1)  # equal ones were left out by luck
    found[torn] = np.sort(np.argsort(-scores[torn], axis=1, kind="stable")[:, :k], axis=1)
    order = np.argsort(-np.take_along_axis(scores, found, axis=1), axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)
