"""How well one column alone predicts the target: near perfect means that it tells the answer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]
_BINS = 64
_FEWEST_PER_CLASS = 10  # below that nothing is said


def auc(score: Floats, is_positive: npt.NDArray[np.bool_]) -> float:
    """The chance that a positive has a higher score than a negative; equal ones count half."""
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    positives = int(is_positive.sum())
    above = mean_rank[place][is_positive].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (len(score) - positives)))


def single_column_power(column: pl.Series, target: pl.Series) -> float | None:
    """The AUC (of a target of numbers: R squared) of the target's mean per value of a column, judged on other rows.

    The means are learned on the first half of the rows and judged on the second; a value that the first half has not
    seen counts as the mean of all, so an id of its own per row predicts nothing. Numbers of many values are also tried
    in 64 bins of equally many rows, whichever is the better. Nulls are a value. None where the rows are too few to say.
    """
    labels = _labels(target) if len(target) >= 4 * _FEWEST_PER_CLASS else None
    if labels is None:
        return None
    half = len(labels) // 2
    tried = [codes for codes in (_by_value(column), _by_bin(column, half)) if codes is not None]
    powers = [_power(_means(codes, labels, half), labels[half:]) for codes in tried]
    return max((power for power in powers if power is not None), default=None)


def _labels(target: pl.Series) -> Floats | None:
    """The target as numbers; of classes, whether it is the most frequent one."""
    if target.dtype.is_numeric() or target.dtype == pl.Boolean:
        return target.cast(pl.Float64).to_numpy()
    most = target.value_counts(sort=True)[target.name]
    return (target == most[0]).cast(pl.Float64).to_numpy() if len(most) else None


def _by_value(column: pl.Series) -> npt.NDArray[np.int64]:
    return (column.rank("dense").cast(pl.Int64).fill_null(0)).to_numpy()


def _by_bin(column: pl.Series, half: int) -> npt.NDArray[np.int64] | None:
    if not (column.dtype.is_numeric() or column.dtype.is_temporal()) or column.n_unique() <= _BINS:
        return None
    numbers = column.to_physical().cast(pl.Float64)
    known = numbers[:half].drop_nulls().drop_nans().to_numpy()
    if not len(known):
        return None
    edges = np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1], method="nearest")  # no way from -inf to inf
    bins = np.searchsorted(np.unique(edges), numbers.fill_null(np.nan).to_numpy(), side="right")
    return np.where(numbers.is_null().to_numpy(), -1, bins) + 1


def _means(codes: npt.NDArray[np.int64], labels: Floats, half: int) -> Floats:
    counts = np.bincount(codes[:half], minlength=codes.max() + 1)
    sums = np.bincount(codes[:half], weights=labels[:half], minlength=codes.max() + 1)
    mean = labels[:half].mean()
    smoothed: Floats = (sums + mean) / (counts + 1)
    return smoothed[codes[half:]]


def _power(predicted: Floats, labels: Floats) -> float | None:
    values = np.unique(labels)
    if len(values) == 2:
        is_positive = labels == values[1]
        fewest = min(is_positive.sum(), (~is_positive).sum())
        return auc(predicted, is_positive) if fewest >= _FEWEST_PER_CLASS else None
    if len(values) < 2 or len(labels) < 2 * _FEWEST_PER_CLASS:
        return None
    return float(1 - ((labels - predicted) ** 2).sum() / ((labels - labels.mean()) ** 2).sum())
