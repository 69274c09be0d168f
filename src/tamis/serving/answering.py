"""A request through the stages, within its time: what is found, how long each stage took, what had to be left out."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import polars as pl

from tamis.recommender.allowed_items import Allowed
from tamis.recommender.building import popularity
from tamis.recommender.candidates import Candidates
from tamis.recommender.id_rows import Rows
from tamis.recommender.queries import Queries
from tamis.serving.asked_users import AskedUser
from tamis.serving.degradation import FEWER, FEWER_SOURCES, POPULARITY, RETRIEVAL, worst
from tamis.serving.live_version import LiveVersion
from tamis.serving.outside import answering_until, is_missed
from tamis.serving.update_log import RawId, UpdateLog, UserState


@dataclass(frozen=True)
class Question:
    """What is asked for.

    Args:
        users: whom the lists are for.
        k: length of the lists.
        context: raw context columns.
        conditions: on items, as `Where` takes them.
        exclude: raw ids of items that are not wanted.
        exclude_seen: see `Recommender.recommend`.
        num_candidates: how many the sources find together, by their quotas' shares; None is their quotas.
        num_ranked: how many of them the ranker looks at; None is all.
        deadline: by `time.perf_counter`, in seconds; infinite for none.
    """

    users: Sequence[AskedUser]
    k: int = 10
    context: Mapping[str, Any] | None = None
    conditions: tuple[str, ...] = ()
    exclude: Sequence[RawId] = ()
    exclude_seen: bool = True
    num_candidates: int | None = None
    num_ranked: int | None = None
    deadline: float = math.inf


@dataclass(frozen=True)
class Answered:
    """Lists, and how they came about.

    Args:
        queries: the requests, encoded.
        lists: [queries, k] the items.
        allowed: what the filters left.
        stage_ms: milliseconds by stage.
        degraded: one of `LEVELS`, or None for a whole answer.
        num_candidates: found for each request, at most.
        num_ranked: of these, how many the ranker looked at.
    """

    queries: Queries
    lists: Candidates
    allowed: Allowed
    stage_ms: Mapping[str, float]
    degraded: str | None
    num_candidates: int
    num_ranked: int


@dataclass
class StageClock:
    """Milliseconds of stages that follow each other, and what is left until the deadline."""

    deadline: float
    ms: dict[str, float] = field(default_factory=dict)
    _last: float = field(default_factory=time.perf_counter)

    def lap(self, stage: str) -> float:
        """A stage has ended: what it took."""
        now = time.perf_counter()
        took = (now - self._last) * 1000
        self.ms[stage], self._last = took, now
        return took

    @property
    def left_ms(self) -> float:
        """Until the deadline."""
        return (self.deadline - time.perf_counter()) * 1000


def answer(version: LiveVersion, question: Question, log: UpdateLog | None = None) -> Answered:
    """The lists that a version gives. The caller holds its lock for reading.

    Raises:
        UnknownColumnError: a feature, context or condition on a column that there is not.
        DataError: a value that its column cannot hold.
        SettingError: a context that is missing, or no condition.
    """
    with answering_until(question.deadline) as under_way:
        answered = _answer(version, question, log)
    if not under_way.missed:
        return answered
    return replace(answered, degraded=worst([answered.degraded, *under_way.missed]))


def _answer(version: LiveVersion, question: Question, log: UpdateLog | None) -> Answered:
    clock = StageClock(question.deadline)
    queries = queries_of(version, question.users, question.context, log)
    clock.lap("features")
    excluded = rows_of_items(version, question.exclude)
    allowed = version.filters.allowed(queries, question.conditions, excluded, exclude_seen=question.exclude_seen)
    clock.lap("filters")
    found, degraded = _found(version, question, queries, allowed, clock)
    ranked, num_ranked, degraded = _ranked(version, question, queries, found, clock, degraded)
    lists = version.recommender.order(ranked, question.k, allowed)
    version.estimates.ordering.add(clock.lap("ordering"))
    return Answered(queries, lists, allowed, clock.ms, degraded, found.width, num_ranked)


def queries_of(
    version: LiveVersion, users: Sequence[AskedUser], context: Mapping[str, Any] | None, log: UpdateLog | None
) -> Queries:
    """The requests, encoded, with all that is known of the users."""
    stored = None if version.stored is None else version.stored(version.users.ids(users))
    return version.users.queries(users, user_states(users, log), context, stored)


def user_states(users: Sequence[AskedUser], log: UpdateLog | None) -> list[UserState]:
    """What updates say of each user."""
    nothing = UserState()
    return [nothing if log is None or user.id is None else log.user(user.id) for user in users]


def rows_of_items(version: LiveVersion, items: Sequence[RawId]) -> Rows:
    """Rows of raw ids; unknown ones are left out."""
    if not items:
        return np.zeros(0, np.int64)
    rows = version.recommender.catalogue.rows_of(pl.Series([str(item) for item in items]))
    return rows[rows >= 0]


def _found(
    version: LiveVersion, question: Question, queries: Queries, allowed: Allowed, clock: StageClock
) -> tuple[Candidates, str | None]:
    estimate = version.estimates.retrieval
    if clock.left_ms <= estimate.ms * len(queries):
        estimate.skipped()
        found = popular_candidates(version, queries, allowed, max(question.k, question.num_candidates or 0))
        clock.lap("retrieval")
        return found, POPULARITY
    found = version.recommender.candidates(queries, allowed, quotas=quotas(version, question))
    empty = np.flatnonzero((found.items < 0).all(axis=1))
    if len(empty) and is_missed(FEWER_SOURCES):
        found = _with_popular(version, found, empty, allowed)
    estimate.add(clock.lap("retrieval"), len(queries))
    return found, None


def _with_popular(version: LiveVersion, found: Candidates, rows: Rows, allowed: Allowed) -> Candidates:
    """Popular items for those requests that got none."""
    sources = version.recommender.sources
    lists = popular_lists(version, rows, allowed, sum(source.quota for source in sources))
    return found.filled(rows, lists, popularity(version.recommender.catalogue), bit=len(sources))


def quotas(version: LiveVersion, question: Question) -> dict[str, int] | None:
    """How many candidates each source finds; None for their own quotas. Together they fill a list of length `k`."""
    own = {source.name: source.quota for source in version.recommender.sources}
    total = sum(own.values())
    wanted = max(question.num_candidates or total, question.k)
    if wanted == total:
        return None
    return {name: math.ceil(quota * wanted / total) for name, quota in own.items()}


def popular_candidates(version: LiveVersion, queries: Queries, allowed: Allowed, k: int) -> Candidates:
    """The most popular items that each request may get."""
    lists = popular_lists(version, np.arange(len(queries)), allowed, k)
    shape = (len(queries), max([1, *map(len, lists)]))
    scores = np.full(shape, -np.inf, np.float32)
    nobody = Candidates(np.full(shape, -1, np.int64), scores, np.zeros(shape, np.int64), scores.copy())
    bit = len(version.recommender.sources)
    return nobody.filled(np.arange(len(queries)), lists, popularity(version.recommender.catalogue), bit=bit)


def popular_lists(version: LiveVersion, rows: Rows, allowed: Allowed, k: int) -> list[Rows]:
    """The most popular items that each of these requests may get."""
    most = max([0, *(len(allowed.exclude[query]) for query in rows.tolist())]) if allowed.exclude is not None else 0
    popular = version.recommender.catalogue.most_popular(allowed.for_all.mask, k + most)
    lists = []
    for query in rows.tolist():
        gone = np.zeros(0, np.int64) if allowed.exclude is None else allowed.exclude[query]
        first = popular[: k + len(gone)]
        lists.append(first[~np.isin(first, gone)][:k])
    return lists


def _ranked(
    version: LiveVersion,
    question: Question,
    queries: Queries,
    found: Candidates,
    clock: StageClock,
    degraded: str | None,
) -> tuple[Candidates, int, str | None]:
    """The candidates that go on, those of them with predictions, and how far the answer is degraded."""
    recommender, estimates = version.recommender, version.estimates
    if recommender.ranker is None:
        return found, 0, degraded
    wanted = min(question.num_ranked or found.width, found.width)
    affordable = 0.0 if degraded else estimates.affordable(clock.left_ms) / max(len(queries), 1)
    if affordable < min(question.k, wanted) or degraded:
        estimates.ranking.skipped()
        nothing = np.full((*found.items.shape, len(recommender.targets)), np.nan, np.float32)
        clock.lap("ranking")
        return replace(found, ranking=nothing), 0, degraded or RETRIEVAL
    number = int(min(wanted, affordable))
    ranked = recommender.rank(queries, found.first(number))
    estimates.ranking.add(clock.lap("ranking"), len(queries) * number)
    return ranked, number, FEWER if number < wanted else None
