"""What is asked for: one row per request, in the terms that sources and rankers understand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.index.protocol import FEW_QUERIES
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
    def each(self) -> Sequence[dict[str, Any]] | None:
        """The features of each request by column; None where there are so many that a frame is better.

        A few are encoded, searched for and ranked one by one, so that each gets to the last digit what it gets alone.
        """
        return self.features.rows(named=True) if len(self) <= FEW_QUERIES else None

    def select(self, rows: Rows) -> Queries:
        """Some of the requests, by their numbers."""
        seen = [self.seen[row] for row in rows.tolist()]
        return Queries(self.users[rows], self.features[rows], self.has_features[rows], seen)


class KnownQueries(Queries):
    """A few requests by users' ids, whose features are known one by one; they become a frame when somebody needs one.

    Args:
        users: rows in the audience; -1 for somebody who is not known.
        each: the features of each request, by column.
        frame: makes them one frame.
        seen: for each request the items that the user has seen, oldest first.
    """

    def __init__(
        self, users: Rows, each: Sequence[dict[str, Any]], frame: Callable[[], pl.DataFrame], seen: Sequence[Rows]
    ) -> None:
        self.__dict__ |= {"users": users, "each": each, "has_features": users >= 0, "seen": seen, "_frame": frame}

    @cached_property
    def features(self) -> pl.DataFrame:
        """One row a request."""
        made: pl.DataFrame = self.__dict__["_frame"]()
        return made

    def select(self, rows: Rows) -> Queries:
        """Some of the requests, by their numbers."""
        assert self.each is not None
        numbers = rows.tolist()
        each, seen = [self.each[row] for row in numbers], [self.seen[row] for row in numbers]
        return KnownQueries(self.users[rows], each, lambda: self.features[rows], seen)
