"""The training rows of some users out of all that is known of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.data.stable_hash import hash_rows, mixed
from tamis.errors import DataError
from tamis.recommender.id_rows import Rows
from tamis.recommender.negative_draws import NegativeDraws
from tamis.recommender.ranking_columns import WHERE, FeatureTable, RankingColumns

FindCandidates: TypeAlias = Callable[[pl.DataFrame], Rows]

_USERS_AT_ONCE = 1024  # whose candidates are searched together
_USER, _ITEM_ROW, _USER_ROW, _COUNT, _WEIGHT = "__user", "__item_row", "__user_row", "__count", "__weight"


class UserRows:
    """Makes the rows of a block of users.

    Args:
        columns: what rows consist of.
        items: features of items; the rows that `find` speaks of.
        users: features of users, where they do not come with the rows.
        find: candidates of users.
        draws: of negatives.
    """

    def __init__(
        self,
        columns: RankingColumns,
        items: FeatureTable,
        users: FeatureTable | None,
        find: FindCandidates,
        draws: NegativeDraws,
    ) -> None:
        self.columns, self.items, self.users, self.find, self.draws = columns, items, users, find, draws

    def of_block(self, tables: Mapping[str, pl.DataFrame]) -> Iterator[tuple[pl.DataFrame, int]]:
        """Rows by some users at a time, and how many of the given positives and impressions they are made of."""
        numbers = self._numbers(tables)
        frames = {name: self._prepared(table, numbers) for name, table in tables.items()}
        for start in range(0, len(numbers), _USERS_AT_ONCE):
            some = {name: _between(frame, start, start + _USERS_AT_ONCE) for name, frame in frames.items()}
            made_of = len(some["positives"]) + len(some.get("impressions", ()))
            some = {name: frame.with_columns(pl.col(_USER) - start) for name, frame in some.items()}
            yield self._rows(**some), made_of

    def _numbers(self, tables: Mapping[str, pl.DataFrame]) -> pl.Series:
        """The users of the block, ascending; of those in training alone there is nothing to tell."""
        asked = [
            tables[name][self.columns.user].cast(pl.Int64) for name in ("positives", "impressions") if name in tables
        ]
        return pl.concat(asked).unique().sort()

    def _prepared(self, table: pl.DataFrame, users: pl.Series) -> pl.DataFrame:
        """Rows of these users, known items and known users, by user in the order of the table."""
        codes = table[self.columns.user].cast(pl.Int64)
        at = users.search_sorted(codes).cast(pl.Int64)
        is_there = users.gather(at.clip(upper_bound=max(len(users) - 1, 0))) == codes if len(users) else codes < 0
        known = [pl.Series(_USER, at), pl.Series(_ITEM_ROW, self.items.rows_of(table[self.columns.item]))]
        if self.users is not None:
            known.append(pl.Series(_USER_ROW, self.users.rows_of(table[self.columns.user])))
        frame = table.with_columns(known).filter(is_there, pl.all_horizontal(pl.col(one.name) >= 0 for one in known))
        return frame.sort(_USER, maintain_order=True)

    def _rows(
        self, positives: pl.DataFrame, trained_on: pl.DataFrame | None = None, impressions: pl.DataFrame | None = None
    ) -> pl.DataFrame:
        """All rows of some users, numbered from 0 in `__user`."""
        positives = self._once(positives)
        requests = self._requests(positives)
        rows = [self._final(positives, is_positive=True)]
        shown = None if impressions is None else self._shown(impressions, positives)
        taken = [frame for frame in (positives, trained_on, shown) if frame is not None]
        if len(requests) and self.draws.settings.num_negatives:
            rows.append(self._negatives(requests, taken))
        if shown is not None:
            rows.append(self._final(shown))
        return pl.concat(rows).sort(_USER, maintain_order=True).drop(_USER)

    @property
    def _request(self) -> list[str]:
        return [*self.columns.context, _USER, *([_USER_ROW] if self.users is not None else [])]

    def _once(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Each request's item once, with the largest targets and weight."""
        key = [*self._request, _ITEM_ROW]
        values = [name for name in (*self.columns.targets, self.columns.weight) if name in rows.columns]
        return rows.group_by(key, maintain_order=True).agg(pl.col(values).max())

    def _requests(self, positives: pl.DataFrame) -> pl.DataFrame:
        """One row a request, in the order of the users: how many positives it has, and its weight."""
        weight = self.columns.weight
        own = pl.col(weight).max() if weight is not None and weight in positives.columns else pl.lit(1.0)
        return positives.group_by(self._request, maintain_order=True).agg(pl.len().alias(_COUNT), own.alias(_WEIGHT))

    def _negatives(self, requests: pl.DataFrame, taken: Sequence[pl.DataFrame]) -> pl.DataFrame:
        users = requests[_USER].to_numpy()
        pools, pool_of = self._pools(requests, users)
        drawn = self.draws.draw(
            pool_of,
            requests[_COUNT].cast(pl.Int64).to_numpy(),
            self._keys(requests, users),
            pools,
            _pairs(taken, np.unique(users), self.draws.num_items),
        )
        rows = requests[drawn.requests].with_columns(pl.Series(_ITEM_ROW, drawn.items))
        return self._final(rows, weights=pl.Series(drawn.stands_for) * rows[_WEIGHT])

    def _pools(self, requests: pl.DataFrame, users: Rows) -> tuple[Rows, Rows]:
        """The candidates of each distinct user, and which of these users each request is of."""
        _, first, pool_of = np.unique(users, return_index=True, return_inverse=True)
        asked = pl.DataFrame(self._features(requests[first], self.users))
        found = np.asarray(self.find(asked))
        if found.ndim != 2 or len(found) != len(asked) or found.dtype.kind not in "iu":
            raise DataError(
                f"{WHERE}: candidates gave {found.dtype} of shape {list(found.shape)} for {len(asked):,} users. Give "
                "whole numbers [users, width], -1 where there are no more."
            )
        if found.size and found.max() >= len(self.items):
            raise DataError(
                f"{WHERE}: candidates gave the item row {found.max():,}, but items has {len(self.items):,} rows. Give "
                "row numbers of items."
            )
        return found.astype(np.int64), pool_of.astype(np.int64)

    def _keys(self, requests: pl.DataFrame, users: Rows) -> NDArray[np.uint64]:
        """A hash of the user and the number of the request among the user's, which no other user changes."""
        _, first, inverse = np.unique(users, return_index=True, return_inverse=True)
        number = (np.arange(len(users)) - first[inverse]).astype(np.uint64)
        return mixed(hash_rows(requests.select(self.columns.user), seed=0) ^ mixed(number))

    def _shown(self, impressions: pl.DataFrame, positives: pl.DataFrame) -> pl.DataFrame:
        """Impressions of items that the user did not take."""
        once = self._once(impressions.join(positives, on=[_USER, _ITEM_ROW], how="anti", maintain_order="left"))
        given = [name for name in self.columns.targets if name in once.columns]
        happened = once.filter(pl.any_horizontal(pl.lit(False), *(pl.col(name).cast(pl.Float64) > 0 for name in given)))
        if len(happened):
            raise DataError(
                f"{WHERE}: of {len(once):,} impressions, {len(happened):,} have a target above 0, but are not among "
                f"the positives, such as {self.columns.user} = {happened[self.columns.user][0]}. Give all positives, "
                "or filter them out."
            )
        return once

    def _features(self, rows: pl.DataFrame, *tables: FeatureTable | None) -> dict[str, pl.Series]:
        """What belongs to the request, and the columns of these tables in the rows that are asked for."""
        found = {name: rows[name] for name in self.columns.context}
        for table in tables:
            if table is not None:
                at = rows[_ITEM_ROW if table is self.items else _USER_ROW]
                found |= {c.name: c.gather(at) for c in table.frame.iter_columns() if c.name not in found}
        return found

    def _final(
        self, rows: pl.DataFrame, *, is_positive: bool = False, weights: pl.Series | None = None
    ) -> pl.DataFrame:
        """Rows in their final columns, and the user's number."""
        found = self._features(rows, self.users, self.items)
        for name in self.columns.targets:
            found[name] = rows[name] if is_positive and name in rows.columns else _repeated(int(is_positive), rows)
        weight = self.columns.weight
        if weight is not None:
            own = rows[weight] if weight in rows.columns else _repeated(1.0, rows)
            found[weight] = own if weights is None else weights
        final = pl.DataFrame({name: found[name] for name in self.columns.schema.column_names})
        return final.cast(self.columns.dtypes).with_columns(rows[_USER])


def _repeated(value: float, rows: pl.DataFrame) -> pl.Series:
    return pl.repeat(value, len(rows), eager=True)


def _between(frame: pl.DataFrame, start: int, stop: int) -> pl.DataFrame:
    """Rows of users from `start` up to `stop`."""
    low, high = (frame[_USER].search_sorted(place) for place in (start, stop))
    return frame.slice(low, high - low)


def _pairs(taken: Sequence[pl.DataFrame], users: Rows, num_items: int) -> Rows:
    """Pairs of place among the ascending `users` and item row, of these users alone."""
    number, item = (np.concatenate([frame[name].to_numpy() for frame in taken]) for name in (_USER, _ITEM_ROW))
    place = np.searchsorted(users, number).clip(max=len(users) - 1)
    is_asked = users[place] == number
    pairs: Rows = place[is_asked] * num_items + item[is_asked]
    return pairs
