"""Targets that can be learned from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from tamis.data.dataset import Dataset, check_ids
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


def check_targets(
    dataset: Dataset,
    objectives: Mapping[str, str],
    *,
    where: str = "fit",
    only_positives: bool = False,
    way_out: str = "or sampled negatives",
) -> None:
    """Refuse targets that teach nothing or are not what their objective needs.

    Args:
        dataset: the rows.
        objectives: by target.
        where: for messages.
        only_positives: whether a target may be 1 in every row.
        way_out: ends the advice where only one value is there.

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
        if low == high and not (only_positives and low == 1 and objectives[name] == BINARY):
            raise DataError(
                f"{where}: the target {name!r} is {low:g} in every row, so there is nothing to learn. Give rows "
                f"of both classes: impressions that were not clicked, {way_out}."
            )
        if objectives[name] == BINARY and found[f"other {name}"]:
            raise DataError(
                f"{where}: the target {name!r} holds values from {low:g} to {high:g}, but a probability is learned "
                "from 0 and 1. Tag it REGRESSION, or make it binary first."
            )


def check_slates(dataset: Dataset, column: str, targets: Sequence[str], *, batch_size: int) -> str | None:
    """What to tell about slates that teach nothing or are too large; None where all is well.

    Args:
        dataset: the training rows.
        column: equal values make a slate.
        targets: of 0 and 1, each ordered within the slates.
        batch_size: slates of more rows are cut.

    Raises:
        UnknownColumnError: there is no such column.
        DataError: the column has nulls; or no slate has both a positive and a negative of a target.
    """
    check_ids(dataset, [column], where="fit")
    mixed = [(pl.col(name).min() < pl.col(name).max()).alias(f"mixed {name}") for name in targets]
    rows = dataset.select([column, *targets]).scan()
    by_slate = rows.group_by(column).agg(*mixed, pl.len().alias("size"))
    teach = [pl.col(f"mixed {name}").sum().alias(f"teach {name}") for name in targets]
    counted = by_slate.select(pl.len().alias("slates"), (pl.col("size") > batch_size).sum().alias("large"), *teach)
    found = Dataset(counted).compute().row(0, named=True)
    notes = []
    for name in targets:
        if not found[f"teach {name}"]:
            raise DataError(
                f"fit: no slate of {column!r} has both a positive and a negative {name!r}, so there is no order to "
                "learn. Name the column of the slates with compile(group=), or give rows that were shown and not "
                "chosen."
            )
        idle = found["slates"] - found[f"teach {name}"]
        if idle:
            notes.append(f"{idle:,} of {found['slates']:,} have one value of {name!r} only and teach nothing")
    if found["large"]:
        notes.append(f"{found['large']:,} have more rows than a batch and are cut")
    return f"slates of {column!r}: {'; '.join(notes)}" if notes else None
