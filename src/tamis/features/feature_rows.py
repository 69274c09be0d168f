"""Rows of features, most of them absent, and how alike two rows are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.errors import SettingError

Numbers = NDArray[np.int64]
_LONG = ["id", "feature", "weight"]


def feature_table(given: Any, *, where: str) -> pl.DataFrame:
    """Matrices and frames of lists as one form: `id`, `feature`, `weight`; feature is null for an id without any.

    Raises:
        SettingError: neither of the two, or ids that are null or come twice.
    """
    if isinstance(given, pl.DataFrame):
        return given if given.columns == _LONG else _from_lists(given, where)
    if hasattr(given, "tocoo"):
        entries = given.tocoo()
        return _from_entries(entries.row, entries.col, entries.data, given.shape[0])
    if not isinstance(given, np.ndarray) or given.ndim != 2:
        shape = f" of shape {list(given.shape)}" if isinstance(given, np.ndarray) else ""
        raise SettingError(
            f"{where} is a {type(given).__name__}{shape}. Give a matrix, dense or sparse, or a Polars frame of ids and "
            "lists of features."
        )
    rows, columns = np.nonzero(given)
    return _from_entries(rows, columns, given[rows, columns], given.shape[0])


def _from_entries(rows: Numbers, columns: Numbers, weights: NDArray[Any], num_rows: int) -> pl.DataFrame:
    """Entries of one place are added up, as sparse matrices mean them."""
    entries = pl.DataFrame({
        "id": np.asarray(rows, np.int64), "feature": np.asarray(columns, np.int64),
        "weight": np.asarray(weights, np.float64),
    })  # fmt: skip
    entries = entries.group_by("id", "feature").agg(pl.col("weight").sum()).filter(pl.col("weight") != 0)
    ids = pl.DataFrame({"id": np.arange(num_rows, dtype=np.int64)})
    return ids.join(entries, on="id", how="left").sort("id", "feature")


def _from_lists(given: pl.DataFrame, where: str) -> pl.DataFrame:
    if given.width != 2 or not isinstance(given.dtypes[1], pl.List):
        raise SettingError(f"{where} has the columns {dict(given.schema)}. Give ids and lists of their features.")
    ids = given.to_series(0)
    if ids.null_count() or ids.n_unique() < len(ids):
        raise SettingError(f"{where} has {'a null' if ids.null_count() else 'an id twice'} in {ids.name!r}. Drop it.")
    named = pl.DataFrame({"id": ids, "feature": given.to_series(1)})
    leaves = named.explode("feature", empty_as_null=False).drop_nulls("feature")
    entries = leaves.group_by("id", "feature").agg(pl.len().cast(pl.Float64).alias("weight"))
    return named.select("id").join(entries, on="id", how="left").sort("id", "feature")


@dataclass(frozen=True)
class FeatureRows:
    """Rows of features: those of row i are `features[starts[i] : starts[i + 1]]`, rising, with their weights."""

    ids: pl.Series
    starts: Numbers
    features: Numbers
    weights: NDArray[np.float64]

    def entries(self, rows: Numbers) -> tuple[Numbers, Numbers, NDArray[np.float64]]:
        """The entries of some rows one after the other: which of these rows each is of, its feature, its weight."""
        lengths = self.starts[rows + 1] - self.starts[rows]
        of = np.repeat(np.arange(len(rows)), lengths)
        first = np.repeat(self.starts[rows] - np.cumsum(lengths) + lengths, lengths)
        at = first + np.arange(len(of))
        return of, self.features[at], self.weights[at]


def feature_rows(tables: Sequence[pl.DataFrame], metric: str) -> list[FeatureRows]:
    """Tables of `feature_table` that know the same features by the same numbers, weighted for a metric."""
    known = pl.concat([table.select("feature") for table in tables], how="vertical_relaxed").drop_nulls().unique()
    numbers = known.sort("feature").with_row_index("number")
    same = pl.col("feature").cast(known.dtypes[0])
    return [_weighted(table.with_columns(same).join(numbers, on="feature", how="left"), metric) for table in tables]


def _weighted(table: pl.DataFrame, metric: str) -> FeatureRows:
    weight = pl.col("weight")
    if metric == "tfidf":  # a feature that every row has tells nothing
        weight = weight * (pl.col("id").n_unique() / pl.len().over("feature")).log()
    entries = table.with_columns(weight=weight)
    if metric != "inner":
        length = (pl.col("weight") ** 2).sum().over("id").sqrt()
        entries = entries.with_columns(weight=pl.when(length > 0).then(pl.col("weight") / length).otherwise(0.0))
    ids = entries.group_by("id").agg(pl.col("number").count().cast(pl.Int64)).sort("id")
    entries = entries.drop_nulls("number").sort("id", "number")
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(ids["number"].to_numpy(), dtype=np.int64)])
    return FeatureRows(ids["id"], starts, entries["number"].cast(pl.Int64).to_numpy(), entries["weight"].to_numpy())


def inner_products(
    left: FeatureRows, left_rows: Numbers, right: FeatureRows, right_rows: Numbers
) -> NDArray[np.float64]:
    """The inner product of each pair of rows."""
    of_left, left_features, left_weights = left.entries(left_rows)
    of_right, right_features, right_weights = right.entries(right_rows)
    radix = 1 + max(left_features.max(initial=0), right_features.max(initial=0))
    wanted, there = of_left * radix + left_features, of_right * radix + right_features  # both rise
    at = np.minimum(np.searchsorted(there, wanted), max(len(there) - 1, 0))
    if not len(there):
        return np.zeros(len(left_rows))
    both = there[at] == wanted
    products = left_weights[both] * right_weights[at[both]]
    found: NDArray[np.float64] = np.bincount(of_left[both], products, minlength=len(left_rows)).astype(np.float64)
    return found  # bincount gives whole numbers where there is nothing to add
