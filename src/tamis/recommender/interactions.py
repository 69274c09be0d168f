"""What users did, in order of time: what they have seen, and what item-item sources and recency learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from tamis.recommender.id_rows import Rows

_USER, _ITEM, _TIME = "user", "item", "time"


class Interactions:
    """Pairs of user row and item row, oldest first.

    Args:
        users: [n] rows in the audience.
        items: [n] rows in the catalogue.
        times: [n] ascending, or None: then the place in the order is all that is known.
    """

    def __init__(self, users: Rows, items: Rows, times: pl.Series | None = None) -> None:
        self.users, self.items, self.times = users, items, times
        distinct = pl.DataFrame({_USER: users, _ITEM: items}).with_row_index("place")
        distinct = distinct.unique([_USER, _ITEM], keep="last").sort(_USER, "place")
        self._items: Rows = distinct[_ITEM].to_numpy().astype(np.int64)
        self._known, starts = np.unique(distinct[_USER].to_numpy(), return_index=True)
        self._offsets: Rows = np.append(starts, len(distinct)).astype(np.int64)

    def __len__(self) -> int:
        return len(self.users)

    def history(self, user_rows: Rows) -> list[Rows]:
        """The distinct items of each user, by when each was met last, oldest first; none for row -1."""
        nothing = self._items[:0]
        if not len(self._known):
            return [nothing] * len(user_rows)
        places = np.searchsorted(self._known, user_rows).clip(max=len(self._known) - 1)
        found = self._known[places] == user_rows
        return [
            self._items[self._offsets[place] : self._offsets[place + 1]] if known else nothing
            for place, known in zip(places.tolist(), found.tolist(), strict=True)
        ]

    def save(self, folder: Path) -> None:
        """Write it as one parquet file."""
        frame = pl.DataFrame({_USER: self.users.astype(np.int32), _ITEM: self.items.astype(np.int32)})
        frame = frame if self.times is None else frame.with_columns(self.times.alias(_TIME))
        frame.write_parquet(folder / "interactions.parquet")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        frame = pl.read_parquet(folder / "interactions.parquet")
        users, items = (frame[name].to_numpy().astype(np.int64) for name in (_USER, _ITEM))
        return cls(users, items, frame[_TIME] if _TIME in frame.columns else None)
