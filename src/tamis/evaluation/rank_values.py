"""Metrics from where the relevant items stand, without the lists: any part of queries or items can be judged later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from tamis.errors import SettingError
from tamis.evaluation.metrics import AccuracyMetric, Metric, resolve_metrics

_ENTRIES = 2**22  # places of lists looked at together


def accuracy_metrics(metrics: Iterable[str | Metric], k: int, *, where: str) -> list[AccuracyMetric]:
    """Metrics that have a value per query of lists of length `k`.

    Raises:
        SettingError: a metric of all lists together, or one that looks further than `k`.
    """
    found = []
    for metric in resolve_metrics(metrics):
        if not isinstance(metric, AccuracyMetric):
            raise SettingError(
                f"{where}: {metric.name} is about all lists together, so no user has a value of it. Ask evaluate for "
                "it, and give metrics such as ndcg_at_10 here."
            )
        if metric.k > k:
            raise SettingError(
                f"{where}: {metric.name} looks further than the lists of k={k}. Give k={metric.k}, or a metric at {k}."
            )
        found.append(metric)
    return found


def ranks_in(lists: NDArray[np.int64], query: NDArray[np.int64], item: NDArray[np.int64]) -> NDArray[np.int32]:
    """[pairs] the place, from 1, of each item in the list of its query; 0 where it is not there. Item -1 is nowhere.

    Args:
        lists: [queries, width], -1 in empty places.
        query: [pairs], rows of `lists`.
        item: [pairs]
    """
    ranks = np.zeros(len(query), np.int32)
    width = lists.shape[1]
    step = max(1, _ENTRIES // max(width, 1))
    for at in range(0, len(query) if width else 0, step):
        part = slice(at, at + step)
        is_here = lists[query[part]] == item[part, None]
        is_there = is_here.any(axis=1) & (item[part] >= 0)
        ranks[part] = np.where(is_there, is_here.argmax(axis=1) + 1, 0)
    return ranks


def values_of_ranks(
    metrics: Sequence[AccuracyMetric], query: NDArray[np.int64], ranks: NDArray[np.int32], num_queries: int
) -> dict[str, NDArray[np.float64]]:
    """Each metric's value per query, by name: [queries].

    Args:
        metrics: what to measure.
        query: [relevant items], the query of each.
        ranks: [relevant items], the place of each in its query's list from 1; 0 where it is not in the list.
        num_queries: queries; one without relevant items has the value 0.
    """
    k = max(metric.k for metric in metrics)
    hits = np.zeros((num_queries, k), np.bool_)
    is_hit = (ranks > 0) & (ranks <= k)
    hits[query[is_hit], ranks[is_hit] - 1] = True
    num_relevant = torch.from_numpy(np.bincount(query, minlength=num_queries))
    found = torch.from_numpy(hits)
    return {metric.name: metric.per_query(found, num_relevant).double().numpy() for metric in metrics}
