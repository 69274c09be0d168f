"""The exact best k candidates of every query, out of a catalogue of any size in bounded memory.

Scores are computed tile by tile: some queries against some candidates, small enough to stay in the processor's cache.
Of a tile only the promising part is looked at: its columns form groups, the best of a group is one vectorised maximum,
and the best k entries lie in the k groups with the largest maxima.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tamis.errors import DataError, SettingError
from tamis.evaluation.pairs import Pairs

NONE = -1  # the position where a list has no item: fewer than k candidates are left
_LOWEST = float("-inf")
_ALIGN = 64  # tiles are whole multiples: matrix kernels then treat all columns alike, so equal vectors score equal


def top_k(
    queries: Tensor,
    candidates: Tensor,
    k: int,
    *,
    excluded: Pairs | None = None,
    block_rows: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The `k` largest inner products of each query, largest first, and the candidates' positions.

    Equal scores: the smaller position comes first, also at the end of the list. Where exclusions leave fewer than `k`
    candidates, the rest of the list is -inf at position -1. Computed in float32 (float64 when both are), on the
    device of the queries, in some tens of MB (of a GPU about 1 GB) beside the result, however large the catalogue.

    Args:
        queries: [queries, dim]
        candidates: [candidates, dim]
        k: length of the lists, at most the number of candidates.
        excluded: candidates to leave out, per query.
        block_rows: queries per block; by default what fits the cache.

    Returns: scores [queries, k], positions [queries, k] int64.

    Raises:
        SettingError: `k` is below 1 or larger than the catalogue, or shapes do not fit.
        DataError: vectors or scores are not finite.
    """
    check_k(k, len(candidates), where="top_k")
    queries, candidates = usable(queries, candidates)
    check_pairs(excluded, len(queries), len(candidates), where="top_k", what="excluded")
    scores = queries.new_empty(len(queries), k)
    positions = torch.empty(len(queries), k, dtype=torch.int64, device=queries.device)
    for start, stop, found in top_k_blocks(queries, candidates, k, excluded=excluded, block_rows=block_rows):
        scores[start:stop], positions[start:stop] = found
    return scores, positions


def check_k(k: int, num_candidates: int, *, where: str) -> None:
    """Refuse a list length that the catalogue cannot fill.

    Raises:
        SettingError: `k` is below 1 or larger than the catalogue.
    """
    if k < 1:
        raise SettingError(f"{where}: k is {k}. Give a length of 1 or more.")
    if k > num_candidates:
        raise SettingError(
            f"{where}: k is {k:,}, but the catalogue has only {num_candidates:,} candidates. "
            f"Give a k of at most {num_candidates:,}, or add candidates."
        )


def usable(queries: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Both without gradients, in one dtype, on the device of the queries.

    Raises:
        SettingError: not two matrices of equal width.
        DataError: vectors are not finite.
    """
    if queries.ndim != 2 or candidates.ndim != 2 or queries.shape[1] != candidates.shape[1]:
        raise SettingError(
            f"top_k: queries of shape {list(queries.shape)} and candidates of shape {list(candidates.shape)} do not "
            "fit. Give two matrices of equal width."
        )
    dtype = torch.float64 if queries.dtype == candidates.dtype == torch.float64 else torch.float32
    queries, candidates = queries.detach().to(dtype), candidates.detach().to(queries.device, dtype)
    _check_finite(queries, "query")
    _check_finite(candidates, "candidate")
    return queries, candidates


def _check_finite(vectors: Tensor, name: str) -> None:
    if torch.isfinite(vectors.sum()):  # a sum that overflows is looked at row by row
        return
    wrong = (~torch.isfinite(vectors).all(1)).nonzero()[:, 0]
    if len(wrong):
        raise DataError(
            f"top_k: {len(wrong):,} {name} vectors are not finite, the first at row {int(wrong[0])}. Check the model's "
            "training for NaN loss and the features for infinite values."
        )


def check_pairs(pairs: Pairs | None, num_queries: int, num_candidates: int, *, where: str, what: str) -> None:
    """Refuse pairs that were built for other queries or another catalogue.

    Raises:
        SettingError: another number of queries.
        DataError: a position beyond the catalogue.
    """
    if pairs is None:
        return
    if len(pairs) != num_queries:
        raise SettingError(
            f"{where}: the {what} pairs are those of {len(pairs):,} queries, but there are {num_queries:,}. "
            f"Build them with num_queries={num_queries}."
        )
    if len(pairs.positions) and (largest := int(pairs.positions.max())) >= num_candidates:
        raise DataError(
            f"{where}: the {what} pairs hold position {largest:,}, but there are {num_candidates:,} candidates. "
            "Give positions below that, and -1 for items outside the catalogue."
        )


@dataclass(frozen=True)
class _Tiling:
    """How large tiles are: `rows` queries x `columns` candidates, the columns in groups of `group`."""

    rows: int
    columns: int
    group: int

    @classmethod
    def fitting(cls, num_candidates: int, k: int, *, block_rows: int | None, on_cpu: bool) -> _Tiling:
        entries = 2**22 if on_cpu else 2**26  # 16 MB of float32, near the cache; a GPU wants few large launches
        widest = max(2**15 if on_cpu else 2**17, 8 * k)
        num_tiles = -(-num_candidates // widest)
        columns = _rounded_up(-(-num_candidates // num_tiles))
        rows = block_rows or min(1024 if on_cpu else 4096, max(16, entries // columns))
        return cls(rows, columns, _group(columns, k))


def _group(columns: int, k: int) -> int:
    """A power of two near sqrt(columns / k), where the group maxima and the chosen groups are about equally many."""
    group = 1
    while group < _ALIGN and 4 * group * group <= columns / (k + 1):
        group *= 2
    return group


def _rounded_up(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def top_k_blocks(
    queries: Tensor, candidates: Tensor, k: int, *, excluded: Pairs | None = None, block_rows: int | None = None
) -> Iterator[tuple[int, int, tuple[Tensor, Tensor]]]:
    """Start, stop, (scores, positions) of one block of queries after the other; `top_k` without its checks."""
    tiling = _Tiling.fitting(len(candidates), k, block_rows=block_rows, on_cpu=queries.device.type == "cpu")
    buffer = queries.new_empty(min(tiling.rows, len(queries)) * tiling.columns)
    for start in range(0, len(queries), tiling.rows):
        stop = min(start + tiling.rows, len(queries))
        block = queries[start:stop]
        left_out = None
        if excluded is not None:
            left_out = _Exclusions.of_block(excluded, start, stop, tiling.columns, queries.device)
        yield start, stop, _top_k_of_block(block, candidates, k, tiling, buffer, left_out)


def _top_k_of_block(
    queries: Tensor, candidates: Tensor, k: int, tiling: _Tiling, buffer: Tensor, left_out: _Exclusions | None
) -> tuple[Tensor, Tensor]:
    best = queries.new_full((len(queries), k), _LOWEST)
    where = torch.full((len(queries), k), NONE, dtype=torch.int64, device=queries.device)
    for tile, start in enumerate(range(0, len(candidates), tiling.columns)):
        scores = _scores_of_tile(queries, candidates[start : start + tiling.columns], buffer)
        if left_out is not None:
            left_out.apply(scores, tile, start)
        _merge(best, where, scores, start, tiling.group)
    if not torch.isfinite(best.masked_fill(where == NONE, 0)).all():  # NaN and +inf sort first, so they are seen here
        raise DataError("top_k: scores overflow although all vectors are finite. Normalise the vectors.")
    return best, where


def _scores_of_tile(queries: Tensor, candidates: Tensor, buffer: Tensor) -> Tensor:
    width = _rounded_up(len(candidates))
    missing = width - len(candidates)
    padded = torch.nn.functional.pad(candidates, (0, 0, 0, missing)) if missing else candidates
    scores = buffer[: len(queries) * width].view(len(queries), width)
    torch.mm(queries, padded.T, out=scores)
    scores[:, len(candidates) :] = _LOWEST
    return scores


@dataclass(frozen=True)
class _Exclusions:
    """The excluded pairs of one block of queries, grouped by tile."""

    rows: Tensor
    positions: Tensor
    bounds: list[int]

    @classmethod
    def of_block(cls, excluded: Pairs, start: int, stop: int, columns: int, device: torch.device) -> _Exclusions:
        rows, positions = excluded.of_rows(start, stop)
        tile, order = (positions // columns).sort(stable=True)
        bounds = [0, *torch.bincount(tile).cumsum(0).tolist()] if len(tile) else [0]
        return cls(rows[order].to(device), positions[order].to(device), bounds)

    def apply(self, scores: Tensor, tile: int, start: int) -> None:
        if tile + 1 < len(self.bounds):
            own = slice(self.bounds[tile], self.bounds[tile + 1])
            scores[self.rows[own], self.positions[own] - start] = _LOWEST


def _merge(best: Tensor, where: Tensor, scores: Tensor, start: int, group: int) -> None:
    """Put the tile's best entries into the running lists. Its positions are larger than theirs: equal is not enough."""
    k = best.shape[1]
    maxima = scores.view(len(scores), group, -1).amax(1)  # [rows, groups]; group j holds columns j, j + groups, ...
    bar = best[:, -1]
    rows = (~(maxima.amax(1) <= bar)).nonzero()[:, 0]  # ~(<=) instead of > lets NaN through, to be reported
    if len(rows) == 0:
        return
    new, columns = _best_of_tile(scores, rows, maxima[rows], k, bar[rows])
    new = torch.cat([best[rows], new], 1)
    places = torch.cat([where[rows], (columns + start).masked_fill_(new[:, k:] == _LOWEST, NONE)], 1)
    new, order = new.sort(dim=1, descending=True, stable=True)
    best[rows] = new[:, :k]
    where[rows] = places.gather(1, order[:, :k])


def _best_of_tile(scores: Tensor, rows: Tensor, maxima: Tensor, k: int, bar: Tensor) -> tuple[Tensor, Tensor]:
    """Up to `k` largest scores of each of the rows by ascending column; of equal ones at the border, the first ones."""
    width, num_groups = scores.shape[1], maxima.shape[1]
    k = min(k, width)
    starts = rows[:, None] * width  # of the rows in the flat tile
    if 2 * (k + 1) <= num_groups:  # otherwise picking groups saves nothing
        chosen = maxima.topk(k + 1, sorted=False).indices
        steps = torch.arange(0, width, num_groups, device=scores.device)
        columns = (chosen[:, :, None] + steps).flatten(1)
        found, order = scores.take(starts + columns).topk(k + 1)
        order = columns.gather(1, order)
    else:
        found, order = scores[rows].topk(min(k + 1, width))
    # One more than k was taken: topk chooses among equal ones as it likes, which matters if the border is among them.
    if found.shape[1] > k:
        tied = ((found[:, k] == found[:, k - 1]) & (found[:, k - 1] > bar)).nonzero()[:, 0]
        if len(tied):
            order[tied, :k] = _smallest_columns(scores[rows[tied]], found[tied, k - 1], k)
    order = order[:, :k].sort(1).values
    return scores.take(starts + order), order


def _smallest_columns(scores: Tensor, border: Tensor, k: int) -> Tensor:
    """Columns of the scores above the border, filled up to `k` with the first ones equal to it, [rows, k]."""
    above, equal = scores > border[:, None], scores == border[:, None]
    room = k - above.sum(1, keepdim=True)
    taken = above | (equal & (equal.cumsum(1, dtype=torch.int32) <= room))
    return taken.nonzero()[:, 1].view(len(scores), k)
