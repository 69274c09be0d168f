"""Targets that can be learned from."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from tamis.data.dataset import Dataset
from tamis.errors import DataError
from tamis.training.ranking_step import BINARY


def check_targets(dataset: Dataset, objectives: Mapping[str, str], *, where: str = "fit") -> None:
    """Refuse targets that teach nothing or are not what their objective needs.

    Raises:
        UnknownColumnError: a target is missing.
        DataError: nulls, one value only, or values besides 0 and 1 where a probability is asked for.
    """
    names = list(objectives)
    targets = dataset.select(names)
    asked = [
        ask.alias(f"{what} {name}")
        for name in names
        for what, ask in (
            ("null", pl.col(name).null_count()),
            ("low", pl.col(name).cast(pl.Float64).min()),
            ("high", pl.col(name).cast(pl.Float64).max()),
            ("other", (~pl.col(name).cast(pl.Float64).is_in([0.0, 1.0])).sum()),
        )
    ]
    found = Dataset(targets.scan().select(asked)).compute().row(0, named=True)
    for name in names:
        nulls, low, high = found[f"null {name}"], found[f"low {name}"], found[f"high {name}"]
        if nulls:
            raise DataError(f"{where}: the target {name!r} has {nulls:,} nulls. Drop or fill these rows first.")
        if low is None:
            raise DataError(f"{where}: the dataset has no rows. Check the path and the filters before it.")
        if low == high:
            raise DataError(
                f"{where}: the target {name!r} is {low:g} in every row, so there is nothing to learn. Give rows "
                "of both classes: impressions that were not clicked, or sampled negatives."
            )
        if objectives[name] == BINARY and found[f"other {name}"]:
            raise DataError(
                f"{where}: the target {name!r} holds values from {low:g} to {high:g}, but a probability is learned "
                "from 0 and 1. Tag it REGRESSION, or make it binary first."
            )
