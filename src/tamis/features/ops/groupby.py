"""One row for each group of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from tamis.errors import SettingError, UnknownColumnError, UnknownNameError
from tamis.features.grouped import need_keys, statistic_of
from tamis.features.ops.op import TableOp, is_number
from tamis.features.rows import ROW
from tamis.schema import ColumnSchema, Schema, Tags

_OF_ONE_ROW, _IN_ORDER = ("first", "last"), ("list", "first", "last")
_OF_NUMBERS = ("sum", "mean", "std", "var", "median")
_AGGS = (*_IN_ORDER, "count", "nunique", "min", "max", *_OF_NUMBERS)


@dataclass(frozen=True, eq=False)
class Groupby(TableOp):
    """One row for each combination of some columns' values, with aggregates of all its rows.

    `["session", "item_id", "ts"] >> Groupby("session", sort_cols="ts", aggs={"item_id": ["list", "count"]})` gives
    `session`, `item_id_list` and `item_id_count`. However the files are cut, the groups are those of the whole data;
    they come out sorted by the grouping columns. Null is a group like others; NaN counts as null there.

    - `list`, `first`, `last`: of the rows in the order of `sort_cols`, with nulls. `first` is the smallest by
      `sort_cols`, the earliest, and `last` the greatest, whichever way the lists run.
    - `count`, `nunique`: how many values and how many different ones, without null and NaN. int32.
    - `mean`, `median`, `std`, `var` (over n - 1; null for one value): without null and NaN. float32.
    - `sum`: without null and NaN; int64 of whole numbers, else float32.
    - `min`, `max`: without null and NaN.

    Aggregates other than the float32 and int32 ones keep the column's dtype, tags and domain. It makes other rows out
    of several, so it is not for requests (`Workflow.online`).

    Args:
        groupby_cols: the column to group by, or several.
        sort_cols: the column to order the rows by, or several, null first. Rows that are equal there go by the other
            columns, so that shuffled data give the same. Without any, the order is that of the data.
        aggs: one or several for every column that is not grouped by, or a dict by column.
        name_sep: what stands between a column's name and the aggregate's.
        ascending: False: lists run from the greatest by `sort_cols` to the smallest.

    Raises:
        UnknownColumnError: a column to group by, sort by or aggregate is not in the selection.
        UnknownNameError: an aggregate is not known.
        SettingError: an aggregate does not fit its column.
        DataError: a column to group by holds lists or values that cannot be told apart.
    """

    by_column: ClassVar[tuple[str, ...]] = ("aggs",)

    is_windowed: ClassVar[bool] = True

    groupby_cols: str | Sequence[str]
    sort_cols: str | Sequence[str] | None = None
    aggs: str | Sequence[str] | Mapping[str, str | Sequence[str]] = "list"
    name_sep: str = "_"
    ascending: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "groupby_cols", _names(self.groupby_cols))
        object.__setattr__(self, "sort_cols", _names(self.sort_cols or ()))
        aggs = self.aggs
        plain = {name: _names(some) for name, some in aggs.items()} if isinstance(aggs, Mapping) else _names(aggs)
        object.__setattr__(self, "aggs", plain)
        if not self.groupby_cols:
            raise SettingError("Groupby: there is no column to group by. Name one.")
        if not plain:
            raise SettingError("Groupby: there is nothing to aggregate. Give aggs, such as {'item_id': 'list'}.")
        for some in plain.values() if isinstance(plain, dict) else [plain]:
            for agg in some:
                if agg not in _AGGS:
                    raise UnknownNameError(agg, _AGGS, where="Groupby", what="aggregate")

    def check(self, columns: Schema) -> None:
        """Refuse columns that are not there, and aggregates that do not fit."""
        for name in (*self.groupby_cols, *self._sort_cols, *(self.aggs if isinstance(self.aggs, dict) else ())):
            if name not in columns:
                raise UnknownColumnError(name, columns.column_names, where="Groupby")
        need_keys(self, columns.select_by_name(self.groupby_cols))
        for column, agg in self._pairs(columns):
            if not _fits(agg, column):
                held = f"lists of {column.dtype}" if column.is_list else column.dtype
                raise SettingError(
                    f"Groupby: the column {column.name!r} holds {held}, which has no {agg}. Give aggs by column."
                )

    def change(self, frame: pl.LazyFrame, columns: Schema) -> pl.LazyFrame:
        """The groups."""
        keys, pairs = list(self.groupby_cols), self._pairs(columns)
        is_numbered = ROW in frame.collect_schema()
        floats = [name for name in keys if columns[name].dtype.startswith("float")]
        frame = frame.with_columns((pl.col(name) + 0.0).fill_nan(None) for name in floats)
        in_order = self._sort_cols and any(agg in _IN_ORDER for _, agg in pairs)
        if in_order:
            ties = [name for name in columns.column_names if name not in (*keys, *self._sort_cols)]
            frame = frame.sort([*self._sort_cols, *ties])
        groups = frame.group_by(keys, maintain_order=any(agg in _IN_ORDER for _, agg in pairs))
        made = groups.agg(self._aggregate(column, agg).alias(self._name(column, agg)) for column, agg in pairs)
        made = made.sort(keys)
        return made.with_row_index(ROW) if is_numbered else made

    def describe_all(self, columns: Schema) -> Schema:
        """The grouping columns, then the aggregates of each column."""
        made = [self._describe(column, agg) for column, agg in self._pairs(columns)]
        return Schema([*columns.select_by_name(self.groupby_cols), *made])

    @property
    def _sort_cols(self) -> tuple[str, ...]:
        assert isinstance(self.sort_cols, tuple)
        return self.sort_cols

    def _pairs(self, columns: Schema) -> list[tuple[ColumnSchema, str]]:
        """Each column with each of its aggregates, in the order of the columns."""
        return [(column, agg) for column in columns for agg in self._aggs_of(column.name)]

    def _aggs_of(self, name: str) -> Iterator[str]:
        if isinstance(self.aggs, dict):
            yield from self.aggs.get(name, ())
        elif name not in self.groupby_cols:
            yield from self.aggs

    def _name(self, column: ColumnSchema, agg: str) -> str:
        return f"{column.name}{self.name_sep}{agg}"

    def _aggregate(self, column: ColumnSchema, agg: str) -> pl.Expr:
        values = pl.col(column.name)
        if agg in _OF_ONE_ROW:
            return values.first() if agg == "first" else values.last()
        if agg == "list":
            return values if self.ascending else values.reverse()
        values = values.fill_nan(None) if column.dtype.startswith("float") and not column.is_list else values
        if agg == "count":
            return values.count().cast(pl.Int32)
        if agg == "nunique":
            return values.drop_nulls().n_unique().cast(pl.Int32)
        if agg in ("min", "max"):
            return values.min() if agg == "min" else values.max()
        if agg == "sum" and not column.dtype.startswith(("float", "decimal")):
            return values.cast(pl.Int64).sum()  # a float32 cannot tell large whole numbers apart
        numbers = values.cast(pl.Float64)
        aggregated: pl.Expr = getattr(numbers, agg)()
        return aggregated.cast(pl.Float32)

    def _describe(self, column: ColumnSchema, agg: str) -> ColumnSchema:
        name = self._name(column, agg)
        if agg == "list":
            return ColumnSchema(name, column.dtype, column.tags | {Tags.LIST}, True, column.properties)
        if agg in ("first", "last", "min", "max"):
            return column.with_name(name)
        whole_sum = agg == "sum" and not column.dtype.startswith(("float", "decimal"))
        dtype = "int32" if agg in ("count", "nunique") else "int64" if whole_sum else "float32"
        return statistic_of([column], name, dtype)


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _fits(agg: str, column: ColumnSchema) -> bool:
    if agg in (*_OF_ONE_ROW, "count"):
        return True
    return not column.is_list and (agg not in _OF_NUMBERS or is_number(column.dtype))
