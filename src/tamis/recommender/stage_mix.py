"""How much the first stage's score counts beside the ranker's, chosen on held-out interactions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.data.dataset import Dataset
from tamis.errors import SettingError
from tamis.evaluation.metrics import AccuracyMetric, Metric, NDCGAt, resolve_metrics
from tamis.evaluation.rank_values import accuracy_metrics, ranks_in, values_of_ranks
from tamis.evaluation.top_k import check_k
from tamis.recommender.candidates import Candidates
from tamis.recommender.held_out_queries import HeldOutQueries, held_out_queries
from tamis.recommender.ordering import RETRIEVAL, Ordering, Weighted, order_by
from tamis.recommender.stage_blocks import Stages, stage_blocks

if TYPE_CHECKING:
    from tamis.recommender.recommender import Recommender

STRENGTHS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
RANKER = "ranker"
_LARGEST = 10.0  # of what enters a product by its exponential; powers of a product order as it does
Steps = tuple[Ordering, ...]


@dataclass(frozen=True)
class Mix:
    """The ordering that was best, and what each that was tried is worth.

    Args:
        name: of the best: `"retrieval"`, `"ranker"`, or the weight of the retrieval score in words.
        ordering: its steps, for `Recommender(..., ordering=...)`.
        table: a row per ordering: `ordering` and the metric.
    """

    name: str
    ordering: Steps
    table: pl.DataFrame


def choose_mix(
    recommender: Recommender,
    held_out: Dataset,
    *,
    strengths: Sequence[float] = STRENGTHS,
    metric: str | Metric | None = None,
    exclude_seen: bool = True,
) -> Mix:
    """Try the first stage's order, the ranker's, and both together, on the same candidates; name the best.

    Two models that err in different ways rank better together. Both together are `Weighted`: a product where the ranker
    predicts probabilities, so that the chance to meet an item is multiplied with the chance to take it, else a sum. A
    strength of 2 lets the retrieval score differ twice as much within a request as the ranker's part does. Of equally
    good orderings the simpler one is named: the first stage's, then the ranker's, then the weaker mix.

    Args:
        recommender: fitted on what came before, with a ranker; its own ordering does not matter.
        held_out: raw later interactions of validation, not those of the final test; which rows count says
            `Recommender.evaluate`.
        strengths: to try, above 0.
        metric: to go by; NDCG at 10 by default, or at the size of a smaller catalogue.
        exclude_seen: as in `Recommender.evaluate`.

    Raises:
        SettingError: there is no ranker, a strength is not above 0, or a metric that has no value per user.
        DataError: no row of a known user is left.
    """
    _check(recommender, strengths)
    wanted = _metric(recommender, metric)
    asked = held_out_queries(recommender, held_out, exclude_seen=exclude_seen, where="choose_mix")
    tried: dict[str, Steps] = {}
    ranks: dict[str, NDArray[np.int32]] = {}
    for block in stage_blocks(recommender, asked.queries, wanted.k, exclude_seen=exclude_seen):
        tried = tried or _orderings(block.candidates, recommender.targets[0], strengths)
        pairs = np.flatnonzero((asked.query >= block.start) & (asked.query < block.start + len(block)))
        for name, steps in tried.items():
            lists = _lists(recommender, block, steps, wanted.k)
            places = ranks.setdefault(name, np.zeros(len(asked.query), np.int32))
            places[pairs] = ranks_in(lists, asked.query[pairs] - block.start, asked.item[pairs])
    values = {name: _mean(wanted, asked, places) for name, places in ranks.items()}
    best = max(values, key=lambda one: values[one])  # the first of equal ones
    table = pl.DataFrame({"ordering": list(values), wanted.name: list(values.values())})
    return Mix(best, tried[best], table)


def _check(recommender: Recommender, strengths: Sequence[float]) -> None:
    if recommender.ranker is None:
        raise SettingError("choose_mix: there is no ranker, so there is nothing to mix. Give the Recommender one.")
    for strength in strengths:
        if not 0 < strength < np.inf:
            raise SettingError(f"choose_mix: a strength is {strength}. Give numbers above 0.")


def _metric(recommender: Recommender, metric: str | Metric | None) -> AccuracyMetric:
    (wanted,) = resolve_metrics([NDCGAt(min(10, recommender.num_items)) if metric is None else metric])
    check_k(wanted.k, recommender.num_items, where="choose_mix")
    return accuracy_metrics([wanted], wanted.k, where="choose_mix")[0]


def _mean(metric: AccuracyMetric, asked: HeldOutQueries, places: NDArray[np.int32]) -> float:
    return float(values_of_ranks([metric], asked.query, places, len(asked))[metric.name].mean())


def _orderings(candidates: Candidates, target: str, strengths: Sequence[float]) -> dict[str, Steps]:
    """What to try, by name, the simplest first. The scales are those of these candidates."""
    assert candidates.ranking is not None
    predictions = candidates.ranking[:, :, 0].astype(np.float64)
    known = predictions[np.isfinite(predictions)]
    how = "product" if len(known) and known.min() >= 0 and known.max() <= 1 else "sum"
    terms = np.log(np.maximum(predictions, 1e-30)) if how == "product" else predictions
    of_ranker, of_retrieval = _spread(terms), _spread(candidates.retrieval.astype(np.float64))
    tried: dict[str, Steps] = {RETRIEVAL: (Weighted({RETRIEVAL: 1.0, target: 0.0}),), RANKER: ()}
    if of_ranker > 0 and of_retrieval > 0:
        for strength in sorted(strengths):
            weight = float(f"{strength * of_ranker / of_retrieval:.3g}")
            own = min(1.0, _LARGEST / (weight * np.abs(candidates.retrieval[candidates.items >= 0]).max()))
            step = Weighted({target: float(own), RETRIEVAL: float(own * weight)}, how)
            tried[f"{target} and {weight:g} x retrieval"] = (step,)
    return tried


def _spread(scores: NDArray[np.float64]) -> float:
    """The standard deviation within a request, the mean over requests; what is not finite is left out."""
    finite = np.isfinite(scores)
    count = np.maximum(finite.sum(axis=1, keepdims=True), 1)
    kept = np.where(finite, scores, 0)
    deviations = np.where(finite, kept - kept.sum(axis=1, keepdims=True) / count, 0)
    return float(np.sqrt((deviations**2).sum(axis=1) / count[:, 0]).mean())


def _lists(recommender: Recommender, block: Stages, steps: Steps, k: int) -> NDArray[np.int64]:
    targets, catalogue = recommender.targets, recommender.catalogue
    found: NDArray[np.int64] = order_by(
        steps, block.candidates, catalogue, k, targets=targets, allowed=block.allowed
    ).items
    return found
