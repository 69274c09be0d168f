"""A version that answers beside the one that is served, to be compared; nobody waits for it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tamis.serving.answering import Question, answer
from tamis.serving.live_version import LiveVersion
from tamis.serving.serving_metrics import ServingMetrics
from tamis.serving.telling import items_told
from tamis.serving.update_log import UpdateLog

_LOG = logging.getLogger("tamis.serving")
_MOST_WAITING = 8  # further comparisons are dropped: they must not cost the served answers their time


class Shadow:
    """Answers questions again in a thread of its own.

    Args:
        metrics: where the comparison goes.
    """

    def __init__(self, metrics: ServingMetrics) -> None:
        self._metrics = metrics
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="shadow")
        self._waiting = 0

    def compare(
        self, version: LiveVersion, question: Question, told: Sequence[Mapping[str, Any]], log: UpdateLog | None
    ) -> bool:
        """Let this version answer too, later; false where too much waits already."""
        if self._waiting >= _MOST_WAITING:
            return False
        self._waiting += 1
        self._pool.submit(self._compare, version, question, told, log)
        return True

    def _compare(
        self, version: LiveVersion, question: Question, told: Sequence[Mapping[str, Any]], log: UpdateLog | None
    ) -> None:
        started = time.perf_counter()
        try:
            with version.lock.reading():
                lists = answer(version, question, log).lists
                took = time.perf_counter() - started
                own = [items_told(version.recommender, lists, query, ()) for query in range(len(told))]
            self._metrics.shadow_s.labels(version.name).observe(took)
            for mine, theirs in zip(own, told, strict=True):
                overlap = overlap_of([one["id"] for one in mine], [one["id"] for one in theirs["items"]])
                self._metrics.shadow_overlap.labels(version.name).observe(overlap)
        except Exception:  # a shadow's fault is told, and nobody's concern
            _LOG.exception("the shadow version %s failed", version.name)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Wait for what is at work and drop the rest."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def overlap_of(mine: Sequence[Any], theirs: Sequence[Any]) -> float:
    """The share of their list that is in mine; 1 where both are empty."""
    if not theirs:
        return 0.0 if mine else 1.0
    return len(set(mine) & set(theirs)) / len(theirs)
