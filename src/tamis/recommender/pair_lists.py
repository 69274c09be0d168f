"""Between long arrays of (request, item) pairs and lists with one row per request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.recommender.id_rows import Rows


def padded(query: Rows, items: Rows, num_queries: int) -> Rows:
    """[queries, longest] the items of each request in the order given, -1 in empty places; pairs ascend by request."""
    counts = np.bincount(query, minlength=num_queries)
    place = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
    lists = np.full((num_queries, int(counts.max(initial=0))), -1, np.int64)
    lists[query, place] = items
    return lists


def among(values: NDArray[Any], query: Rows, ranks: NDArray[np.int32], nothing: Any) -> NDArray[Any]:
    """[pairs] what stands at these places, from 1, of the requests' rows of `values`; `nothing` at place 0."""
    found = np.full(len(query), nothing, values.dtype)
    is_there = ranks > 0
    found[is_there] = values[query[is_there], ranks[is_there] - 1]
    return found


def numbered(query: Rows, chosen: NDArray[np.bool_]) -> NDArray[np.int32]:
    """[pairs] 1, 2, ... for the chosen pairs of each request, 0 for the others; pairs ascend by request."""
    counts = np.cumsum(chosen)
    first = np.searchsorted(query, query)
    before = np.where(first > 0, counts[first - 1], 0)
    return np.where(chosen, counts - before, 0).astype(np.int32)


def in_lists(lists: Sequence[Rows], query: Rows, items: Rows, num_items: int) -> NDArray[np.bool_]:
    """[pairs] whether each item is in the list of its request."""
    of = np.repeat(np.arange(len(lists)), [len(one) for one in lists])
    listed = np.concatenate([*lists, np.zeros(0, np.int64)])
    return np.isin(query * num_items + items, of * num_items + listed)
