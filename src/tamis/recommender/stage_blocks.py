"""Many requests through the stages, a block at a time, with what each stage makes of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tamis.evaluation.list_judging import popular_lists
from tamis.evaluation.pairs import Pairs
from tamis.progress import progress
from tamis.recommender.allowed_items import Allowed
from tamis.recommender.candidates import Candidates
from tamis.recommender.filters import Filter
from tamis.recommender.id_rows import Rows
from tamis.recommender.ordering import generators_of, order_by
from tamis.recommender.queries import Queries

if TYPE_CHECKING:
    from tamis.recommender.recommender import Recommender

_BLOCK = 4096  # requests at once, so that a million of them stay in bounded memory


@dataclass(frozen=True)
class Stages:
    """What the stages make of a block of requests.

    Args:
        start: number of the first request.
        queries: the requests.
        allowed: what the filters leave.
        candidates: what the sources found, in the order of their blend, with the ranker's predictions.
        steps: the lists after each step of ordering; the last are those that are served. Without steps, those by score.
    """

    start: int
    queries: Queries
    allowed: Allowed
    candidates: Candidates
    steps: Sequence[Rows]

    @property
    def lists(self) -> Rows:
        """[queries, k] item rows that are served, -1 in empty places."""
        return self.steps[-1]

    def __len__(self) -> int:
        return len(self.queries)


def stage_blocks(
    recommender: Recommender,
    queries: Queries,
    k: int,
    *,
    filters: Sequence[Filter] = (),
    exclude_seen: bool = True,
    each_step: bool = False,
    verbose: bool = False,
) -> Iterator[Stages]:
    """Send requests through the stages as `recommend` does.

    Args:
        recommender: fitted.
        queries: the requests.
        k: length of the lists.
        filters: besides the recommender's.
        exclude_seen: see `Recommender.recommend`.
        each_step: true gives the lists after each step of ordering, not after the last alone.
        verbose: a progress bar on stderr.
    """
    generators = generators_of(recommender.ordering)
    with progress("users", len(queries), unit="users", verbose=verbose) as advance:
        for at in range(0, len(queries), _BLOCK):
            block = queries.select(np.arange(at, min(at + _BLOCK, len(queries))))
            allowed = recommender.allowed(block, filters, exclude_seen=exclude_seen)
            candidates = recommender.rank(block, recommender.candidates(block, allowed))
            lists = _ordered(recommender, candidates, k, allowed, generators, each_step=each_step)
            yield Stages(at, block, allowed, candidates, lists)
            advance(len(block))


def _ordered(
    recommender: Recommender,
    candidates: Candidates,
    k: int,
    allowed: Allowed,
    generators: Sequence[np.random.Generator],
    *,
    each_step: bool,
) -> list[Rows]:
    """The lists after the first step, the first two, and so on; all from the same random numbers."""
    num_steps = len(recommender.ordering)
    found = []
    for last in range(1, num_steps) if each_step else ():
        drawn = copy.deepcopy(generators[:last])
        steps = recommender.ordering[:last]
        lists = order_by(
            steps, candidates, recommender.catalogue, k, targets=recommender.targets, allowed=allowed, generators=drawn
        )
        found.append(_k_wide(lists.items, k))
    return [*found, _k_wide(recommender.order(candidates, k, allowed, generators=generators).items, k)]


def _k_wide(lists: Rows, k: int) -> Rows:
    return np.pad(lists, ((0, 0), (0, k - lists.shape[1])), constant_values=-1)


def popular_beside(recommender: Recommender, allowed: Allowed, k: int) -> Rows:
    """[queries, k] what everybody would get by popularity alone, behind the same filters."""
    popular = recommender.catalogue.by_popularity()
    popular = popular[allowed.for_all.mask[popular]]
    excluded = None
    if allowed.exclude is not None:
        query = np.repeat(np.arange(allowed.num_queries), [len(items) for items in allowed.exclude])
        items = np.concatenate([*allowed.exclude, np.zeros(0, np.int64)])
        excluded = Pairs.from_arrays(query, items, allowed.num_queries)
    return popular_lists(popular, k, allowed.num_queries, len(recommender.catalogue), excluded)
