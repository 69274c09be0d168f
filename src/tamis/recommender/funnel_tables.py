"""The tables of a funnel: what each stage, source and filter keeps and loses, and what the orders are worth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.evaluation.bootstrap import Bootstrap, Estimate
from tamis.evaluation.metrics import AccuracyMetric
from tamis.evaluation.rank_values import values_of_ranks
from tamis.recommender.funnel_losses import FILTERED, LOSSES, SERVED, fates, reached
from tamis.recommender.funnel_trace import (
    DENIED,
    FOUND_BY,
    FUNNEL,
    NUM_CANDIDATES,
    OFFERED,
    ORACLE,
    ORACLE_RANKER,
    PERFECT_RETRIEVAL,
    POPULARITY,
    RANKER,
    RETRIEVAL,
    Trace,
    auc_column,
)
from tamis.recommender.id_rows import Rows
from tamis.recommender.pair_lists import numbered

PERFECT_RANKER, PERFECT = "perfect_ranker", "perfect"
SERVING = (POPULARITY, RETRIEVAL, RANKER, FUNNEL)
CEILINGS = (ORACLE_RANKER, PERFECT_RANKER, PERFECT_RETRIEVAL, ORACLE, PERFECT)
Mask = NDArray[np.bool_]
Values = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Draws:
    """How intervals are drawn."""

    seed: int
    num_samples: int

    def of(self, columns: Mapping[Any, Any], weights: Any = None) -> Bootstrap:
        """These values per user."""
        return Bootstrap(columns, weights=weights, seed=self.seed, num_samples=self.num_samples)


def ends(found: Estimate, name: str = "") -> dict[str, float]:
    """An estimate as three columns."""
    first = f"{name}_" if name else ""
    return {name or "value": found.value, f"{first}low": found.low, f"{first}high": found.high}


def all_ranks(trace: Trace) -> dict[str, NDArray[np.int32]]:
    """[relevant items] the places in every system's lists; those of the perfect orders follow from the others."""
    stages = reached(trace)
    found = {name: trace.ranks(name) for name in trace.systems}
    found[PERFECT_RANKER] = numbered(trace.query, trace.ranks(RETRIEVAL) > 0)
    found[PERFECT] = numbered(trace.query, stages["left by the filters"])
    return found


def values_among(
    metrics: Sequence[AccuracyMetric], query: Rows, ranks: Mapping[str, NDArray[np.int32]], chosen: Mask | None = None
) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Each system's metrics per user who has one of the chosen items, as if these were all that is relevant."""
    some = slice(None) if chosen is None else chosen
    users, inverse = np.unique(query[some], return_inverse=True)
    return {
        (name, metric): values
        for name, of_all in ranks.items()
        for metric, values in values_of_ranks(metrics, inverse, of_all[some], len(users)).items()
    }


def share_per_user(query: Rows, chosen: Mask) -> NDArray[np.float64]:
    """[users] the share of each one's items that is chosen; users are those of `query`, in their order."""
    _, inverse, counts = np.unique(query, return_inverse=True, return_counts=True)
    return np.bincount(inverse, chosen, len(counts)) / counts


def stage_table(trace: Trace, draws: Draws) -> pl.DataFrame:
    """What comes through each stage: items, their share, how many were lost on the way there, and mean recall."""
    stages, fate = reached(trace), fates(trace)
    drawn = draws.of({name: share_per_user(trace.query, mask) for name, mask in stages.items()})
    lost = [0, *(int((fate == loss).sum()) for loss in LOSSES)]
    gained = stages[SERVED] & ~stages[f"ranked in the top {trace.k}"]
    rows = [
        {
            "stage": name,
            "items": int(mask.sum()),
            "share": mask.mean(),
            "lost": number,
            "loss": loss,
            "gained": int(gained.sum()) if name == SERVED else 0,
            **ends(drawn.mean(name), "recall"),
        }
        for (name, mask), number, loss in zip(stages.items(), lost, [None, *LOSSES], strict=True)
    ]
    return pl.DataFrame(rows)


def source_table(trace: Trace, quotas: Mapping[str, int], draws: Draws) -> pl.DataFrame:
    """What each source finds at its quota, what it alone finds, and what all of them find together."""
    found_by = trace.pairs[FOUND_BY].to_numpy()
    found: dict[str, tuple[int | None, Mask, Mask]] = {}
    for bit, name in enumerate(trace.sources):
        mask = (found_by >> bit & 1).astype(np.bool_)
        if name in quotas or mask.any():
            found[name] = (quotas.get(name), mask, found_by == 1 << bit)
    widest = int(trace.requests[NUM_CANDIDATES].to_numpy().max())
    found["all sources"] = (widest, found_by != 0, np.zeros(len(found_by), np.bool_))
    columns = {("recall", name): share_per_user(trace.query, mask) for name, (_, mask, _) in found.items()}
    columns |= {("alone", name): share_per_user(trace.query, alone) for name, (_, _, alone) in found.items()}
    drawn = draws.of(columns)
    rows = [
        {
            "source": name,
            "candidates": quota,
            "items": int(mask.sum()),
            **ends(drawn.mean(("recall", name)), "recall"),
            "alone": int(alone.sum()),
            **ends(drawn.mean(("alone", name)), "alone_recall"),
        }
        for name, (quota, mask, alone) in found.items()
    ]
    return pl.DataFrame(rows)


def filter_table(trace: Trace) -> pl.DataFrame:
    """What each filter denies, what it is the first to deny, and what it alone does: that would be back without it."""
    offered = trace.pairs[OFFERED].to_numpy()
    denied = np.where(offered, trace.pairs[DENIED].to_numpy(), 0)
    is_lost = (fates(trace) == FILTERED).to_numpy()
    first = denied & -denied  # the lowest bit
    rows = [
        {
            "filter": name,
            "denied": int((denied >> bit & 1).sum()),
            "lost": int(((first == 1 << bit) & is_lost).sum()),
            "alone": int((denied == 1 << bit).sum()),
            "share": float((denied >> bit & 1).mean()),
        }
        for bit, name in enumerate(trace.filters)
    ]
    schema = {"filter": pl.String, "denied": pl.Int64, "lost": pl.Int64, "alone": pl.Int64, "share": pl.Float64}
    return pl.DataFrame(rows, schema=schema)


def system_table(drawn: Bootstrap, systems: Iterable[str], metrics: Sequence[str]) -> pl.DataFrame:
    """What each system's lists are worth to the end."""
    return pl.DataFrame(
        [
            {"system": name, "metric": metric, **ends(drawn.mean((name, metric)))}
            for name in systems
            for metric in metrics
        ]
    )


def difference_table(drawn: Bootstrap, pairs: Iterable[tuple[str, str]], metrics: Sequence[str]) -> pl.DataFrame:
    """By how much the first of two systems is better, user by user."""
    return pl.DataFrame(
        [
            {
                "system": name,
                "against": other,
                "metric": metric,
                **ends(drawn.difference((name, metric), (other, metric)), "difference"),
            }
            for name, other in pairs
            for metric in metrics
        ],
        schema={
            **dict.fromkeys(("system", "against", "metric"), pl.String),
            **dict.fromkeys(("difference", "difference_low", "difference_high"), pl.Float64),
        },
    )


def ceiling_table(drawn: Bootstrap, ceilings: Iterable[str], metrics: Sequence[str]) -> pl.DataFrame:
    """What better stages could reach, and how much of it the funnel reaches."""
    return pl.DataFrame(
        [
            {
                "ceiling": name,
                "metric": metric,
                **ends(drawn.mean((name, metric))),
                **ends(drawn.share((FUNNEL, metric), (name, metric)), "reached"),
            }
            for name in ceilings
            for metric in metrics
        ]
    )


def lift_table(trace: Trace, metrics: Sequence[AccuracyMetric], draws: Draws) -> pl.DataFrame:
    """The orders of the same candidates: of retrieval, the ranker, the ordering; only what was found is relevant here.

    `gauc` is the users' AUC, weighted by their candidates, `auc` that of all candidates together.
    """
    orders = [name for name in (RETRIEVAL, RANKER, FUNNEL) if name in trace.systems]
    is_found = trace.ranks(RETRIEVAL) > 0
    values = values_among(metrics, trace.query, {name: trace.ranks(name) for name in orders}, is_found)
    drawn = draws.of(values)
    rows = [
        {
            "order": name,
            "metric": metric.name,
            **ends(drawn.mean((name, metric.name))),
            **ends(drawn.difference((name, metric.name), (RETRIEVAL, metric.name)), "lift"),
        }
        for name in orders
        for metric in metrics
    ]
    return pl.DataFrame(rows + _auc_rows(trace, draws), infer_schema_length=None)


def _auc_rows(trace: Trace, draws: Draws) -> list[dict[str, Any]]:
    weight = trace.requests[NUM_CANDIDATES].to_numpy().astype(np.float64)
    values = {name: trace.requests[auc_column(name)].to_numpy() for name in trace.auc}
    judged = ~np.isnan(values[RETRIEVAL])
    drawn = draws.of({name: found[judged] for name, found in values.items()}, weight[judged])
    gauc = [
        {
            "order": name,
            "metric": "gauc",
            **ends(drawn.mean(name)),
            **ends(drawn.difference(name, RETRIEVAL), "lift"),
        }
        for name in values
    ]
    nothing = dict.fromkeys(("low", "high", "lift_low", "lift_high"), float("nan"))
    auc = [
        {"order": name, "metric": "auc", "value": value, "lift": value - trace.auc[RETRIEVAL], **nothing}
        for name, value in trace.auc.items()
    ]
    return gauc + auc
