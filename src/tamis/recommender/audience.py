"""The users that are known: one row each, with the features that queries are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import polars as pl

from tamis.recommender.id_rows import IdRows, Rows


class Audience:
    """Users by row number.

    Args:
        ids: raw ids, distinct.
        features: encoded user features, those of each user's latest row; the user's code among them.
    """

    def __init__(self, ids: pl.Series, features: pl.DataFrame) -> None:
        self.features = features
        self._rows = IdRows(ids)

    @property
    def ids(self) -> pl.Series:
        """Raw ids by row."""
        return self._rows.ids

    def __len__(self) -> int:
        return len(self._rows)

    def rows_of(self, raw_ids: pl.Series) -> Rows:
        """Rows of raw ids; -1 for unknown ones."""
        return self._rows.rows_of(raw_ids)

    def save(self, folder: Path) -> None:
        """Write it as one parquet file."""
        pl.DataFrame({"__id": self.ids}).hstack(self.features).write_parquet(folder / "users.parquet")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        frame = pl.read_parquet(folder / "users.parquet")
        return cls(frame["__id"], frame.drop("__id"))
