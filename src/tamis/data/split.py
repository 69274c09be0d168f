"""Parts of a dataset for training, validation and test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import polars as pl

from tamis.data.dataset import Dataset
from tamis.errors import DataError, SchemaError, SettingError, UnknownColumnError
from tamis.schema import Tags

_FROM_END = "__from_end"


def leave_last_out(
    dataset: Dataset, *, user: str | None = None, order: str | None = None, num_last: int = 1
) -> tuple[Dataset, Dataset, Dataset]:
    """Training, validation and test rows: per user the last `num_last` rows are test, those before validation.

    Rows of equal `order` count in the order of the file. The parts keep the order of the file. A user with fewer
    than `2 * num_last + 1` rows is in training only.

    Args:
        dataset: interactions.
        user: the user column; by default the one tagged `Tags.USER_ID`.
        order: a column that grows with time; by default the rows are taken to be in order already.
        num_last: rows per user in each held-out part.

    Raises:
        SettingError: `num_last` is below 1.
        SchemaError: no column is tagged as user id and none was named.
    """
    if num_last < 1:
        raise SettingError(f"leave_last_out: num_last is {num_last}. Hold out at least one row per user.")
    user = known_column(
        dataset, user or tagged_column(dataset, Tags.USER_ID, "leave_last_out", "user"), "leave_last_out"
    )
    keys = [] if order is None else [known_column(dataset, order, "leave_last_out")]
    row = pl.int_range(pl.len())
    place = pl.arg_sort_by(*keys, row).arg_sort() if keys else row
    from_end = pl.when(pl.len() > 2 * num_last).then(pl.len() - 1 - place.cast(pl.Int64)).otherwise(2 * num_last)
    placed = dataset.scan().with_columns(from_end.over(user).alias(_FROM_END))
    column = pl.col(_FROM_END)
    conditions = (column >= 2 * num_last, (column >= num_last) & (column < 2 * num_last), column < num_last)
    train, valid, test = (Dataset(placed.filter(condition), schema=dataset.schema) for condition in conditions)
    return train, valid, test


def split_by_time(
    dataset: Dataset, column: str | None = None, fractions: Sequence[float] = (0.8, 0.1, 0.1)
) -> tuple[Dataset, ...]:
    """Parts that follow each other in time, each with about its fraction of the rows.

    Rows of the same moment are never torn apart: all of them go to the later part. The parts keep the order of the
    file.

    Args:
        dataset: any rows.
        column: the time; by default the column tagged `Tags.TIME`.
        fractions: the share of each part, earliest first; they add up to 1.

    Raises:
        SettingError: fractions that are not positive or do not add up to 1.
        DataError: a time is missing, or so many rows share a moment that a part would be empty.
    """
    check_fractions(fractions, "split_by_time")
    column = known_column(
        dataset, column or tagged_column(dataset, Tags.TIME, "split_by_time", "column"), "split_by_time"
    )
    times = dataset.select(column).compute()[column].sort()
    if times.null_count():
        raise DataError(f"split_by_time: {times.null_count():,} rows have no {column!r}. Drop or fill them first.")
    starts = [round(len(times) * sum(fractions[:part])) for part in range(1, len(fractions))]
    cuts = [times[min(start, len(times) - 1)] for start in starts] if len(times) else []
    if len({times.min(), *cuts}) < len(fractions):
        raise DataError(
            f"split_by_time: {len(times):,} rows with {times.n_unique():,} different {column!r} do not make parts of "
            f"{tuple(fractions)}. Give other fractions or more rows."
        )
    part = pl.col(column)
    inner = [(part >= low) & (part < high) for low, high in pairwise(cuts)]
    return tuple(dataset.filter(condition) for condition in [part < cuts[0], *inner, part >= cuts[-1]])


def check_fractions(fractions: Sequence[float], where: str) -> None:
    """Refuse shares of parts that do not make a whole.

    Raises:
        SettingError: fewer than two, one that is not positive, or a sum other than 1.
    """
    if len(fractions) < 2 or min(fractions) <= 0 or not math.isclose(sum(fractions), 1.0, abs_tol=1e-6):
        raise SettingError(
            f"{where}: fractions is {tuple(fractions)}. Give two or more positive shares that add up to 1."
        )


def tagged_column(dataset: Dataset, tag: str, where: str, setting: str) -> str:
    """The first column with the tag.

    Raises:
        SchemaError: there is none; the message says which setting names one.
    """
    found = dataset.schema.select_by_tag(tag).column_names
    if not found:
        raise SchemaError(f"{where}: no column is tagged {tag!s}. Tag one, or name it with `{setting}=`.")
    return found[0]


def known_column(dataset: Dataset, column: str, where: str) -> str:
    """The column, if the dataset has it.

    Raises:
        UnknownColumnError: it has not.
    """
    if column not in dataset.schema:
        raise UnknownColumnError(column, dataset.column_names, where=where)
    return column
