"""How well scores tell relevant candidates from the others: by request, and over all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.evaluation.ranking_metrics import AUC, LABEL, SCORE, measure_rows
from tamis.recommender.filters import Mask
from tamis.recommender.id_rows import Rows

Numbers = NDArray[np.float64]
_ENTRIES = 2**21  # candidates compared at once


def with_both(is_there: Mask, query_of_found: Rows) -> Mask:
    """[queries] whether there are candidates of both kinds, relevant ones and others."""
    num_positive = np.bincount(query_of_found, minlength=len(is_there))
    both: Mask = (num_positive > 0) & (num_positive < is_there.sum(axis=1))
    return both


def request_auc(
    scores: NDArray[np.float32], is_there: Mask, judged: Mask, query: Rows, places: NDArray[np.int32]
) -> Numbers:
    """[queries] the chance that a relevant candidate scores above another one, a tie counting half; NaN if not judged.

    A positive beats or ties with what is below it; of these, P * P / 2 in sum are positives themselves.
    """
    chosen = np.flatnonzero((places > 0) & judged[query])
    wins = np.zeros(len(chosen))
    step = max(1, _ENTRIES // max(scores.shape[1], 1))
    for at in range(0, len(chosen), step):
        part = chosen[at : at + step]
        of_query, there = scores[query[part]], is_there[query[part]]
        own = of_query[np.arange(len(part)), places[part] - 1][:, None]
        wins[at : at + step] = ((of_query < own) & there).sum(1) + ((of_query == own) & there).sum(1) / 2
    num_positive = np.bincount(query[chosen], minlength=len(judged)).astype(np.float64)
    won = np.bincount(query[chosen], wins, minlength=len(judged)) - num_positive**2 / 2
    compared = num_positive * (is_there.sum(axis=1) - num_positive)
    found: Numbers = np.divide(won, compared, out=np.full(len(judged), np.nan), where=judged)
    return found


def spill(
    scores: Mapping[str, NDArray[np.float32]],
    is_there: Mask,
    judged: Mask,
    query: Rows,
    places: NDArray[np.int32],
    file: Path,
) -> None:
    """Write scores and labels of the judged requests' candidates, since they are too many to keep."""
    labels = np.zeros(is_there.shape, np.int8)
    found = places > 0
    labels[query[found], places[found] - 1] = 1
    written = is_there & judged[:, None]
    columns = {name: score[written] for name, score in scores.items()}
    pl.DataFrame({**columns, LABEL: labels[written]}).write_parquet(file)


def pooled_auc(folder: Path, orders: Sequence[str]) -> dict[str, float]:
    """The AUC of each score over all rows that were spilled; NaN where none were."""
    rows = pl.scan_parquet(folder / "*.parquet")
    return {
        order: measure_rows(rows.select(pl.col(order).alias(SCORE), LABEL), [AUC()])[AUC.short_name] for order in orders
    }
