"""A caller's own candidates, put in order for a user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from tamis.recommender.allowed_items import combine
from tamis.recommender.building import popularity
from tamis.recommender.candidates import Candidates
from tamis.recommender.id_rows import Rows
from tamis.recommender.queries import Queries
from tamis.recommender.sources.retrieval_source import Retrieval
from tamis.serving.answering import Answered, StageClock, queries_of
from tamis.serving.asked_users import AskedUser
from tamis.serving.degradation import worst
from tamis.serving.live_version import LiveVersion
from tamis.serving.outside import answering_until
from tamis.serving.update_log import RawId, UpdateLog


def rank_own(
    version: LiveVersion,
    user: AskedUser,
    items: Sequence[RawId],
    context: Mapping[str, Any] | None = None,
    log: UpdateLog | None = None,
    deadline: float = float("inf"),
) -> tuple[Answered, list[RawId]]:
    """All the candidates that the catalogue has, best first, and those that it has not.

    No filter applies: the caller chose the items. The retrieval score is the first retrieval model's; users without
    features, and bundles without such a model, get each item's share of the training rows.
    """
    clock = StageClock(deadline)
    with answering_until(deadline) as under_way:
        queries = queries_of(version, [user], context, log)
    clock.lap("features")
    recommender = version.recommender
    found = recommender.catalogue.rows_of(pl.Series([str(item) for item in items]))
    unknown = [item for item, row in zip(items, found.tolist(), strict=True) if row < 0]
    rows = np.unique(found[found >= 0])
    scores = _retrieval_scores(version, queries, rows)
    clock.lap("retrieval")
    order = np.argsort(-scores, kind="stable")
    shape = (1, len(rows))
    mine = Candidates(
        rows[order].reshape(shape),
        scores[order].reshape(shape),
        np.zeros(shape, np.int64),
        scores[order].reshape(shape),
    )
    ranked = recommender.rank(queries, mine)
    clock.lap("ranking")
    allowed = combine([], recommender.catalogue, queries)
    lists = recommender.order(ranked, max(len(rows), 1), allowed)
    clock.lap("ordering")
    degraded = worst(under_way.missed)
    return Answered(queries, lists, allowed, clock.ms, degraded, len(rows), len(rows)), unknown


def _retrieval_scores(version: LiveVersion, queries: Queries, rows: Rows) -> np.ndarray[Any, np.dtype[np.float32]]:
    recommender = version.recommender
    towers = [source for source in recommender.sources if isinstance(source, Retrieval)]
    if not towers or not queries.has_features[0] or not len(rows):
        return popularity(recommender.catalogue)[rows]
    query = np.asarray(towers[0].query_encoder.encode(queries.features))[0]
    scores: np.ndarray[Any, np.dtype[np.float32]] = towers[0].vectors_of(recommender.catalogue, rows) @ query
    return scores
