"""Targets that can be learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from tamis.data.dataset import Dataset
from tamis.errors import DataError
from tamis.nn.experts import ESMM, HeadSettings
from tamis.training.ranking_step import BINARY

MAX_GRADE = 30


def check_grades(dataset: Dataset, column: str) -> None:
    """Refuse labels that no order can be learned from.

    Raises:
        UnknownColumnError: there is no such column.
        DataError: one is below 0, above 30 or between two whole numbers.
    """
    label = pl.col(column).cast(pl.Float64)
    wrong = ~(label.is_between(0, MAX_GRADE) & (label == label.round()))
    first = Dataset(dataset.select([column]).scan().filter(wrong).head(1)).compute()
    if len(first):
        raise DataError(
            f"fit: the target {column!r} holds {float(first.item()):g}, but an order is learned from grades: whole "
            f"numbers from 0 to {MAX_GRADE}. Bucketize it first."
        )


def check_weights(dataset: Dataset, column: str) -> None:
    """Refuse row weights that are no weights.

    Raises:
        UnknownColumnError: there is no such column.
        DataError: one is null, NaN, infinite or below 0, or all are 0.
    """
    weight = pl.col(column).cast(pl.Float64)
    rows = (
        dataset.select([column])
        .scan()
        .select(wrong=(weight.is_null() | ~weight.is_finite() | (weight < 0)).fill_null(True).sum(), total=weight.sum())
    )
    wrong, total = Dataset(rows).compute().row(0)
    if wrong:
        raise DataError(
            f"fit: the sample_weight {column!r} has {wrong:,} rows that are null, below 0 or not finite. Give "
            "weights of 0 or more."
        )
    if not total:
        raise DataError(f"fit: the sample_weight {column!r} is 0 in every row, so no row counts. Give other weights.")


def check_chain(dataset: Dataset, heads: HeadSettings | None, targets: Sequence[str]) -> None:
    """Refuse rows in which the second event of an ESMM's chain happened without the first.

    Raises:
        DataError: there are such rows.
    """
    if not isinstance(heads, ESMM):
        return
    first, second = targets
    rows = dataset.select([first, second]).scan().select((pl.col(second) > pl.col(first)).sum().alias("wrong"))
    wrong = Dataset(rows).compute().item()
    if wrong:
        raise DataError(
            f"fit: in {wrong:,} rows {second!r} happened without {first!r}, but ESMM takes the first target for "
            "what has to come before the second. Put the targets in their order in the schema, or drop these rows."
        )


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
