"""The last stage: out of scored candidates a list that people see. Steps run one after the other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tamis.errors import SettingError, UnknownNameError
from tamis.recommender.allowed_items import Allowed
from tamis.recommender.candidates import Candidates
from tamis.recommender.caps import Caps
from tamis.recommender.catalogue import Catalogue
from tamis.recommender.diversity import MMR
from tamis.recommender.ordering_step import Ordering, Situation, sorted_by
from tamis.recommender.pins import Pins

__all__ = [
    "MMR",
    "ByScore",
    "Caps",
    "Ordering",
    "Pins",
    "Situation",
    "SoftmaxSampling",
    "Weighted",
    "check_ordering",
    "generators_of",
    "order_by",
]

RETRIEVAL = "retrieval"  # among targets: the score that the sources gave
_LARGEST_EXPONENT = 80.0  # float32 ends at 88
_TINY = 1e-30  # stands for 0, which has no logarithm
_HOTTEST = 1e30  # what noise may be multiplied with and stay in 32 bits


@dataclass(frozen=True)
class ByScore(Ordering):
    """Order by the ranker's first target; without a ranker, or where it was not asked, by the retrieval score."""

    def order(self, candidates: Candidates, situation: Situation) -> Candidates:
        """The candidates, best first."""
        if candidates.ranking is None:
            return sorted_by(candidates, candidates.retrieval)
        return sorted_by(candidates, _or_retrieval(candidates.ranking[:, :, 0], candidates))


@dataclass(frozen=True)
class Weighted(Ordering):
    """Order by several targets at once: `{"click": 1.0, "purchase": 5.0}`.

    The name `"retrieval"` stands for the score that the sources gave, unless a target has it: two models that err in
    different ways rank better together, `Weighted({"click": 1.0, "retrieval": 10.0})` say, with the weight chosen on
    validation data. Requests for which the ranker was not asked are ordered by the retrieval score.

    Args:
        weights: weight by target; targets that are not named do not count.
        how: `"sum"` of weight * prediction, or `"product"` of prediction ** weight, in which a target near 0 cannot be
            made up for by another; it needs predictions of 0 or more, probabilities say. A retrieval score, which may
            be negative, enters a product by its exponential. Products too large for a number are made smaller by one
            factor for all of a request.

    Raises:
        SettingError: no weights, one that is not finite, all 0, or no such `how`.
    """

    weights: Mapping[str, float]
    how: str = "sum"

    def __post_init__(self) -> None:
        weights: Any = self.weights
        if not isinstance(weights, Mapping) or not any(weights.values()):
            raise SettingError(f"Weighted: the weights are {weights!r}. Give one by target, {{'click': 1.0}} say.")
        object.__setattr__(self, "weights", dict(weights))
        for target, weight in weights.items():
            if not math.isfinite(weight):
                raise SettingError(f"Weighted: the weight of {target!r} is {weight}. Give a finite number.")
        if self.how not in ("sum", "product"):
            raise SettingError(f"Weighted: how is {self.how!r}. Choose 'sum' or 'product'.")

    def check(self, catalogue: Catalogue, targets: Sequence[str]) -> None:
        """Refuse targets that the ranker does not predict.

        Raises:
            SettingError: there is no ranker.
            UnknownNameError: names the nearest target.
        """
        if not targets:
            raise SettingError(
                "Weighted: there is no ranker, so there are no targets to weigh. Give one, or ByScore()."
            )
        for target in self.weights:
            if target not in (*targets, RETRIEVAL):
                raise UnknownNameError(target, [*targets, RETRIEVAL], where="Weighted", what="target")

    def order(self, candidates: Candidates, situation: Situation) -> Candidates:
        """The candidates, best first."""
        self.check(situation.catalogue, situation.targets)
        assert candidates.ranking is not None
        predictions = candidates.ranking.astype(np.float64)
        scores = self._of_retrieval(candidates, situation.targets)
        for target, weight in self.weights.items():
            if target in situation.targets:
                scores = scores + weight * self._terms(predictions[:, :, list(situation.targets).index(target)])
        if self.how == "product":  # scaled down within a request where no number could hold it
            largest = np.fmax.reduce(scores, axis=1, keepdims=True, initial=_LARGEST_EXPONENT)
            scores = np.exp(scores - (largest - _LARGEST_EXPONENT))
        return sorted_by(candidates, _or_retrieval(scores, candidates))

    def _of_retrieval(self, candidates: Candidates, targets: Sequence[str]) -> NDArray[np.float64]:
        """The retrieval score by its weight; NaN where the ranker was not asked."""
        assert candidates.ranking is not None
        weight = 0.0 if RETRIEVAL in targets else self.weights.get(RETRIEVAL, 0.0)
        scores = np.where(np.isfinite(candidates.retrieval), candidates.retrieval, 0).astype(np.float64)
        return np.where(np.isnan(candidates.ranking).all(axis=2), np.nan, weight * scores)

    def _terms(self, predictions: NDArray[np.float64]) -> NDArray[np.float64]:
        """What is summed by weight: the predictions, or their logarithms."""
        if self.how == "sum":
            return predictions
        if (predictions < 0).any():
            raise SettingError(
                f"Weighted: a prediction is {np.nanmin(predictions):.4g}, of which 'product' takes no power. Use 'sum'."
            )
        return np.log(np.maximum(predictions, _TINY))


@dataclass(frozen=True)
class SoftmaxSampling(Ordering):
    """Draw the list: the first item with probability softmax(score / temperature), the next alike among those left.

    Temperature 0 keeps the order by score; the higher it is, the more chance decides. The sign of a score means
    nothing: adding a constant to all of them changes nothing. Each score gets Gumbel noise times the temperature added;
    the sum orders the list and becomes the candidate's score.

    Args:
        temperature: 0 or more, in units of the score.
        seed: the same draw for the same call; None for another each time.

    Raises:
        SettingError: the temperature is negative or above 1e30.

    Source: Kool et al., Stochastic Beams and Where to Find Them, ICML 2019, section 2.3 (the Gumbel top-k trick).
    """

    temperature: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= _HOTTEST:
            raise SettingError(f"SoftmaxSampling: temperature is {self.temperature}. Give 0 or more, in score units.")

    def order(self, candidates: Candidates, situation: Situation) -> Candidates:
        """The candidates in the order drawn."""
        generator = situation.generator or np.random.default_rng(self.seed)
        noise = -np.log(np.maximum(generator.standard_exponential(candidates.items.shape, np.float32), _TINY))
        return sorted_by(candidates, candidates.scores + np.float32(self.temperature) * noise)


def _or_retrieval(scores: NDArray[Any], candidates: Candidates) -> NDArray[Any]:
    """The scores; retrieval's for requests that the ranker knows nothing of. Else, what it was not asked comes last."""
    is_missing = np.isnan(scores)
    if not is_missing.any():
        return scores
    is_unasked = is_missing.all(axis=1, keepdims=True)
    return np.where(is_unasked, candidates.retrieval, np.where(is_missing, -np.inf, scores))


def check_ordering(steps: Sequence[Ordering], catalogue: Catalogue, targets: Sequence[str] = ()) -> None:
    """Refuse steps that cannot work, before anything is asked.

    Raises:
        SettingError: what is no step, a step behind `Pins`, or what a step itself refuses.
        UnknownColumnError: a step names an item column that is not there.
        UnknownNameError: a step names a target that is not there.
    """
    for i, step in enumerate(steps):
        if not isinstance(step, Ordering):
            raise SettingError(f"Recommender: {step!r} is no step of ordering. Give ByScore(), MMR() and the like.")
        if step.is_last and i < len(steps) - 1:
            name = type(step).__name__
            raise SettingError(
                f"Recommender: {steps[i + 1]!r} stands behind {name}, and would undo it. Put {name} last."
            )
        step.check(catalogue, targets)


def generators_of(steps: Sequence[Ordering]) -> list[np.random.Generator]:
    """One source of random numbers per step, by its `seed`: to be made once for all blocks of a call."""
    return [np.random.default_rng(getattr(step, "seed", None)) for step in steps]


def order_by(
    steps: Sequence[Ordering],
    candidates: Candidates,
    catalogue: Catalogue,
    k: int,
    *,
    targets: Sequence[str] = (),
    allowed: Allowed | None = None,
    generators: Sequence[np.random.Generator] | None = None,
) -> Candidates:
    """The lists: the candidates by score, through all steps, and the first `k` of what they leave.

    Args:
        steps: such as `[ByScore(), MMR(), Caps({"brand": 2})]`; each starts from the order that the last one left.
        candidates: scored, in any order.
        catalogue: the items.
        k: length of the lists.
        targets: names of what the ranker predicts.
        allowed: what the filters leave of these requests; `Pins` keeps to it.
        generators: one per step, see `generators_of`.
    """
    candidates = ByScore().order(candidates, Situation(catalogue, k))
    for step, generator in zip(steps, generators or generators_of(steps), strict=True):
        candidates = step.order(candidates, Situation(catalogue, k, targets, allowed, generator))
    return candidates.first(k)
