"""How long stages take, learned from the requests so far, to foresee whether the next fits into its time."""

from __future__ import annotations

_WEIGHT, _UP = 0.1, 0.3  # of the latest request in the running mean; more where it was slower, to keep the time
_MOST = 3.0  # times the mean: one request that was held up by something else says little of the next
_BELIEVED = 3  # so many such requests in a row are no accident
_FORGETTING = 0.97  # what skipping a stage leaves of its estimate, so that a bad moment is not believed for ever


class Estimate:
    """A running mean of milliseconds per unit of work.

    Threads may use it at once: an update that gets lost among them does no harm.
    """

    def __init__(self) -> None:
        self._ms: float | None = None
        self._surprises: list[float] = []  # the latest, if they were far above the mean
        self._is_old = False  # the stage was skipped since it ran last

    @property
    def ms(self) -> float:
        """Per unit; 0 as long as nothing is known."""
        return self._ms or 0.0

    def add(self, ms: float, units: int = 1) -> None:
        """Learn from a stage that ran."""
        found = ms / max(units, 1)
        old, was_old = self._ms, self._is_old
        self._is_old = False
        if old is None or was_old:  # what looking again finds is the latest that is known
            self._ms = found
            return
        surprises = [*self._surprises, found] if found > _MOST * old else []
        if len(surprises) >= _BELIEVED:
            self._ms, self._surprises = min(surprises), []
            return
        weight = _UP if old < found <= _MOST * old else _WEIGHT
        self._ms, self._surprises = old + weight * (min(found, _MOST * old) - old), surprises

    def skipped(self) -> None:
        """The stage did not run, since there was no time."""
        if self._ms is not None:
            self._ms *= _FORGETTING
            self._is_old = True


class StageEstimates:
    """What a version's stages take: the search per request, ranking per pair of request and candidate, the rest."""

    def __init__(self) -> None:
        self.retrieval, self.ranking, self.ordering = Estimate(), Estimate(), Estimate()

    def affordable(self, left_ms: float) -> float:
        """How many pairs can be ranked in the time that is left."""
        left_ms -= self.ordering.ms
        if left_ms <= 0:
            return 0.0
        return left_ms / self.ranking.ms if self.ranking.ms else float("inf")

    def whole_ms(self, num_ranked: int) -> float:
        """What an answer to one request takes, as far as is known."""
        return self.retrieval.ms + self.ranking.ms * num_ranked + self.ordering.ms
