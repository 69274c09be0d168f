"""Whether the scores that go out still look like those of the users that the version was trained on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import TamisError
from tamis.recommender.golden import Golden
from tamis.serving.answering import Question, answer
from tamis.serving.asked_users import AskedUser
from tamis.serving.live_version import LiveVersion

_LOG = logging.getLogger("tamis.serving")
_USERS, _K, _BINS = 64, 10, 10
_WINDOW, _LEAST = 2000, 200
_SEED = 7
_TINY = 1e-4  # stands for an empty bin, which has no logarithm


class ScoreDrift:
    """The population stability index of the latest scores against those of training users.

    sum over ten bins of (now - then) * ln(now / then), with bins that hold a tenth of the training users' scores each.
    Below 0.1 nothing happened, above 0.25 something did, as people say.

    Args:
        reference: scores of training users; of too few nothing can be said.

    Source: Siddiqi, Credit Risk Scorecards, 2006, chapter 9.
    """

    def __init__(self, reference: Iterable[float]) -> None:
        scores = np.array([one for one in reference if np.isfinite(one)], np.float64)
        self.is_known = len(scores) >= _LEAST
        self._edges = np.unique(np.quantile(scores, np.linspace(0, 1, _BINS + 1)[1:-1])) if self.is_known else scores
        self._then = self._shares(scores) if self.is_known else scores
        self._latest = np.zeros(_WINDOW, np.float64)
        self._count, self._lock = 0, threading.Lock()

    def add(self, scores: Iterable[float | None]) -> None:
        """Scores that went out."""
        given = np.array(list(scores), np.float64)  # None becomes NaN
        fresh = given[np.isfinite(given)][-_WINDOW:]
        with self._lock:
            self._latest[(self._count + np.arange(len(fresh))) % _WINDOW] = fresh
            self._count += len(fresh)

    @property
    def index(self) -> float:
        """0 where nothing changed; NaN as long as too little went out."""
        with self._lock:
            latest = self._latest[: min(self._count, _WINDOW)].copy()
        if not self.is_known or len(latest) < _LEAST:
            return float("nan")
        now = self._shares(latest)
        return float(((now - self._then) * np.log(now / self._then)).sum())

    def _shares(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        counts = np.bincount(np.searchsorted(self._edges, scores, side="right"), minlength=len(self._edges) + 1)
        shares: NDArray[np.float64] = np.maximum(counts / len(scores), _TINY)
        return shares


def training_scores(
    version: LiveVersion, golden: Golden | None = None, *, num_ranked: int | None = None
) -> list[float]:
    """Scores of the lists of some users that the version knows; none where no context is known to ask with.

    Args:
        version: loaded.
        golden: the bundle's own requests, whose contexts are used.
        num_ranked: see `Question`.
    """
    ids = version.recommender.audience.ids
    some = ids.sample(min(_USERS, len(ids)), seed=_SEED).to_list() if len(ids) else []
    frames = [one.asked.context for one in golden.requests] if golden else []
    contexts: list[dict[str, Any]] = [one.row(0, named=True) for one in frames if one.width] or [{}]
    scores: list[float] = []
    for number, context in enumerate(contexts):
        users = [AskedUser(user) for user in some[number :: len(contexts)]]
        if users:
            scores += _scores(version, Question(users, k=_K, context=context, num_ranked=num_ranked))
    return scores


def _scores(version: LiveVersion, question: Question) -> list[float]:
    try:
        with version.lock.reading():
            lists = answer(version, question).lists
    except TamisError as error:  # a context that is missing, say
        _LOG.info("version %s: nothing can be said of drift: %s", version.name, error)
        return []
    found: list[float] = lists.scores[lists.items >= 0].tolist()
    return found
