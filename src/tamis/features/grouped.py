"""What the ops over groups of columns share: keys, statistics by key that merge, look-ups in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from tamis.errors import DataError, SettingError
from tamis.features.lookup import kind_of, plain_values, positions
from tamis.features.ops.op import Column, Op
from tamis.schema import ColumnSchema, Tags

_OF_WHOM: frozenset[str] = frozenset({Tags.USER, Tags.ITEM, Tags.SESSION, Tags.CONTEXT})


def need_keys(op: Op, columns: Iterable[ColumnSchema]) -> None:
    """Refuse columns whose values cannot stand for groups of rows.

    Raises:
        DataError: names the op, the column and what it holds.
    """
    for column in columns:
        if column.is_list or kind_of(column.dtype) == "other":
            held = f"lists of {column.dtype}" if column.is_list else column.dtype
            raise DataError(
                f"{type(op).__name__}: the column {column.name!r} holds {held}, by which rows cannot be grouped. "
                "Give numbers, text or dates."
            )


def keys_of(columns: Sequence[Column]) -> dict[str, pl.Expr]:
    """The columns as keys of a Grouped: `key_0`, `key_1`, ...; NaN counts as null."""
    return {f"key_{i}": plain_values(column.values, column.schema.dtype) for i, column in enumerate(columns)}


def keys_in(groups: pl.DataFrame) -> pl.DataFrame:
    """The keys of a frame of groups."""
    return groups.select(name for name in groups.columns if name.startswith("key_"))


def added_up(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The groups of several frames, each once, with the sums of what else the frames hold."""
    if len(frames) == 1:
        return frames[0]
    keys = keys_in(frames[0]).columns
    return pl.concat(frames, how="vertical_relaxed").group_by(keys).agg(pl.exclude(keys).sum())


def in_order(groups: pl.DataFrame) -> pl.DataFrame:
    """The groups sorted by their keys, so that the same rows always give the same frame."""
    return groups.sort(keys_in(groups).columns)


def position(columns: Sequence[Column], groups: pl.DataFrame) -> pl.Expr:
    """The number of each row's group in the frame; null for groups that are not there."""
    return positions([column.values for column in columns], keys_in(groups))


def gathered(at: pl.Expr, values: pl.Series) -> pl.Expr:
    """The values at these positions; null at null. Several that share one `at` have it computed once."""
    return at.map_batches(lambda found: values.gather(found), return_dtype=values.dtype, is_elementwise=True)


def number(column: Column, op: Op) -> pl.Expr:
    """A column's numbers in 64 bits, NaN as null.

    Raises:
        SettingError: it holds something else.
    """
    dtype = column.schema.dtype
    if column.schema.is_list or not dtype.startswith(("int", "uint", "float", "bool")):
        held = f"lists of {dtype}" if column.schema.is_list else dtype
        raise SettingError(
            f"{type(op).__name__}: the column {column.name!r} holds {held}, not single numbers. Cast it to numbers."
        )
    return column.values.cast(pl.Float64).fill_nan(None)


def made_of(columns: Sequence[ColumnSchema], name: str, dtype: Any, tag: Tags) -> ColumnSchema:
    """A column made of a group of columns: of the user, the item, ... where all of them are."""
    return ColumnSchema(name, dtype, _OF_WHOM.intersection(*(column.tags for column in columns))).with_tags(tag)


def statistic_of(columns: Sequence[ColumnSchema], name: str, dtype: Any) -> ColumnSchema:
    """A number made of a group of columns."""
    return made_of(columns, name, dtype, Tags.CONTINUOUS)


def joined(columns: Sequence[Column] | Sequence[ColumnSchema]) -> str:
    """A group's name: those of its columns with `_` in between."""
    return "_".join(column.name for column in columns)
