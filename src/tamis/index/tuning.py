"""The least effort with which a search finds enough of what an exact search finds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tamis.index.exact import aligned, search_exactly
from tamis.index.faiss_structure import Structure
from tamis.index.protocol import Ids, Vectors

_NUM_QUERIES = 256
_ROUNDING = 1e-5  # two ways to compute one inner product may differ by this share


def tune(
    structure: Structure, vectors: Vectors, queries: Vectors | None, *, k: int, target_recall: float, seed: int
) -> tuple[int, float]:
    """Effort and the recall@k that it reached: doubled until enough, then halved in between.

    Args:
        structure: holds `vectors` in their order.
        vectors: [candidates, dim]
        queries: [queries, dim], or None to take some of the candidates.
        k: length of the lists compared; a smaller catalogue shortens it.
        target_recall: what is enough.
        seed: of the choice of queries.
    """
    k = min(k, len(vectors))
    if k == 0 or structure.kind == "flat":
        return 1, 1.0
    queries = _some(vectors if queries is None else queries, seed)
    scores = search_exactly(queries, aligned(vectors), np.arange(len(vectors)), k, None).scores

    def recall(effort: int) -> float:
        rows = structure.search(queries, k, effort=effort, allowed=None)[1]
        return _recall(queries, vectors, rows, scores[:, -1])

    return _least_effort(recall, *structure.efforts, target_recall)


def _some(vectors: Vectors, seed: int) -> Vectors:
    if len(vectors) <= _NUM_QUERIES:
        return vectors
    rows = np.random.default_rng(seed).choice(len(vectors), _NUM_QUERIES, replace=False)
    return np.ascontiguousarray(vectors[np.sort(rows)])


def _recall(queries: Vectors, vectors: Vectors, rows: Ids, border: NDArray[np.float32]) -> float:
    """Share of the found rows that score as well as the k-th of the exact list; equal scores are equally right."""
    exact = np.einsum("qd,qkd->qk", queries, vectors[rows])
    slack = _ROUNDING * np.abs(border) + np.finfo(np.float32).tiny
    return float(((exact >= (border - slack)[:, None]) & (rows >= 0)).mean())


def _least_effort(recall: Callable[[int], float], smallest: int, largest: int, target: float) -> tuple[int, float]:
    low, high = smallest - 1, smallest
    reached = recall(high)
    while reached < target and high < largest:
        low, high = high, min(2 * high, largest)
        reached = recall(high)
    while reached >= target and high - low > max(1, high // 16):  # nearer is within the noise of the sample
        middle = (low + high) // 2
        found = recall(middle)
        low, high, reached = (low, middle, found) if found >= target else (middle, high, reached)
    return high, reached
