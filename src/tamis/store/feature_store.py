"""What every store of users' features does: raw ids in, encoded features out, for one bundle."""

from __future__ import annotations

from typing import Protocol

import polars as pl

ID = "__id"  # the column of raw ids


class FeatureStore(Protocol):
    """Encoded features of users by raw id. Any number of threads may use it."""

    def rows(self, ids: pl.Series) -> pl.DataFrame:
        """What the store has of these users.

        Args:
            ids: raw, of the bundle's kind; nulls are nobody's.

        Returns: one row for each id that the store has, in the order asked for: the id in `__id`, then the columns of
            the bundle.

        Raises:
            UnreachableError: no answer, or none in time.
            FormatError: it holds nothing of this bundle, or something else than its features.
        """

    def close(self) -> None:
        """Let go of connections."""
