"""Every query against the whole catalogue: the metrics of a model's lists, and of the popularity list beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tamis.errors import SettingError
from tamis.evaluation.judgement import Judgement, Tally, check_popularity, interval
from tamis.evaluation.metrics import Metric
from tamis.evaluation.pairs import Pairs
from tamis.evaluation.top_k import NONE, check_pairs, top_k, top_k_blocks, usable

__all__ = ["Judgement", "Pairs", "interval", "judge", "judge_lists", "judge_popularity", "popular_lists", "top_k"]

_ENTRIES = 2**22  # of a block of popularity lists: a few tens of MB


def judge(
    queries: Tensor,
    candidates: Tensor,
    relevant: Pairs,
    num_relevant: Tensor | None = None,
    *,
    metrics: Iterable[str | Metric],
    excluded: Pairs | None = None,
    popularity: Tensor | None = None,
) -> Judgement:
    """Rank all candidates by inner product for every query that has a relevant item, and judge the lists.

    Args:
        queries: [queries, dim]
        candidates: [candidates, dim]
        relevant: what each query should find. Items outside the catalogue are never found but count as relevant.
        num_relevant: [queries], relevant items per query where it is not `relevant.num_items`.
        metrics: metrics or names such as `"recall_at_10"`; all are computed in one pass over the lists.
        excluded: candidates that no list may hold, per query: usually what was seen in training.
        popularity: [candidates], counts or probabilities; novelty and popularity bias need it.

    Raises:
        SettingError: a metric's k is larger than the catalogue, shapes do not fit, popularity is missing.
        DataError: no query has a relevant item, or vectors are not finite.
    """
    queries, candidates = usable(queries, candidates)
    check_pairs(relevant, len(queries), len(candidates), where="judge", what="relevant")
    check_pairs(excluded, len(queries), len(candidates), where="judge", what="excluded")
    tally = Tally(
        relevant,
        len(candidates),
        metrics,
        num_relevant=num_relevant,
        popularity=popularity,
        device=queries.device,
    )
    chosen = queries if len(tally.rows) == len(queries) else queries[tally.rows.to(queries.device)]
    left_out = None if excluded is None else excluded.select(tally.rows)
    for start, stop, (_, positions) in top_k_blocks(chosen, candidates, tally.k, excluded=left_out):
        tally.add(start, stop, positions)
    return tally.judgement()


def judge_lists(
    lists: Tensor,
    relevant: Pairs,
    num_candidates: int,
    *,
    metrics: Iterable[str | Metric],
    popularity: Tensor | None = None,
) -> Judgement:
    """Judge lists that are there already: an oracle's, another system's.

    Args:
        lists: [queries, K], positions of candidates, best first, distinct within a list; -1 is an empty place.
        relevant: what each query should find.
        num_candidates: size of the catalogue.
        metrics: metrics or names; none may look further than the lists are long.
        popularity: [candidates], counts or probabilities; novelty and popularity bias need it.

    Raises:
        SettingError: a metric's k is larger than the lists or the catalogue, or there is not one list per query.
        DataError: no query has a relevant item.
    """
    tally = Tally(relevant, num_candidates, metrics, popularity=popularity, device=lists.device)
    if len(lists) != len(relevant) or lists.shape[1] < tally.k:
        raise SettingError(
            f"judge_lists: lists of shape {list(lists.shape)} for {len(relevant):,} queries and metrics at {tally.k}. "
            f"Give one list of at least {tally.k} places per query."
        )
    tally.add(0, len(tally.rows), lists[tally.rows.to(lists.device)])
    return tally.judgement()


def judge_popularity(
    popularity: Tensor,
    relevant: Pairs,
    num_relevant: Tensor | None = None,
    *,
    metrics: Iterable[str | Metric],
    excluded: Pairs | None = None,
) -> Judgement:
    """Judge the list that is the same for everybody: the most popular items, without each query's excluded ones.

    To be read beside the result of `judge` with the same arguments. Equal popularity: the smaller position first.

    Args:
        popularity: [candidates], counts or probabilities.
        relevant: what each query should find.
        num_relevant: [queries], relevant items per query where it is not `relevant.num_items`.
        metrics: metrics or names.
        excluded: candidates that no list may hold, per query.

    Raises:
        SettingError: a metric's k is larger than the catalogue, or shapes do not fit.
        DataError: no query has a relevant item, or popularity is negative or not finite.
    """
    popularity = check_popularity(popularity, len(popularity))
    check_pairs(excluded, len(relevant), len(popularity), where="judge_popularity", what="excluded")
    tally = Tally(relevant, len(popularity), metrics, num_relevant=num_relevant, popularity=popularity)
    order = popularity.sort(descending=True, stable=True).indices
    left_out = None if excluded is None else excluded.select(tally.rows)
    for start, stop, lists in _popular_lists(order, tally.k, len(tally.rows), left_out, len(popularity)):
        tally.add(start, stop, lists)
    return tally.judgement()


def popular_lists(
    order: NDArray[np.int64], k: int, num_queries: int, num_candidates: int, excluded: Pairs | None
) -> NDArray[np.int64]:
    """[queries, k] the first `k` of `order` without each query's excluded ones; -1 in empty places.

    Args:
        order: positions of candidates, the most popular first; those that nobody may get are left out.
        k: length of the lists.
        num_queries: queries.
        num_candidates: size of the catalogue.
        excluded: candidates that no list may hold, per query.
    """
    lists = torch.full((num_queries, k), NONE, dtype=torch.int64)
    for start, stop, found in _popular_lists(torch.from_numpy(order), k, num_queries, excluded, num_candidates):
        lists[start:stop, : found.shape[1]] = found
    return lists.numpy()


def _popular_lists(
    order: Tensor, k: int, num_queries: int, excluded: Pairs | None, num_candidates: int
) -> Iterator[tuple[int, int, Tensor]]:
    """Blocks of lists: the first `k` of `order` without each query's excluded ones."""
    rank = torch.full((num_candidates,), len(order))
    rank[order] = torch.arange(len(order))
    start = 0
    while start < num_queries:
        stop = min(start + max(1, _ENTRIES // 64 // k), num_queries)
        if excluded is None:
            yield start, stop, order[:k].expand(stop - start, -1)
        else:
            longest = int(excluded.counts[start:stop].max())
            width = min(len(order), k + longest)  # so many of the order are enough for every query of the block
            stop = min(stop, start + max(1, _ENTRIES // max(width, 1)))
            rows, positions = excluded.of_rows(start, stop)
            yield start, stop, _first_free(order[:width], k, stop - start, rows, rank[positions])
        start = stop


def _first_free(order: Tensor, k: int, num_queries: int, rows: Tensor, ranks: Tensor) -> Tensor:
    free = torch.ones(num_queries, len(order), dtype=torch.bool)
    within = ranks < len(order)
    free[rows[within], ranks[within]] = False
    place = free.cumsum(1, dtype=torch.int32)
    row, column = (free & (place <= k)).nonzero(as_tuple=True)
    lists = torch.full((num_queries, k), NONE, dtype=torch.int64)
    lists[row, place[row, column].long() - 1] = order[column]
    return lists
