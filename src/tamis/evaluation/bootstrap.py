"""How far a mean over users may be off: bootstrap intervals of means, of paired differences and of ratios."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tamis.errors import SettingError

_ENDS = [0.025, 0.975]
_ENTRIES = 2**18  # draws of users held at once, 2 MB
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A value and the lower and upper end of its 95 % interval; NaN where there was nothing to draw from."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0: a difference that chance hardly explains."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


class Bootstrap:
    """Several values per user, all drawn together, so that their differences and ratios have intervals too.

    The users are drawn anew with replacement; the ends are the 2.5 % and 97.5 % quantiles of what the draws give.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.

    Args:
        columns: by name, one value per user: [users].
        weights: [users], what each user counts in a mean; by default all alike.
        seed: the same seed draws the same users.
        num_samples: how many times they are drawn.

    Raises:
        SettingError: fewer than 1 sample, columns of different lengths.
    """

    def __init__(
        self,
        columns: Mapping[Hashable, ArrayLike],
        *,
        weights: ArrayLike | None = None,
        seed: int = 0,
        num_samples: int = 1000,
    ) -> None:
        if num_samples < 1:
            raise SettingError(f"Bootstrap: num_samples is {num_samples}. Give 1 or more, 1000 say.")
        arrays = {name: np.asarray(values, np.float64) for name, values in columns.items()}
        lengths = {len(values) for values in arrays.values()}
        if len(lengths) > 1:
            raise SettingError(f"Bootstrap: columns of {sorted(lengths)} users. Give each one value per user.")
        num_users = lengths.pop() if lengths else 0
        weight = np.ones(num_users) if weights is None else np.asarray(weights, np.float64)
        table = np.column_stack([*(values * weight for values in arrays.values()), weight])
        self._place = {name: place for place, name in enumerate(arrays)}
        self._sums = np.vstack([table.sum(axis=0), _drawn_sums(table, seed, num_samples)])  # the first row: as observed

    def mean(self, name: Hashable) -> Estimate:
        """The mean over users."""
        return _estimate(self._means(name))

    def difference(self, name: Hashable, other: Hashable) -> Estimate:
        """How much larger the mean of `name` is than that of `other`, user by user (paired)."""
        return _estimate(self._means(name) - self._means(other))

    def share(self, name: Hashable, other: Hashable) -> Estimate:
        """The mean of `name` as a share of the mean of `other`."""
        return _estimate(_divided(self._means(name), self._means(other)))

    def _means(self, name: Hashable) -> Numbers:
        return _divided(self._sums[:, self._place[name]], self._sums[:, -1])


def mean_interval(values: ArrayLike, *, seed: int = 0, num_samples: int = 1000) -> Estimate:
    """The mean of one value per user."""
    return Bootstrap({"": values}, seed=seed, num_samples=num_samples).mean("")


def difference_interval(values: ArrayLike, others: ArrayLike, *, seed: int = 0, num_samples: int = 1000) -> Estimate:
    """The mean of the differences of two values of the same users."""
    return Bootstrap({"a": values, "b": others}, seed=seed, num_samples=num_samples).difference("a", "b")


def _drawn_sums(table: Numbers, seed: int, num_samples: int) -> Numbers:
    """[samples, columns] the sums over users drawn with replacement."""
    generator, num_users = np.random.default_rng(seed), len(table)
    sums = np.zeros((num_samples, table.shape[1]))
    together = max(1, min(_ENTRIES // max(num_users, 1), num_samples))  # so that the table is read once for several
    times = np.zeros((together, num_users))
    for start in range(0, num_samples if num_users else 0, together):
        stop = min(start + together, num_samples)
        for sample in range(stop - start):
            drawn = generator.integers(0, num_users, num_users)
            times[sample] = np.bincount(drawn, minlength=num_users)
        sums[start:stop] = times[: stop - start] @ table
    return sums


def _divided(numbers: Numbers, by: Numbers) -> Numbers:
    found: Numbers = np.divide(numbers, by, out=np.full(len(numbers), np.nan), where=by != 0)
    return found


def _estimate(found: Numbers) -> Estimate:
    """The first is what was observed, the others were drawn; draws in which it is not defined are left out."""
    drawn = found[1:][~np.isnan(found[1:])]
    low, high = np.quantile(drawn, _ENDS) if len(drawn) else (np.nan, np.nan)
    return Estimate(float(found[0]), float(low), float(high))
