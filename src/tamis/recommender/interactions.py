"""What users did, in order of time: what they have seen, and what item-item sources and recency learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.recommender.id_rows import Rows
from tamis.store.mapped_table import read_mapped, write_mapped

_USER, _ITEM, _TIME = "user", "item", "time"
_PAIRS, _HISTORIES, _OLD_PAIRS = "interactions.arrow", "histories.arrow", "interactions.parquet"


class Interactions:
    """Pairs of user row and item row, oldest first.

    Args:
        users: [n] rows in the audience.
        items: [n] rows in the catalogue.
        times: [n] ascending, or None: then the place in the order is all that is known.
        histories: the attribute of the same name for the same pairs, where it is known already.
    """

    def __init__(
        self,
        users: NDArray[Any],
        items: NDArray[Any],
        times: pl.Series | None = None,
        histories: pl.DataFrame | None = None,
    ) -> None:
        self._pairs, self.times = (users, items), times
        self.histories = _histories(users, items) if histories is None else histories
        self._known: Rows = self.histories[_USER].to_numpy()
        lists = self.histories[_ITEM].to_arrow()
        self._offsets, self._items = (_numbers(part) for part in (lists.offsets, lists.values))

    @property
    def users(self) -> Rows:
        """[n] rows in the audience."""
        return self._pairs[0].astype(np.int64, copy=False)

    @property
    def items(self) -> Rows:
        """[n] rows in the catalogue."""
        return self._pairs[1].astype(np.int64, copy=False)

    def __len__(self) -> int:
        return len(self._pairs[0])

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
        """Write it as two files that processes can share in memory."""
        frame = pl.DataFrame({_USER: self._pairs[0].astype(np.int32), _ITEM: self._pairs[1].astype(np.int32)})
        frame = frame if self.times is None else frame.with_columns(self.times.alias(_TIME))
        write_mapped(frame, folder / _PAIRS)
        write_mapped(self.histories, folder / _HISTORIES)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote: values come into memory when they are asked for."""
        is_mapped = (folder / _PAIRS).is_file()  # bundles of before hold parquet, and no histories
        frame = read_mapped(folder / _PAIRS) if is_mapped else pl.read_parquet(folder / _OLD_PAIRS)
        users, items = (frame[name].to_numpy() for name in (_USER, _ITEM))
        histories = read_mapped(folder / _HISTORIES) if is_mapped else None
        return cls(users, items, frame[_TIME] if _TIME in frame.columns else None, histories)


def _numbers(part: Any) -> Rows:
    """An array of Arrow as it lies there; its own `to_numpy` would load pandas."""
    found: Rows = pl.Series(pl.from_arrow(part)).to_numpy()
    return found


def _histories(users: NDArray[Any], items: NDArray[Any]) -> pl.DataFrame:
    """For each user, ascending, the distinct items by when each was met last."""
    pairs = pl.DataFrame({_USER: users.astype(np.int64, copy=False), _ITEM: items.astype(np.int64, copy=False)})
    distinct = pairs.with_row_index("place").unique([_USER, _ITEM], keep="last").sort(_USER, "place")
    return distinct.group_by(_USER, maintain_order=True).agg(_ITEM).rechunk()
