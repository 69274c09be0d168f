"""What is asked for: one row per request, in the terms that sources and rankers understand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

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

    def select(self, rows: Rows) -> Queries:
        """Some of the requests, by their numbers."""
        seen = [self.seen[row] for row in rows.tolist()]
        return replace(
            self, users=self.users[rows], features=self.features[rows], has_features=self.has_features[rows], seen=seen
        )
