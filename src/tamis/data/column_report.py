"""What one column of an inspected table holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from tamis.data.column_scan import ColumnScan

_BARS = 8
TOP = 5


@dataclass(frozen=True)
class Lengths:
    """How long lists are, or how many letters texts have."""

    shortest: int
    mean: float
    longest: int


@dataclass(frozen=True)
class ColumnReport:
    """What one column holds.

    Of lists, all but `num_nulls` is about their values. `num_distinct` is exact unless `is_estimate`, then within
    about 1 %. `top` are values and counts; a value may have been seen `top_missed` times more. `mean`, `minimum` and
    `maximum` are exact, `quantiles` (of 1, 25, 50, 75 and 99 %) and `histogram` come from the sample of rows; the
    bars of the histogram go from the first quantile to the last and hold what lies beyond at their ends.
    """

    name: str
    dtype: str
    is_list: bool
    num_rows: int
    num_nulls: int
    num_nans: int
    num_values: int
    num_distinct: int
    is_estimate: bool
    top: tuple[tuple[Any, int], ...]
    top_missed: int
    minimum: Any
    mean: float | None
    maximum: Any
    quantiles: Mapping[str, Any]
    histogram: tuple[int, ...]
    lengths: Lengths | None
    tags: tuple[str, ...]
    reason: str

    @property
    def null_share(self) -> float:
        """Nulls per row."""
        return self.num_nulls / max(self.num_rows, 1)


def report_of(name: str, scan: ColumnScan, sample: pl.DataFrame) -> ColumnReport:
    """What a scan and the sample tell of a column; no tags yet."""
    drawn = sample[name].drop_nulls()
    drawn = drawn.drop_nans() if drawn.dtype.is_float() else drawn
    quantiles = _quantiles(drawn) if scan.is_ordered and not scan.is_list else {}
    return ColumnReport(
        name=name,
        dtype=str(scan.leaf).lower(),
        is_list=scan.is_list,
        num_rows=scan.rows,
        num_nulls=scan.nulls,
        num_nans=scan.nans,
        num_values=scan.values,
        num_distinct=min(scan.distinct.estimate, scan.values),
        is_estimate=not scan.distinct.is_exact,
        top=tuple(scan.frequent.top(TOP)),
        top_missed=scan.frequent.missed,
        minimum=scan.low,
        mean=scan.total / scan.values if scan.is_number and scan.values else None,
        maximum=scan.high,
        quantiles=quantiles,
        histogram=_histogram(drawn, quantiles),
        lengths=_lengths(scan),
        tags=(),
        reason="",
    )


def _quantiles(values: pl.Series) -> dict[str, Any]:
    """Of the values that are there, so that a quantile of whole numbers is one of them."""
    ordered = values.sort()
    if not len(ordered):
        return {}
    return {f"{share}%": ordered[round((len(ordered) - 1) * share / 100)] for share in (1, 25, 50, 75, 99)}


def _histogram(values: pl.Series, quantiles: Mapping[str, Any]) -> tuple[int, ...]:
    if not quantiles:
        return ()
    edges = pl.Series([quantiles["1%"], quantiles["99%"]]).to_physical().cast(pl.Float64)
    low, high = edges[0], edges[1]
    if not low < high < float("inf") or low == float("-inf"):
        return ()
    place = (values.to_physical().cast(pl.Float64) - low) / (high - low) * _BARS
    counts = place.clip(0, _BARS - 1).cast(pl.Int64).value_counts()
    found = dict(counts.iter_rows())
    return tuple(found.get(bar, 0) for bar in range(_BARS))


def _lengths(scan: ColumnScan) -> Lengths | None:
    if scan.shortest is None or scan.longest is None:
        return None
    counted = scan.rows - scan.nulls if scan.is_list else scan.values
    return Lengths(scan.shortest, scan.all_length / max(counted, 1), scan.longest)
