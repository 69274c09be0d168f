"""What values are like, written into the schema."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tamis.features.lookup import kind_of, plain_values
from tamis.features.ops.op import Column, ColumnOp, Learned, Unit, is_number
from tamis.features.quantiles import counts_together
from tamis.features.statistics import Counts
from tamis.schema import ColumnSchema


@dataclass(frozen=True)
class DataStats(ColumnOp):
    """Describe the training rows in the schema: `properties["stats"]`; the values stay as they are.

    All columns: `cardinality`, the number of distinct values, and `missing`, the share of nulls and NaN. Numbers also
    `min`, `max`, `mean` and `std`, the population's; dates and times `min` and `max` as ISO text. Of lists, the leaves
    are described. What does not exist is left out, such as the mean of a column of nulls or of infinite numbers.
    """

    def learn(self, column: Column) -> Mapping[str, pl.Expr | Counts]:
        """How often each value comes, and how many rows there are."""
        return {"rows": column.values.len(), "counts": Counts(plain_values(column.values, column.schema.dtype))}

    def merge(self, parts: Sequence[Learned]) -> Learned:
        """Add the counts of equal values."""
        return {
            "rows": sum(part["rows"] for part in parts),
            "counts": counts_together([part["counts"] for part in parts]),
        }

    def finish(self, unit: Unit, found: Learned) -> Learned:
        """The statistics alone."""
        counts, rows = found["counts"].sort("value"), found["rows"]  # sums of floats depend on the order
        stats: dict[str, Any] = {"cardinality": len(counts)}
        if rows:
            stats["missing"] = (rows - counts["count"].sum()) / rows
        dtype = str(counts["value"].dtype).lower()
        if is_number(dtype):
            stats |= _numbers(counts)
        elif kind_of(dtype) in ("date", "datetime", "time") and len(counts):
            stats |= {"min": _iso(counts["value"].min()), "max": _iso(counts["value"].max())}
        return {"stats": stats}

    def describe(self, column: ColumnSchema, learned: Learned) -> ColumnSchema:
        """The column with its statistics."""
        return column.with_properties(learned)


def _numbers(counts: pl.DataFrame) -> dict[str, float]:
    """Smallest, largest, mean and deviation, as far as they are finite."""
    if counts.is_empty():
        return {}
    values, weights = counts["value"].cast(pl.Float64), counts["count"]
    mean = float((values * weights).sum()) / int(weights.sum())
    variance = float(((values - mean) ** 2 * weights).sum()) / int(weights.sum())
    exact = counts["value"] if counts["value"].dtype.is_numeric() and not counts["value"].dtype.is_decimal() else values
    found = {"min": exact.min(), "max": exact.max(), "mean": mean, "std": math.sqrt(variance)}
    return {name: value for name, value in found.items() if math.isfinite(value)}  # type: ignore[arg-type,misc]


def _iso(value: Any) -> str:
    return str(value.isoformat())
