"""What becomes of the lists that FAISS gives: unwanted rows go, and equal scores come in the order of their ids."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tamis.index.protocol import NO_ID, NO_SCORE, Ids, SearchResult, Vectors

_LARGEST_SHORT_ID = 2**40
_FEW_UNWANTED = 32  # that are compared one by one sooner than they are sorted


def in_order(scores: Vectors, ids: Ids) -> Ids:
    """The ids of lists whose scores [queries, k] are best first, where scores are equal the smaller id first."""
    is_next = scores[:, 1:] < scores[:, :-1]
    if is_next.all():  # no two are equal
        return ids
    # equal scores have one number, and numbers and ids sort as one: faster than sorting by both
    number = np.zeros(ids.shape, np.int64)
    np.cumsum(is_next, axis=1, out=number[:, 1:])
    if ids.max(initial=0) < _LARGEST_SHORT_ID:
        order = np.argsort(number * _LARGEST_SHORT_ID + ids, axis=1, kind="stable")
    else:
        order = np.lexsort((ids, number), axis=1)
    found: Ids = ids[np.arange(len(ids))[:, None], order]
    return found


def is_unwanted(rows: Ids, unwanted: list[Ids], num_rows: int) -> NDArray[np.bool_]:
    """[queries, k] which of these rows, or -1, are among each query's unwanted ones."""
    query = np.repeat(np.arange(len(unwanted)), [len(own) for own in unwanted])
    keys = query * num_rows + np.concatenate(unwanted)
    return np.isin(np.arange(len(rows))[:, None] * num_rows + rows, keys)


def is_among(rows: Ids, unwanted: Ids) -> NDArray[np.bool_]:
    """[n] which of these rows are among the unwanted ones, of which there are some."""
    if len(unwanted) <= _FEW_UNWANTED:
        found: NDArray[np.bool_] = (rows == unwanted[:, None]).any(axis=0)
        return found
    own = np.sort(unwanted)
    found = own[np.searchsorted(own, rows).clip(max=len(own) - 1)] == rows
    return found


def first_kept(scores: Vectors, rows: Ids, keep: NDArray[np.bool_], k: int) -> tuple[Vectors, Ids]:
    """The first `k` kept places of each list, filled up with -inf and -1."""
    order = np.argsort(~keep, axis=1, kind="stable")[:, :k]
    kept = np.take_along_axis(keep, order, 1)
    found = np.where(kept, np.take_along_axis(scores, order, 1), np.float32(NO_SCORE))
    missing = ((0, 0), (0, k - order.shape[1]))
    lists = np.where(kept, np.take_along_axis(rows, order, 1), NO_ID)
    return np.pad(found, missing, constant_values=NO_SCORE), np.pad(lists, missing, constant_values=NO_ID)


def empty_lists(num_queries: int, k: int) -> SearchResult:
    """Nothing for anybody."""
    scores = np.full((num_queries, k), NO_SCORE, np.float32)
    return SearchResult(scores, np.full((num_queries, k), NO_ID, np.int64))
