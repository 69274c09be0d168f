"""Which stage lost each relevant item. Every item is served or lost at one stage, so the counts add up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.recommender.funnel_trace import (
    BY_POPULARITY,
    DENIED,
    FUNNEL,
    ITEM,
    LEFT_AT,
    NUM_CANDIDATES,
    OFFERED,
    QUERY,
    RANKER,
    RETRIEVAL,
    Trace,
    rank_column,
)

SERVED = "served"
OUTSIDE, FILTERED, NOT_RETRIEVED = "outside the catalogue", "filtered", "not retrieved"
BELOW_K, MOVED_OUT = "ranked below k", "moved out by the ordering"
LOSSES = (OUTSIDE, FILTERED, NOT_RETRIEVED, BELOW_K, MOVED_OUT)
_STAGE, _DETAIL = "stage", "detail"
_RETRIEVED, _RANKED, _SERVED = (pl.col(rank_column(name)) for name in (RETRIEVAL, RANKER, FUNNEL))


def fates(trace: Trace) -> pl.Series:
    """[relevant items] `"served"`, or the first stage that lost it.

    What is served is not lost, even where an ordering step put it there past the stages before.
    """
    found = (
        pl.when(_within(_SERVED, trace.k))
        .then(pl.lit(SERVED))
        .when(~pl.col(OFFERED))
        .then(pl.lit(OUTSIDE))
        .when(pl.col(DENIED) != 0)
        .then(pl.lit(FILTERED))
        .when(_RETRIEVED == 0)
        .then(pl.lit(NOT_RETRIEVED))
        .when(~_within(_RANKED, trace.k))
        .then(pl.lit(BELOW_K))
        .otherwise(pl.lit(MOVED_OUT))
    )
    return trace.pairs.select(found.alias(_STAGE))[_STAGE]


def _within(rank: pl.Expr, k: int) -> pl.Expr:
    return (rank > 0) & (rank <= k)


def reached(trace: Trace) -> dict[str, NDArray[np.bool_]]:
    """[relevant items] which of them came through each stage, in the order of the stages."""
    may_come = pl.col(OFFERED) & (pl.col(DENIED) == 0)
    stages = {
        "relevant": pl.lit(True),
        "in the catalogue": pl.col(OFFERED),
        "left by the filters": may_come,
        "retrieved": _RETRIEVED > 0,
        f"ranked in the top {trace.k}": _within(_RANKED, trace.k),
        SERVED: _within(_SERVED, trace.k),
    }
    size = pl.col(QUERY).is_not_null()  # a literal alone would be one row
    return {name: trace.pairs.select((size & stage).alias(name))[name].to_numpy() for name, stage in stages.items()}


def lost_items(trace: Trace, users: pl.Series, items: pl.Series) -> pl.DataFrame:
    """One row per lost item: user, item, the stage that lost it, and how; its places, null where it has none.

    Args:
        trace: the way of the relevant items.
        users: [requests] raw ids.
        items: [relevant items] raw ids.
    """
    stage = fates(trace)
    table = trace.pairs.hstack(trace.requests[trace.query]).with_columns(stage)
    places = {f"{name}_rank": pl.col(rank_column(name)).replace(0, None) for name in (RETRIEVAL, RANKER)}
    detail = (
        pl.when(pl.col(_STAGE) == OUTSIDE)
        .then(pl.when(pl.col(ITEM) < 0).then(pl.lit("unknown")).otherwise(pl.lit("no longer on offer")))
        .when(pl.col(_STAGE) == FILTERED)
        .then(pl.col(DENIED).replace_strict(_by_bits(trace), default=None, return_dtype=pl.String))
        .when(pl.col(_STAGE) == NOT_RETRIEVED)
        .then(pl.when(BY_POPULARITY).then(pl.lit("popularity alone answered")).otherwise(pl.lit("no source found it")))
        .when(pl.col(_STAGE) == BELOW_K)
        .then(pl.format("place {} of {}", _RANKED, NUM_CANDIDATES))
        .otherwise(pl.format("place {}, left at {}", _RANKED, pl.lit(_names(trace.steps)).list.get(_step(trace.steps))))
    )
    kept = (stage != SERVED).to_numpy().nonzero()[0]
    shown = table.select(_STAGE, detail.alias(_DETAIL), **places)[kept]
    return pl.DataFrame({users.name: users.gather(trace.query[kept]), items.name: items.gather(kept)}).hstack(shown)


def lost_counts(lost: pl.DataFrame) -> pl.DataFrame:
    """How many items each stage lost in each way, the most frequent first; places are not told apart."""
    is_place = pl.col(_DETAIL).str.starts_with("place")
    step = pl.col(_DETAIL).str.extract("left at (.*)$").fill_null("")
    ways = lost.select(_STAGE, pl.when(is_place).then(step).otherwise(_DETAIL).alias(_DETAIL))
    counts = ways.group_by(_STAGE, _DETAIL).len("items").cast({"items": pl.Int64})
    return counts.sort("items", _STAGE, _DETAIL, descending=[True, False, False])


def _by_bits(trace: Trace) -> dict[int, str]:
    """What the bits of `denied` say: the filters in their order, the first of them the one that lost the item."""
    kinds = trace.pairs[DENIED].unique().to_list()
    return {bits: ", ".join(name for bit, name in enumerate(trace.filters) if bits >> bit & 1) for bits in kinds}


def _names(steps: Sequence[str]) -> list[str]:
    return [f"step {number}, {name}" for number, name in enumerate(steps, 1)] or ["the end"]


def _step(steps: Sequence[str]) -> pl.Expr:
    return pl.col(LEFT_AT).cast(pl.Int64).clip(0, max(len(steps) - 1, 0))
