"""What the lists that a recommender really serves are worth on held-out interactions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch

from tamis.data.dataset import Dataset
from tamis.evaluation.list_judging import Pairs, judge_lists, judge_popularity
from tamis.evaluation.metrics import Metric, NDCGAt, RecallAt, resolve_metrics
from tamis.evaluation.top_k import check_k
from tamis.recommender.held_out_queries import held_out_queries
from tamis.recommender.id_rows import Rows
from tamis.recommender.queries import Queries

if TYPE_CHECKING:
    from tamis.recommender.recommender import Recommender

_BLOCK = 4096


def judge_recommender(
    recommender: Recommender, held_out: Dataset, *, metrics: Iterable[str | Metric] | None, exclude_seen: bool
) -> dict[str, float]:
    """See `Recommender.evaluate`."""
    resolved = resolve_metrics((RecallAt(10), NDCGAt(10)) if metrics is None else metrics)
    k = max(metric.k for metric in resolved)
    check_k(k, recommender.num_items, where="evaluate")
    asked = held_out_queries(recommender, held_out, exclude_seen=exclude_seen)
    relevant = Pairs.from_arrays(asked.query, asked.item, len(asked))
    counts = torch.tensor(recommender.catalogue.counts)
    lists = torch.from_numpy(served_lists(recommender, asked.queries, k, exclude_seen=exclude_seen))
    found = judge_lists(lists, relevant, len(counts), metrics=resolved, popularity=counts).values
    excluded = excluded_pairs(recommender, asked.queries, exclude_seen=exclude_seen)
    popular = judge_popularity(counts, relevant, metrics=resolved, excluded=excluded).values
    counted = {"num_users": float(len(asked)), "num_unknown_rows": float(asked.num_unknown_rows)}
    return {**found, **{f"popularity_{name}": value for name, value in popular.items()}, **counted}


def served_lists(recommender: Recommender, queries: Queries, k: int, *, exclude_seen: bool = True) -> Rows:
    """The lists that these requests get: [queries, k] item rows, -1 in empty places."""
    lists = np.full((len(queries), k), -1, np.int64)
    for at in range(0, len(queries), _BLOCK):
        block = queries.select(np.arange(at, min(at + _BLOCK, len(queries))))
        allowed = recommender.allowed(block, exclude_seen=exclude_seen)
        found = recommender.order(recommender.rank(block, recommender.candidates(block, allowed)), k, allowed).items
        lists[at : at + len(block), : found.shape[1]] = found
    return lists


def excluded_pairs(recommender: Recommender, queries: Queries, *, exclude_seen: bool = True) -> Pairs | None:
    """What the recommender's filters keep from each request's list, for the popularity list beside it."""
    exclude = recommender.allowed(queries, exclude_seen=exclude_seen).exclude
    if exclude is None:
        return None
    query = np.repeat(np.arange(len(queries)), [len(items) for items in exclude])
    return Pairs.from_arrays(query, np.concatenate([*exclude, np.zeros(0, np.int64)]), len(queries))
