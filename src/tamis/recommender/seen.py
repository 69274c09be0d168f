"""What each user has seen, ready to be left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

Codes = np.ndarray[Any, np.dtype[np.int64]]


class SeenItems:
    """Items per user, by code: those of row i are `items[offsets[i]:offsets[i + 1]]`.

    Args:
        pairs: two columns, user and item codes, each pair once.
    """

    def __init__(self, pairs: pl.DataFrame) -> None:
        user, item = pairs.columns
        self.frame = pairs.sort(user, item)
        users, starts = np.unique(self.frame[user].to_numpy(), return_index=True)
        self._users: Codes = users.astype(np.int64)
        self._offsets: Codes = np.append(starts, len(pairs)).astype(np.int64)
        self._items: Codes = self.frame[item].to_numpy().astype(np.int64)

    @classmethod
    def of(cls, interactions: pl.LazyFrame, user: str, item: str) -> SeenItems:
        """The distinct pairs of interaction rows."""
        return cls(interactions.select(user, item).unique().collect(engine="streaming"))

    def of_users(self, users: Sequence[int] | Codes) -> list[Codes]:
        """One array of item codes per user; empty for users without any."""
        wanted = np.asarray(users, dtype=np.int64)
        rows = np.searchsorted(self._users, wanted)
        found = np.append(self._users, -1)[rows] == wanted  # the added -1 stands behind the last user; no code is -1
        nothing = self._items[:0]
        return [
            self._items[self._offsets[row] : self._offsets[row + 1]] if known else nothing
            for row, known in zip(rows.tolist(), found.tolist(), strict=True)
        ]
