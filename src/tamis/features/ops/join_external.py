"""Columns of another table, found by key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import polars as pl

from tamis.data.dataset import Dataset
from tamis.errors import DataError, SettingError, UnknownColumnError
from tamis.features.grouped import gathered, need_keys
from tamis.features.lookup import kind_of, plain_values, positions
from tamis.features.ops.op import Column, GroupOp, Learned, Online
from tamis.features.statistics import Ask
from tamis.features.table_store import Tables
from tamis.features.values import polars_type
from tamis.schema import ColumnSchema, Schema


@dataclass(frozen=True, eq=False)
class JoinExternal(GroupOp):
    """Add the columns of another table, found by key; the rows keep their order.

    `["item_id", "clicks"] >> JoinExternal(items, on="item_id")` gives both columns and those of `items`, with the tags
    that they have there. A key that the table does not have, or that is null, gives nulls; with `how="inner"` such a
    row is left out, except online, where a request always gets its answer.

    The table is kept in memory and is saved with the workflow.

    Args:
        df_ext: the table: a frame, a Dataset, or a path.
        on: the key's column, or several.
        how: `"left"` or `"inner"`.
        on_ext: the key's columns in the table, where they are called otherwise there.
        columns_ext: the columns to add; all but the key by default.
        drop_duplicates_ext: take the first row of each key instead of refusing a key that comes twice.
        schema_ext: what the table's columns mean, in the place of what the table itself says.

    Raises:
        SettingError: `how` is neither; other numbers of columns in `on` and `on_ext`; keys of another kind.
        UnknownColumnError: the table lacks a column.
        DataError: a key comes twice in the table, or holds lists or values that cannot be told apart.
    """

    adds: ClassVar[bool] = True

    df_ext: Any = field(repr=False)
    on: str | Sequence[str]
    how: str = "left"
    on_ext: str | Sequence[str] | None = None
    columns_ext: str | Sequence[str] | None = None
    drop_duplicates_ext: bool = False
    schema_ext: Schema | Mapping[str, Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.how not in ("left", "inner"):
            raise SettingError(f"JoinExternal: how={self.how!r} is no way to join. Choose left or inner.")
        on, on_ext = _names(self.on), _names(self.on if self.on_ext is None else self.on_ext)
        if not on or len(on) != len(on_ext):
            raise SettingError(
                f"JoinExternal: on={self.on!r} and on_ext={self.on_ext!r} do not pair. Give as many names in both."
            )
        given = self.schema_ext
        schema = given if given is None or isinstance(given, Schema) else Schema.from_dict(given)
        data = Dataset(self.df_ext, schema)
        wanted = [n for n in data.schema.column_names if n not in on_ext] if self.columns_ext is None else None
        names = wanted if wanted is not None else [n for n in _names(self.columns_ext) if n not in on_ext]
        for name in (*on_ext, *names):
            if name not in data.schema:
                raise UnknownColumnError(name, data.schema.column_names, where="JoinExternal")
        data = data.select([*on_ext, *names])
        need_keys(self, data.schema.select_by_name(on_ext))
        frame = _with_each_key_once(data.compute(), on_ext, self.drop_duplicates_ext)
        plain = {"on": on, "on_ext": on_ext, "columns_ext": tuple(names), "df_ext": frame}
        for name, value in {**plain, "schema_ext": data.schema.to_dict()}.items():
            object.__setattr__(self, name, value)

    @property
    def reads(self) -> tuple[str, ...]:
        """The key's columns."""
        return tuple(self.on)

    def learn(self, columns: Sequence[Column]) -> Mapping[str, Ask]:
        """Nothing; refuses a key of another kind than the table's."""
        need_keys(self, [column.schema for column in columns])
        for column, key in zip(columns, self._keys().get_columns(), strict=True):
            if kind_of(column.schema.dtype) != kind_of(key.dtype):
                raise SettingError(
                    f"JoinExternal: the column {column.name!r} holds {column.schema.dtype}, the table's {key.name!r} "
                    f"{str(key.dtype).lower()}. Cast one of them."
                )
        return {}

    def apply(self, columns: Sequence[Column], learned: Learned) -> Sequence[pl.Expr]:
        """The table's values at each row's key."""
        at = positions([column.values for column in columns], self._keys())
        return [gathered(at, values) for values in self._added().get_columns()]

    def condition(self) -> pl.Expr | None:
        """Whether the table has the row's key, where rows without must go."""
        if self.how == "left":
            return None
        return positions([pl.col(name) for name in self.on], self._keys()).is_not_null()

    def describe(self, columns: Sequence[ColumnSchema], learned: Learned) -> Sequence[ColumnSchema]:
        """The table's columns."""
        assert isinstance(self.schema_ext, Mapping)
        return Schema.from_dict(self.schema_ext).select_by_name(self._added().columns).columns

    def online(self, columns: Sequence[ColumnSchema], learned: Learned, tables: Tables) -> Online | None:
        """The same, out of a table."""
        keys = self._keys()
        if any(polars_type(c) != key.dtype for c, key in zip(columns, keys.get_columns(), strict=True)):
            return None  # numbers or times of another dtype: let Polars convert
        find = tables.positions(*keys.get_columns())
        read = [_reader(values, tables) for values in self._added().get_columns()]
        if len(read) == 1:
            return lambda *values: read[0](find(*values))

        def look_up(*values: Any) -> tuple[Any, ...]:
            at = find(*values)
            return tuple(one(at) for one in read)

        return look_up

    def _keys(self) -> pl.DataFrame:
        frame: pl.DataFrame = self.df_ext
        assert self.on_ext is not None
        return frame.select(plain_values(pl.col(name), frame.schema[name]) for name in self.on_ext)

    def _added(self) -> pl.DataFrame:
        frame: pl.DataFrame = self.df_ext
        assert self.columns_ext is not None
        return frame.select(self.columns_ext)


def _names(given: str | Sequence[str] | None) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(dict.fromkeys(given or ()))


def _with_each_key_once(frame: pl.DataFrame, on: tuple[str, ...], is_first_enough: bool) -> pl.DataFrame:
    """The rows of whole keys. A key with a null part is no row's partner."""
    keys = frame.select(plain_values(pl.col(name), frame.schema[name]) for name in on)
    is_whole = keys.select(pl.all_horizontal(pl.all().is_not_null())).to_series()
    frame, keys = frame.filter(is_whole), keys.filter(is_whole)
    is_first = keys.select(pl.struct(pl.all()).is_first_distinct()).to_series()
    if not is_first.all() and not is_first_enough:
        row = keys.filter(~is_first).row(0)
        what = " and ".join(f"{name}={value!r}" for name, value in zip(on, row, strict=True))
        raise DataError(
            f"JoinExternal: the table has more than one row of {what}. Drop all but one, or set drop_duplicates_ext."
        )
    return frame.filter(is_first)


def _reader(values: pl.Series, tables: Tables) -> Callable[[int | None], Any]:
    """From a position to its value; None where there is none."""
    is_plain = values.dtype in (pl.Int32, pl.Int64, pl.UInt64, pl.Float32, pl.Float64) and not values.null_count()
    held: Any = tables.numbers(values) if is_plain else values.to_list()
    return lambda at: None if at is None else held[at]
