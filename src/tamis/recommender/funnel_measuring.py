"""From held-out interactions to a funnel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.data.dataset import Dataset
from tamis.evaluation.metrics import Metric, MRRAt, NDCGAt, RecallAt
from tamis.evaluation.rank_values import accuracy_metrics
from tamis.evaluation.top_k import check_k
from tamis.progress import progress
from tamis.recommender.funnel import Funnel, value_column
from tamis.recommender.funnel_losses import lost_items
from tamis.recommender.funnel_slices import named_columns, slice_table, usual_columns
from tamis.recommender.funnel_tables import (
    CEILINGS,
    SERVING,
    Draws,
    all_ranks,
    ceiling_table,
    difference_table,
    filter_table,
    lift_table,
    source_table,
    stage_table,
    system_table,
    values_among,
)
from tamis.recommender.funnel_trace import FUNNEL, POPULARITY, RANKER, RETRIEVAL, FunnelSettings, trace_funnel
from tamis.recommender.held_out_queries import HeldOutQueries, held_out_queries

if TYPE_CHECKING:
    from tamis.recommender.recommender import Recommender


def measure_funnel(
    recommender: Recommender,
    held_out: Dataset,
    settings: FunnelSettings,
    *,
    metrics: Iterable[str | Metric] | None,
    slices: Sequence[str],
    seed: int,
    num_samples: int,
) -> Funnel:
    """See `Recommender.funnel`."""
    k, draws = settings.k, Draws(seed, num_samples)
    check_k(k, recommender.num_items, where="funnel")
    wanted = (NDCGAt(k), RecallAt(k), MRRAt(k)) if metrics is None else metrics
    measured = accuracy_metrics(wanted, k, where="funnel")
    names = [metric.name for metric in measured]
    asked = _by_request(
        held_out_queries(
            recommender,
            held_out,
            exclude_seen=settings.exclude_seen and not settings.count_seen,
            keep_unknown=settings.count_unknown,
            where="funnel",
        )
    )
    own = named_columns(recommender, held_out, asked, slices)
    trace = trace_funnel(recommender, asked, settings)
    columns = {**usual_columns(recommender.catalogue, asked, trace), **own}
    values = values_among(measured, trace.query, all_ranks(trace))
    users, items = asked.ids.alias(recommender.user_id), asked.item_ids.alias(recommender.item_id)
    systems = [name for name in SERVING if name in trace.systems]
    ceilings = [name for name in CEILINGS if (name, names[0]) in values]
    quotas = {source.name: source.quota for source in recommender.sources}
    drawn = cache(lambda: draws.of(values))  # three tables share it
    make: dict[str, Callable[[], pl.DataFrame]] = {
        "stages": lambda: stage_table(trace, draws),
        "sources": lambda: source_table(trace, quotas, draws),
        "filters": lambda: filter_table(trace),
        "lift": lambda: lift_table(trace, measured, draws),
        "systems": lambda: system_table(drawn(), systems, names),
        "differences": lambda: difference_table(drawn(), _contests(systems), names),
        "ceilings": lambda: ceiling_table(drawn(), ceilings, names),
        "slices": lambda: slice_table(trace, columns, measured, draws),
        "lost": lambda: lost_items(trace, users, items),
    }
    return Funnel(
        k=k,
        num_users=len(asked),
        num_relevant=len(asked.item),
        num_rows=asked.num_rows,
        num_unknown_rows=asked.num_unknown_rows,
        num_seen_items=asked.num_seen_items,
        users=_per_user(users, values),
        relevant=pl.DataFrame([users.gather(trace.query), items]),
        metrics=names,
        draws=draws,
        **_made(make, verbose=settings.verbose),
    )


def _made(make: Mapping[str, Callable[[], pl.DataFrame]], *, verbose: bool) -> dict[str, pl.DataFrame]:
    """The tables; with many users their intervals take a while."""
    made = {}
    with progress("intervals", len(make), unit="tables", verbose=verbose) as advance:
        for name, table in make.items():
            made[name] = table()
            advance(1, name)
    return made


def _per_user(users: pl.Series, values: Mapping[tuple[str, str], NDArray[np.float64]]) -> pl.DataFrame:
    return pl.DataFrame([users, *(pl.Series(value_column(*key), found) for key, found in values.items())])


def _contests(systems: Sequence[str]) -> list[tuple[str, str]]:
    wanted = [(FUNNEL, RETRIEVAL), (FUNNEL, POPULARITY), (FUNNEL, RANKER), (RANKER, RETRIEVAL), (RETRIEVAL, POPULARITY)]
    return [(name, other) for name, other in wanted if name in systems and other in systems]


def _by_request(asked: HeldOutQueries) -> HeldOutQueries:
    """The same, the relevant items of each request together."""
    order = np.argsort(asked.query, kind="stable")
    return replace(
        asked,
        query=asked.query[order],
        item=asked.item[order],
        item_ids=asked.item_ids.gather(order),
        item_rows=asked.item_rows[order],
    )
