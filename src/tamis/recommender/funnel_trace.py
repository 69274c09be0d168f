"""The way of every relevant item through the stages: who found it, who left it out, at which place it stood."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.evaluation.rank_values import ranks_in
from tamis.recommender.allowed_items import named
from tamis.recommender.candidate_auc import pooled_auc, request_auc, spill, with_both
from tamis.recommender.filters import Filter, Mask
from tamis.recommender.funnel_ceilings import Oracle, oracle_ranks, perfect_retrieval_ranks, score_ranks
from tamis.recommender.held_out_queries import HeldOutQueries
from tamis.recommender.id_rows import Rows
from tamis.recommender.ordering import order_by
from tamis.recommender.pair_lists import among, in_lists
from tamis.recommender.stage_blocks import Stages, popular_beside, stage_blocks

if TYPE_CHECKING:
    from tamis.recommender.recommender import Recommender

QUERY, ITEM, OFFERED, DENIED, FOUND_BY, LEFT_AT = "query", "item", "offered", "denied", "found_by", "left_at"
POPULARITY, RETRIEVAL, RANKER, FUNNEL = "popularity", "retrieval", "ranker", "funnel"
ORACLE, ORACLE_RANKER, PERFECT_RETRIEVAL = "oracle", "oracle_ranker", "perfect_retrieval"
NUM_CANDIDATES, NUM_SEEN, BY_POPULARITY = "num_candidates", "num_seen", "by_popularity"
_SYSTEMS = (POPULARITY, RETRIEVAL, RANKER, FUNNEL, PERFECT_RETRIEVAL, ORACLE_RANKER, ORACLE)
_STAY = -1  # what no step of ordering left out


@dataclass(frozen=True)
class FunnelSettings:
    """What a funnel is asked to measure; see `Recommender.funnel`."""

    k: int
    filters: Sequence[Filter]
    exclude_seen: bool
    count_seen: bool
    count_unknown: bool
    oracle: Oracle | None
    oracle_scores: Callable[..., Any] | None
    verbose: bool


@dataclass(frozen=True)
class Trace:
    """What became of each relevant item, one row each, and what is known of each request.

    `pairs`: the request's number, the item's row (-1: outside the catalogue), whether it is on offer, one bit per
    filter that denies it and per source that found it, the step of ordering that moved it out of the list (-1: none),
    and its place in the list of each system, 0 where it is not in it. `requests`: how many candidates it has, how many
    items its user has met, whether popularity answered for all sources, and the AUC of its candidates by each score,
    NaN where there is none. `auc` is that of all candidates of these requests together.
    """

    k: int
    pairs: pl.DataFrame
    requests: pl.DataFrame
    filters: Sequence[str]
    sources: Sequence[str]
    steps: Sequence[str]
    systems: Sequence[str]
    auc: Mapping[str, float]

    def ranks(self, system: str) -> NDArray[np.int32]:
        """[relevant items] the place in this system's list, from 1; 0 where it is not there."""
        return self.pairs[rank_column(system)].to_numpy()

    @property
    def query(self) -> Rows:
        """[relevant items] the request of each."""
        return self.pairs[QUERY].to_numpy()


def rank_column(system: str) -> str:
    """The column of a trace with the places in this system's lists."""
    return f"rank_{system}"


def trace_funnel(recommender: Recommender, held_out: HeldOutQueries, asked: FunnelSettings) -> Trace:
    """Send the requests through the stages and note the way of each relevant item. Pairs must ascend by request."""
    pairs, requests = [], []
    blocks = stage_blocks(
        recommender,
        held_out.queries,
        asked.k,
        filters=asked.filters,
        exclude_seen=asked.exclude_seen,
        each_step=True,
        verbose=asked.verbose,
    )
    filters = named(recommender.filters_for(asked.filters, exclude_seen=asked.exclude_seen))
    with tempfile.TemporaryDirectory(prefix="tamis-funnel-") as folder:
        for number, stages in enumerate(blocks):
            first, last = np.searchsorted(held_out.query, [stages.start, stages.start + len(stages)])
            query, item = held_out.query[first:last] - stages.start, held_out.item[first:last]
            block = _Block(recommender, stages, query, item, asked)
            ids = held_out.ids.slice(stages.start, len(stages))
            pairs.append(block.pairs(filters, ids))
            requests.append(block.requests(Path(folder) / f"{number}.parquet"))
        auc = pooled_auc(Path(folder), [RETRIEVAL, RANKER] if recommender.ranker else [RETRIEVAL])
    table = pl.concat(pairs)
    systems = [name for name in _SYSTEMS if rank_column(name) in table.columns]
    if recommender.ranker is None:
        systems.remove(RANKER)
    return Trace(
        asked.k,
        table,
        pl.concat(requests),
        list(filters),
        recommender.source_names,
        [type(step).__name__ for step in recommender.ordering],
        systems,
        auc,
    )


@dataclass(frozen=True)
class _Block:
    """A block of requests with their relevant items: query numbers within the block, and item rows."""

    recommender: Recommender
    stages: Stages
    query: Rows
    item: Rows
    asked: FunnelSettings

    def pairs(self, filters: Mapping[str, Filter], ids: pl.Series) -> pl.DataFrame:
        offered = self.recommender.catalogue.is_offered[np.maximum(self.item, 0)] & (self.item >= 0)
        denied = _denied(filters, self.stages, self.query, self.item)
        retrieval = self._ranks(self.stages.candidates.items)
        by_score = order_by((), self.stages.candidates, self.recommender.catalogue, self.stages.candidates.width)
        in_steps = [self._ranks(lists) for lists in self.stages.steps]
        ranks = {
            POPULARITY: self._ranks(popular_beside(self.recommender, self.stages.allowed, self.asked.k)),
            RETRIEVAL: retrieval,
            RANKER: self._ranks(by_score.items),
            FUNNEL: in_steps[-1],
            **self._ceilings(retrieval, offered & (denied == 0), ids),
        }
        columns = {
            QUERY: self.query + self.stages.start,
            ITEM: self.item,
            OFFERED: offered,
            DENIED: denied,
            FOUND_BY: among(self.stages.candidates.found_by, self.query, retrieval, 0),
            LEFT_AT: _left_at([ranks[RANKER], *in_steps], self.asked.k),
        }
        return pl.DataFrame({**columns, **{rank_column(name): found for name, found in ranks.items()}})

    def _ranks(self, lists: Rows) -> NDArray[np.int32]:
        return ranks_in(lists, self.query, self.item)

    def _ceilings(self, retrieval: NDArray[np.int32], may_come: Mask, ids: pl.Series) -> dict[str, NDArray[np.int32]]:
        found = {}
        if self.recommender.ranker is not None:
            missing = may_come & (retrieval == 0)
            found[PERFECT_RETRIEVAL] = perfect_retrieval_ranks(
                self.recommender, self.stages, self.query, self.item, missing
            )
        if self.asked.oracle is not None:
            lists = oracle_ranks(self.asked.oracle, self.recommender, self.stages, ids, self.asked.k)
            found[ORACLE] = self._ranks(lists)
        if self.asked.oracle_scores is not None:
            found[ORACLE_RANKER] = self._ranks(
                score_ranks(self.asked.oracle_scores, self.recommender, self.stages, ids)
            )
        return found

    def requests(self, spilled: Path) -> pl.DataFrame:
        """What is known of the requests; the scores of candidates go to the file `spilled`."""
        candidates, queries = self.stages.candidates, self.stages.queries
        is_there = candidates.items >= 0
        places = self._ranks(candidates.items)
        scores = {RETRIEVAL: candidates.retrieval}
        can_compare = with_both(is_there, self.query[places > 0])
        if candidates.ranking is not None:
            scores[RANKER] = candidates.ranking[:, :, 0]
            can_compare &= queries.has_features
        spill(scores, is_there, can_compare, self.query, places, spilled)
        fallback = np.int64(1 << len(self.recommender.sources))
        columns = {
            NUM_CANDIDATES: is_there.sum(axis=1),
            NUM_SEEN: np.array([len(seen) for seen in queries.seen], np.int64),
            BY_POPULARITY: (candidates.found_by == fallback).any(axis=1),
        }
        values = {name: request_auc(score, is_there, can_compare, self.query, places) for name, score in scores.items()}
        return pl.DataFrame({**columns, **{auc_column(name): found for name, found in values.items()}})


def auc_column(order: str) -> str:
    """The column of a trace's requests with the AUC of their candidates by this score."""
    return f"auc_{order}"


def _denied(filters: Mapping[str, Filter], stages: Stages, query: Rows, item: Rows) -> Rows:
    """[pairs] one bit per filter that denies the item; none for items outside the catalogue."""
    denied = np.zeros(len(item), np.int64)
    known = item >= 0
    for bit, (name, one) in enumerate(filters.items()):
        mask, lists = stages.allowed.for_all.masks.get(name), one.excluded(stages.queries)
        is_denied = np.zeros(len(item), np.bool_) if mask is None else ~mask[np.maximum(item, 0)]
        if lists is not None:
            is_denied |= in_lists(lists, query, item, len(stages.allowed.for_all.mask))
        denied[known & is_denied] |= 1 << bit
    return denied


def _left_at(ranks: Sequence[NDArray[np.int32]], k: int) -> NDArray[np.int8]:
    """[pairs] the step that moved the item out of the first `k` for good; -1 for those that stay or never were there.

    `ranks` are the places before the first step, after the first, and so on.
    """
    left = np.full(len(ranks[0]), _STAY, np.int8)
    inside = [(one > 0) & (one <= k) for one in ranks]
    for step, (before, after) in enumerate(itertools.pairwise(inside)):
        left[before & ~after] = step
    left[inside[-1]] = _STAY
    return left
