"""Which positives the first stage finds: the ones that a ranker of its candidates can learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tamis.data.dataset import Dataset
from tamis.recommender.ranking_columns import id_columns
from tamis.recommender.ranking_data import candidates_of

if TYPE_CHECKING:
    from tamis.recommender.recommender import Recommender

_USERS_AT_ONCE = 4096


def found_positives(positives: Dataset, recommender: Recommender) -> Dataset:
    """The rows whose item is among the candidates that a recommender's first stage finds for their user, in memory.

    Where negatives are candidates and positives are anything, a ranker learns that what retrieval holds for unlikely is
    what people take, and turns retrieval's order around. In serving it meets candidates alone, so give `ranking_rows`
    these positives where the negatives are candidates too.

    Args:
        positives: encoded interactions; a user's request is that of the user's first row.
        recommender: fitted on what came before.

    Raises:
        SchemaError: no user or item id is tagged.
    """
    user, item = id_columns(positives)
    frame = positives.compute()
    first = frame.unique(user, keep="first", maintain_order=True)
    codes, find = recommender.catalogue.features[recommender.item_id], candidates_of(recommender)
    pairs = []
    for at in range(0, len(first), _USERS_AT_ONCE):
        asked = first[at : at + _USERS_AT_ONCE]
        found = find(asked)
        row, place = np.nonzero(found >= 0)
        found_items = codes.gather(found[row, place]).cast(frame.schema[item])
        candidates = pl.DataFrame([asked[user].gather(row), found_items.alias(item)])
        pairs.append(candidates.join(frame.select(user, item), on=[user, item], how="semi"))
    is_found = frame.join(pl.concat(pairs), on=[user, item], how="semi", maintain_order="left")
    return Dataset(is_found, schema=positives.schema)
