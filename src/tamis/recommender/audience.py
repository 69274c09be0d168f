"""The users that are known: one row each, with the features that queries are made of. The embedded store of these."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import polars as pl

from tamis.recommender.id_rows import IdRows, Rows
from tamis.store.feature_store import ID
from tamis.store.mapped_table import read_mapped, write_mapped

_FILE, _OLD_FILE = "users.arrow", "users.parquet"


class Audience:
    """Users by row number.

    Args:
        ids: raw ids, distinct.
        features: encoded user features, those of each user's latest row; the user's code among them.
    """

    def __init__(self, ids: pl.Series | IdRows, features: pl.DataFrame) -> None:
        self.features = features
        self._rows = ids if isinstance(ids, IdRows) else IdRows(ids)

    @property
    def ids(self) -> pl.Series:
        """Raw ids by row."""
        return self._rows.ids

    def __len__(self) -> int:
        return len(self._rows)

    def rows_of(self, raw_ids: pl.Series) -> Rows:
        """Rows of raw ids; -1 for unknown ones."""
        return self._rows.rows_of(raw_ids)

    def row_of(self, raw_id: Any) -> int:
        """The row of one raw id, given in the kind that ids have; -1 for unknown ones and None."""
        return self._rows.row_of(raw_id)

    def rows(self, ids: pl.Series) -> pl.DataFrame:
        """Features of those ids that are known; see `FeatureStore.rows`."""
        rows = self.rows_of(ids)
        known = rows >= 0
        return pl.DataFrame({ID: ids.filter(pl.Series(known))}).hstack(self.features[rows[known]])

    def close(self) -> None:
        """Nothing is open."""

    def save(self, folder: Path) -> None:
        """Write it as one file that processes can share in memory."""
        write_mapped(pl.DataFrame(self._rows.columns()).hstack(self.features), folder / _FILE)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote: values come into memory when they are asked for."""
        file = folder / _FILE
        # bundles of before hold parquet, which has to be unpacked
        frame = read_mapped(file) if file.is_file() else pl.read_parquet(folder / _OLD_FILE)
        return cls(*IdRows.of_columns(frame))
