"""Exact order statistics, from how often each value comes: counts of parts of the data add up, quantiles do not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import polars as pl


def counts_together(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The answers to `Counts` of parts of the data as one."""
    if len(parts) == 1:
        return parts[0]
    return pl.concat(parts, how="vertical_relaxed").group_by("value").agg(pl.col("count").sum())


def quantiles(counts: pl.DataFrame, shares: Sequence[float]) -> list[Any]:
    """The value below which each share of the rows lies, halfway between two neighbours where it falls between them.

    0.5 is the median. Whole numbers stay whole: what falls between two of them is rounded down.

    Args:
        counts: at least one row.
        shares: from 0 to 1.

    Source: Hyndman and Fan, Sample Quantiles in Statistical Packages, 1996, definition 7.
    """
    values, reached = _sorted(counts)
    return [_at(values, reached, share * (reached[-1] - 1)) for share in shares]


def _sorted(counts: pl.DataFrame) -> tuple[pl.Series, pl.Series]:
    """The values rising, and how many rows each one and those before it have."""
    rising = counts.sort("value")
    return rising["value"], rising["count"].cum_sum()


def _at(values: pl.Series, reached: pl.Series, rank: float) -> Any:
    below, above = (values[_position(reached, whole)] for whole in (math.floor(rank), math.ceil(rank)))
    part = rank - math.floor(rank)
    if below == above or values.dtype.is_float():
        return below if below == above else below * (1 - part) + above * part
    return int(below) + math.floor(Fraction(part) * (int(above) - int(below)))  # exact, also beyond 2**53


def _position(reached: pl.Series, rank: int) -> int:
    """The first value that more than `rank` rows have reached."""
    return int(reached.search_sorted(rank, side="right"))
