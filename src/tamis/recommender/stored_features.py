"""Users' features out of a store, in place of those that the bundle has."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.store.feature_store import ID


def with_stored(
    features: pl.DataFrame, is_known: NDArray[np.bool_], ids: pl.Series, stored: pl.DataFrame
) -> tuple[pl.DataFrame, NDArray[np.bool_]]:
    """The features of users, and which of them are known.

    Args:
        features: one row a user, as the bundle has them; what others than known users have there means nothing.
        is_known: [users]
        ids: raw, of the users.
        stored: as `FeatureStore.rows` gives them.
    """
    place = {one: row for row, one in enumerate(stored[ID].to_list())}
    rows = np.array([place.get(one, -1) for one in ids.to_list()], np.int64)
    both = pl.concat([features, stored.select(features.columns)])
    return both[np.where(rows >= 0, len(features) + rows, np.arange(len(features)))], is_known | (rows >= 0)
