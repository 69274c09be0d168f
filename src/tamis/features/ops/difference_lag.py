"""The step from an earlier row of the same session to this one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from tamis.errors import SettingError
from tamis.features.grouped import need_keys
from tamis.features.lookup import kind_of, plain_values
from tamis.features.ops.op import Column, GroupOp, Learned, is_number
from tamis.schema import ColumnSchema, Schema, Tags


@dataclass(frozen=True)
class DifferenceLag(GroupOp):
    """A value less that of an earlier row of its partition: `["ts", "price"] >> DifferenceLag("session")`.

    Gives `ts_difference_lag_1`, float32: a number less the number `shift` rows before; of dates and datetimes the
    seconds in between. Null where the partition has no such row, or where one of the two is null. Null is a partition
    like others, and so is NaN, the same one.

    It looks at several rows of the data that is transformed, so it is not for requests of one row (`Workflow.online`).
    A filter after it sees the differences of all rows, one before it those of the rows that are left.

    Args:
        partition_cols: the column that tells sessions apart, or several.
        shift: how many rows before; negative: after. A list makes a column for each.
        sort_cols: the order of the rows within a partition: by these columns, null first. Rows that are equal there go
            by the value itself. Without any, the order is that of the data.

    Raises:
        SettingError: a shift is no whole number or 0, no partition is given, or a column holds neither numbers nor
            dates.
        DataError: a partition column holds lists or values that cannot be told apart.
    """

    is_windowed: ClassVar[bool] = True
    joint: ClassVar[bool] = False  # each column by itself

    partition_cols: str | Sequence[str]
    shift: int | Sequence[int] = 1
    sort_cols: str | Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name in ("partition_cols", "sort_cols"):
            object.__setattr__(self, name, _names(getattr(self, name)))
        if not self.partition_cols:
            raise SettingError("DifferenceLag: no partition is given. Name the column that tells sessions apart.")
        shifts = (self.shift,) if isinstance(self.shift, int) else tuple(self.shift)
        object.__setattr__(self, "shift", shifts)
        for shift in shifts:
            if not isinstance(shift, int) or isinstance(shift, bool) or not shift:
                raise SettingError(f"DifferenceLag: shift={shift!r} is no number of rows. Give 1, 2, or -1 for after.")
        if not shifts or len(set(shifts)) < len(shifts):
            raise SettingError(f"DifferenceLag: shift={list(shifts)} should be one or several, each once.")

    @property
    def reads(self) -> tuple[str, ...]:
        """The partition's and the sorting columns."""
        return tuple(dict.fromkeys((*self.partition_cols, *(self.sort_cols or ()))))

    def check(self, columns: Schema) -> None:
        """Refuse columns that have no differences."""
        for column in columns:
            if column.is_list or not (is_number(column.dtype) or kind_of(column.dtype) in ("date", "datetime")):
                held = f"lists of {column.dtype}" if column.is_list else column.dtype
                raise SettingError(
                    f"DifferenceLag: the column {column.name!r} holds {held}, which has no differences. "
                    "Give numbers, dates or datetimes."
                )

    def apply(self, columns: Sequence[Column], learned: Learned) -> Sequence[pl.Expr]:
        """The differences, a column for each shift."""
        column, beside = columns[0], dict(zip(self.reads, columns[1:], strict=True))
        need_keys(self, [beside[name].schema for name in self.partition_cols])
        partition = [plain_values(beside[name].values, beside[name].schema.dtype) for name in self.partition_cols]
        values = _subtractable(column)
        order = [beside[name].values for name in self.sort_cols or ()]
        order = [*order, values] if order else order
        made = []
        for shift in self._shifts:
            # Without an order, over() leaves the rows as they are.
            before = values.shift(shift).over(partition, order_by=order or None)
            made.append(_seconds(values - before, column.schema))
        return made

    def describe(self, columns: Sequence[ColumnSchema], learned: Learned) -> Sequence[ColumnSchema]:
        """Continuous columns; a difference is neither a time nor a code."""
        column = columns[0]
        tags = column.tags & {Tags.USER, Tags.ITEM, Tags.SESSION, Tags.CONTEXT}
        named = [f"{column.name}_difference_lag_{shift}" for shift in self._shifts]
        return [ColumnSchema(name, "float32", tags).with_tags(Tags.CONTINUOUS) for name in named]

    @property
    def _shifts(self) -> Sequence[int]:
        assert isinstance(self.shift, tuple)
        return self.shift


def _names(given: str | Sequence[str] | None) -> tuple[str, ...] | None:
    return given if given is None else (given,) if isinstance(given, str) else tuple(given)


def _subtractable(column: Column) -> pl.Expr:
    """Numbers whose differences neither overflow nor lose digits."""
    dtype = column.schema.dtype
    if dtype.startswith("float"):
        return column.values.cast(pl.Float64)
    values = column.values.to_physical() if kind_of(dtype) != "number" else column.values
    return values.cast(pl.Int128)


def _seconds(difference: pl.Expr, column: ColumnSchema) -> pl.Expr:
    """Differences of numbers as they are, those of dates and datetimes in seconds."""
    found = difference.cast(pl.Float64)
    if column.dtype == "date":
        found = found * 86_400
    elif kind_of(column.dtype) == "datetime":
        per_second = next(number for unit, number in _PER_SECOND if f"'{unit}'" in column.dtype)
        found = found / per_second
    return found.cast(pl.Float32)


_PER_SECOND = (("ms", 10**3), ("us", 10**6), ("ns", 10**9))
