"""What is asked for: one row per request, in the terms that sources and rankers understand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.recommender.id_rows import Rows


@dataclass(frozen=True)
class Queries:
    """Requests.

    Args:
        users: [n] rows in the audience; -1 for users that it does not hold.
        features: encoded query features, one row a request; what a request without features has there means nothing.
        has_features: [n] whether the user is known, or came with features.
        seen: for each request the items that the user has seen, oldest first.
    """

    users: Rows
    features: pl.DataFrame
    has_features: NDArray[np.bool_]
    seen: Sequence[Rows]

    def __len__(self) -> int:
        return len(self.users)

    @cached_property
    def values(self) -> dict[str, Any]:
        """The features of the only request, by column."""
        return self.features.row(0, named=True)

    def select(self, rows: Rows) -> Queries:
        """Some of the requests, by their numbers."""
        seen = [self.seen[row] for row in rows.tolist()]
        return Queries(self.users[rows], self.features[rows], self.has_features[rows], seen)


class OneQuery(Queries):
    """One request, whose features are known by column already; they become a frame when somebody asks for one.

    Args:
        user: row in the audience; -1 for somebody who is not known.
        values: the features, by column.
        frame: makes them one row.
        seen: the items that the user has seen, oldest first.
    """

    def __init__(self, user: int, values: dict[str, Any], frame: Callable[[], pl.DataFrame], seen: Rows) -> None:
        self.__dict__ |= {
            "users": np.array([user], np.int64),
            "values": values,
            "has_features": np.array([user >= 0]),
            "seen": [seen],
            "_frame": frame,
        }

    @cached_property
    def features(self) -> pl.DataFrame:  # type: ignore[override] # it is a field of the class above
        """One row."""
        made: pl.DataFrame = self.__dict__["_frame"]()
        return made
