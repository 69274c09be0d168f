"""Scores made into probabilities that come true: a rising curve from score to rate, fitted on held-out rows."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.errors import UnknownNameError
from tamis.evaluation.row_metric import SCORE, counts_by

_Floats = NDArray[np.float64]
_EPSILON = 1e-7  # scores are kept this far from 0 and 1 before their logit is taken, as in the log loss
_RIDGE = 1e-10  # per row; keeps Newton's step defined where all scores are the same
_MAX_STEPS, _TOLERANCE = 100, 1e-10


class Calibrator(ABC):
    """A curve from score to probability that never falls, so no two scores change their order."""

    method: ClassVar[str]

    @classmethod
    @abstractmethod
    def fit(cls, scores: _Floats, positive: _Floats, count: _Floats) -> Self:
        """The curve for distinct scores in rising order, each with its positive rows and its rows."""

    @abstractmethod
    def apply(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """The probabilities of scores of any shape."""

    def describe(self) -> dict[str, Any]:
        """What JSON can hold."""
        return {"method": self.method, **dataclasses.asdict(self)}  # type: ignore[call-overload]


@dataclass(frozen=True)
class Isotonic(Calibrator):
    """The rising curve nearest to the labels in the least squares, straight between the scores that carry it.

    Beyond the smallest and the largest score seen it stays level. Scores that it makes equal are tied from then on.

    Args:
        scores: where the curve has its corners, rising.
        rates: the probabilities there, never falling.
    """

    method: ClassVar[str] = "isotonic"
    scores: tuple[float, ...]
    rates: tuple[float, ...]

    @classmethod
    def fit(cls, scores: _Floats, positive: _Floats, count: _Floats) -> Self:
        """Pooled rates stay 1 / (rows + 2) away from 0 and 1: no finite sample proves that something never happens."""
        first, last, rates = pool_adjacent_violators(positive, count)
        edge = 1 / (count.sum() + 2)
        corners = np.unique([first, last])  # a block of one score is one corner
        rate_there = np.clip(rates, edge, 1 - edge)[np.searchsorted(last, corners)]
        return cls(tuple(scores[corners].tolist()), tuple(rate_there.tolist()))

    def apply(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Linear between the corners."""
        corners, rates = np.array(self.scores), np.array(self.rates)
        right = np.searchsorted(corners, scores).clip(max=len(corners) - 1)
        # Rounding may lift a value past the corner on its right, and the curve would fall there.
        found = np.minimum(np.interp(scores, corners, rates), rates[right])
        return np.asarray(found, np.float32)


@dataclass(frozen=True)
class Platt(Calibrator):
    """A logistic regression of the label on the score's logit: `sigmoid(slope * logit + intercept)`.

    The slope is 0 or more: where higher scores mean fewer positives, all rows get the same probability.
    Source: Platt, Probabilistic Outputs for Support Vector Machines, 1999, with its smoothed targets; Newton's method
    as in Lin, Lin and Weng, A Note on Platt's Probabilistic Outputs, 2007.
    """

    method: ClassVar[str] = "platt"
    slope: float
    intercept: float

    @staticmethod
    def feature(scores: _Floats) -> _Floats:
        """What the slope is of."""
        return _logit(scores)

    @classmethod
    def fit(cls, scores: _Floats, positive: _Floats, count: _Floats) -> Self:
        """Labels count as (positives + 1) / (positives + 2) and 1 / (negatives + 2)."""
        num_positive, num_negative = positive.sum(), count.sum() - positive.sum()
        target = positive * (num_positive + 1) / (num_positive + 2) + (count - positive) / (num_negative + 2)
        slope, intercept = _logistic_regression(cls.feature(scores), target, count)
        if slope < 0:
            slope, intercept = 0.0, float(_logit(target.sum() / count.sum()))
        return cls(slope, intercept)

    def apply(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """A score of exactly 0 or 1 counts as 1e-7 away from it."""
        return _sigmoid(self.slope * self.feature(scores.astype(np.float64)) + self.intercept).astype(np.float32)


class PlattOfOrder(Platt):
    """The same of scores that are no probabilities but any numbers that order rows: `sigmoid(slope * score + ...)`."""

    method: ClassVar[str] = "platt_of_order"

    @staticmethod
    def feature(scores: _Floats) -> _Floats:
        """The scores themselves."""
        return scores


METHODS: dict[str, type[Calibrator]] = {kind.method: kind for kind in (Isotonic, Platt)}
_KINDS: dict[str, type[Calibrator]] = {**METHODS, PlattOfOrder.method: PlattOfOrder}


def calibration_method(name: str, *, of_order: bool = False) -> type[Calibrator]:
    """The kind of curve, by name; `of_order` where scores are any numbers.

    Raises:
        UnknownNameError: no method of this name.
    """
    if name not in METHODS:
        raise UnknownNameError(name, METHODS, where="calibrate", what="method")
    return _KINDS.get(f"{name}_of_order", METHODS[name]) if of_order else METHODS[name]


def fit_calibrator(rows: pl.LazyFrame, kind: type[Calibrator]) -> Calibrator:
    """The curve of rows with a `score` and a `label` of 0 or 1; in memory, each distinct score takes 24 bytes."""
    tied = counts_by(rows.with_columns(pl.col(SCORE).cast(pl.Float64)), SCORE).sort(SCORE).collect(engine="streaming")
    return kind.fit(*(tied[name].to_numpy() for name in (SCORE, "positive", "count")))


def described_calibrator(described: Mapping[str, Any]) -> Calibrator:
    """The curve that `Calibrator.describe` described."""
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in described.items() if k != "method"}
    if described["method"] not in _KINDS:
        raise UnknownNameError(described["method"], _KINDS, where="calibrate", what="method")
    return _KINDS[described["method"]](**settings)


def pool_adjacent_violators(total: _Floats, count: _Floats) -> tuple[NDArray[np.int64], NDArray[np.int64], _Floats]:
    """The never-falling sequence nearest to `total / count` in the least squares weighted by `count`, as level blocks.

    Returns: each block's first and last position and its value; the values rise strictly.
    Source: Ayer et al., An Empirical Distribution Function for Sampling with Incomplete Information, 1955.
    """
    num_positions = len(total)
    first, size = np.arange(num_positions), num_positions + 1
    while len(first) < 0.9 * size:  # whole falling runs at once, while that pays
        size = len(first)
        mean = total / count
        starts = np.flatnonzero(np.concatenate([[True], mean[1:] > mean[:-1]]))
        first, total, count = first[starts], np.add.reduceat(total, starts), np.add.reduceat(count, starts)
    first, level = _pool_one_by_one(first, total, count)
    return first, np.append(first[1:], num_positions) - 1, level


def _pool_one_by_one(first: NDArray[np.int64], total: _Floats, count: _Floats) -> tuple[NDArray[np.int64], _Floats]:
    firsts: list[int] = []
    totals: list[float] = []
    counts: list[float] = []
    for start, its_total, its_count in zip(first.tolist(), total.tolist(), count.tolist(), strict=True):
        while totals and totals[-1] / counts[-1] >= its_total / its_count:
            start, its_total, its_count = firsts.pop(), its_total + totals.pop(), its_count + counts.pop()
        firsts.append(start)
        totals.append(its_total)
        counts.append(its_count)
    return np.array(firsts), np.array(totals) / np.array(counts)


def _logistic_regression(x: _Floats, target: _Floats, count: _Floats) -> tuple[float, float]:
    """Slope and intercept for `target` positives, not whole numbers, among `count` rows at each `x`."""
    columns = np.stack([x, np.ones_like(x)])
    ridge = _RIDGE * count.sum() * np.eye(2)
    weights = np.array([0.0, float(_logit(target.sum() / count.sum()))])
    for _ in range(_MAX_STEPS):
        rate = _sigmoid(weights @ columns)
        gradient = columns @ (count * rate - target)
        curvature = (columns * (count * rate * (1 - rate))) @ columns.T + ridge
        step = np.linalg.solve(curvature, gradient)
        decrease = float(gradient @ step)
        if decrease <= _TOLERANCE * count.sum():
            return float(weights[0] - step[0]), float(weights[1] - step[1])
        size, loss = 1.0, _cross_entropy(weights @ columns, target, count)
        while _cross_entropy((weights - size * step) @ columns, target, count) > loss - 1e-4 * size * decrease:
            size /= 2
        weights = weights - size * step
    return float(weights[0]), float(weights[1])


def _cross_entropy(logit: _Floats, target: _Floats, count: _Floats) -> float:
    return float(count @ np.logaddexp(0, logit) - target @ logit)


def _sigmoid(logit: _Floats) -> _Floats:
    return np.exp(-np.logaddexp(0, -logit))


def _logit(probability: _Floats) -> _Floats:
    kept = np.clip(probability, _EPSILON, 1 - _EPSILON)
    return np.log(kept) - np.log1p(-kept)
