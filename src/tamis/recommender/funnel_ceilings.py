"""Lists that could be: all that can be found put before the ranker, and the orders of one who knows the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.errors import SettingError
from tamis.evaluation.rank_values import ranks_in
from tamis.recommender.candidates import Candidates
from tamis.recommender.filters import Mask
from tamis.recommender.id_rows import Rows
from tamis.recommender.ordering import order_by
from tamis.recommender.pair_lists import in_lists, padded
from tamis.recommender.raw_ids import as_ids
from tamis.recommender.stage_blocks import Stages

if TYPE_CHECKING:
    from tamis.recommender.recommender import Recommender

Oracle: TypeAlias = Mapping[Any, Sequence[Any]] | Callable[..., Any]
_LAST = np.finfo(np.float32).min  # behind every candidate, before the empty places


def perfect_retrieval_ranks(
    recommender: Recommender, stages: Stages, query: Rows, item: Rows, missing: Mask
) -> NDArray[np.int32]:
    """[pairs] the places that the ranker would give if the missing items were candidates too."""
    found = stages.candidates
    items = padded(query[missing], item[missing], len(stages))
    scores = np.where(items < 0, -np.inf, _LAST).astype(np.float32)
    more = recommender.rank(stages.queries, Candidates(items, scores, np.zeros_like(items), scores))
    joined = _beside(found, more)
    return ranks_in(order_by((), joined, recommender.catalogue, joined.width).items, query, item)


def _beside(found: Candidates, more: Candidates) -> Candidates:
    assert found.ranking is not None
    assert more.ranking is not None
    return replace(
        found,
        items=np.concatenate([found.items, more.items], axis=1),
        scores=np.concatenate([found.scores, more.scores], axis=1),
        found_by=np.concatenate([found.found_by, more.found_by], axis=1),
        retrieval=np.concatenate([found.retrieval, more.retrieval], axis=1),
        ranking=np.concatenate([found.ranking, more.ranking], axis=1),
    )


def score_ranks(scores_of: Callable[..., Any], recommender: Recommender, stages: Stages, ids: pl.Series) -> Rows:
    """[queries, width] the candidates, best first by these scores.

    Raises:
        SettingError: not one finite score per pair.
    """
    items = stages.candidates.items
    query, place = np.nonzero(items >= 0)
    users, raw = ids.gather(query).to_numpy(), recommender.catalogue.ids.gather(items[query, place]).to_numpy()
    found = np.asarray(scores_of(users, raw), np.float64)
    if found.shape != (len(query),) or not np.isfinite(found).all():
        raise SettingError(
            f"funnel: oracle_scores gave an array of shape {list(found.shape)} for {len(query):,} pairs of user and "
            "item. Give one finite score per pair."
        )
    scores = np.full(items.shape, -np.inf)
    scores[query, place] = found
    return np.take_along_axis(items, np.argsort(-scores, axis=1, kind="stable"), 1)


def oracle_ranks(oracle: Oracle, recommender: Recommender, stages: Stages, ids: pl.Series, k: int) -> Rows:
    """[queries, k] the first `k` items of the oracle's lists that the filters let pass."""
    lists = oracle_lists(oracle, ids)
    query = np.repeat(np.arange(len(lists)), [len(one) for one in lists])
    catalogue = recommender.catalogue
    raw = [item for one in lists for item in one]
    rows = catalogue.rows_of(as_ids(raw, catalogue.ids.name, catalogue.ids.dtype))
    kept = rows >= 0
    kept[kept] = _allowed(stages, query[kept], rows[kept])
    return padded(query[kept], rows[kept], len(lists))[:, :k]


def oracle_lists(oracle: Oracle, ids: pl.Series) -> list[list[Any]]:
    """The lists of these users.

    Raises:
        SettingError: a user without a list, or another number of lists than of users.
    """
    if isinstance(oracle, Mapping):
        missing = [user for user in ids.to_list() if user not in oracle]
        if missing:
            raise SettingError(
                f"funnel: the oracle has no list for {len(missing):,} of {len(ids):,} users, {missing[0]!r} say. Give "
                "one per held-out user, [] for none."
            )
        return [list(oracle[user]) for user in ids.to_list()]
    found = oracle(ids.to_numpy())
    lists = [one.tolist() if isinstance(one, np.ndarray) else list(one) for one in found]
    if len(lists) != len(ids):
        raise SettingError(
            f"funnel: the oracle gave {len(lists):,} lists for {len(ids):,} users. Give one per user, [] for none."
        )
    return lists


def _allowed(stages: Stages, query: Rows, rows: Rows) -> Mask:
    """[pairs] which items their requests may get."""
    allowed = stages.allowed.for_all.mask[rows]
    if stages.allowed.exclude is None:
        return allowed
    return allowed & ~in_lists(stages.allowed.exclude, query, rows, len(stages.allowed.for_all.mask))
