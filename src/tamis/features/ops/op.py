"""What an op is: what to learn from the training rows, what to apply to any rows, how the columns are described."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import polars as pl

from tamis.errors import SettingError
from tamis.features.statistics import Ask
from tamis.schema import ColumnSchema, Schema

if TYPE_CHECKING:
    from tamis.features.node import Node
    from tamis.features.table_store import Tables

Learned: TypeAlias = Mapping[str, Any]  # scalars and frames by name
Online: TypeAlias = Callable[..., Any]  # from plain Python values to the one that comes out, or a tuple of several


def unchanged(value: Any) -> Any:
    """The value itself: what an op that only describes gives online."""
    return value


@dataclass(frozen=True)
class Column:
    """A column as an op sees it: what it is, and its values.

    Of a list column, the values are the lists' leaves to an op that works on leaves, and the lists to others.
    """

    schema: ColumnSchema
    values: pl.Expr

    @property
    def name(self) -> str:
        """The column's name."""
        return self.schema.name


@dataclass(frozen=True)
class Unit:
    """Columns that share what is learned: one column, or a group of an op that is `joint`."""

    name: str
    columns: tuple[str, ...]


class Op:
    """A step of a workflow: a ColumnOp, GroupOp, RowOp or TableOp.

    A subclass is a frozen dataclass whose fields are its settings. It overrides what it needs: an op that learns
    nothing has only `apply` or only `describe`. `["a", "b"] >> op` and `node >> op` put it to work.
    """

    joint: ClassVar[bool] = False  # True: the columns of a nested list learn as one
    learns: ClassVar[bool] = True  # False: it never asks anything of the training rows
    by_column: ClassVar[tuple[str, ...]] = ()  # the settings that may be dicts by column, or by a group's name
    kinds: ClassVar[dict[str, type[Op]]] = {}  # every op by its name, for loading

    def __init_subclass__(cls) -> None:
        Op.kinds[cls.__name__] = cls

    def check(self, columns: Schema) -> None:
        """Refuse columns that the op cannot take; called before anything is read."""

    def merge(self, parts: Sequence[Learned]) -> Learned:
        """What `learn` would have found on all rows, from what it found on parts of them.

        The columns of a ColumnOp's group are such parts too.
        """
        assert len(parts) == 1, f"{type(self).__name__} learns, so it has to say how parts merge"
        return parts[0]

    def finish(self, unit: Unit, found: Learned) -> Learned:
        """What to keep of what was found; this is what `apply` and `describe` get, and what is saved."""
        return found

    def finish_all(self, units: Mapping[str, Learned]) -> Mapping[str, Learned]:
        """What to keep of all units, once each is finished or updated; by default each is by itself."""
        return units

    def update(self, learned: Learned, unit: Unit, found: Learned) -> Learned:
        """What to keep when `found` was found on new rows; by default what was learned stays as it is."""
        return learned

    def __rrshift__(self, selection: Any) -> Node:
        from tamis.features.node import as_node  # node imports this module

        return as_node(selection) >> self


class ColumnOp(Op):
    """A step made for each column of its selection by itself.

    Whatever it does with a value it also does with the leaves of a list column, unless it says otherwise.
    """

    leaves: ClassVar[bool] = True  # False: of list columns the op gets the lists, not what is in them

    def learn(self, column: Column) -> Mapping[str, Ask]:
        """What to ask of the training rows, by name: scalar expressions, Counts, Grouped, Log."""
        return {}

    def apply(self, column: Column, learned: Learned) -> pl.Expr | Sequence[pl.Expr]:
        """The values that come out; several expressions for several columns, none to leave the column out.

        Each row's value depends on it alone.
        """
        return column.values

    def describe(self, column: ColumnSchema, learned: Learned) -> ColumnSchema | Sequence[ColumnSchema]:
        """What the columns that come out are, in the order of `apply`."""
        return column

    def online(self, column: ColumnSchema, learned: Learned, tables: Tables) -> Online | None:
        """The same as `apply` for one plain Python value, or leaf of a list; None: through `apply` itself, slowly.

        The function gives one value where one column comes out, else a tuple. `tables` build and share look-ups.
        """
        return unchanged if type(self).apply is ColumnOp.apply else None


class GroupOp(Op):
    """A step made for each group of columns: `[["a", "b"], "c"] >> op` has the group a, b and the lone c.

    The methods get the group's columns, and after them those that the op `reads` besides; `learn` also gets those that
    it `learns_from`, at the end. Lists come as lists. What comes out takes the group's place.
    """

    joint: ClassVar[bool] = True
    is_windowed: ClassVar[bool] = False  # True: a row's value also depends on other rows of the same data
    adds: ClassVar[bool] = False  # True: there is one group, of what the op `reads`; all columns stay, others join them

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns that are looked at besides the group: of the selection, or else of the input."""
        return ()

    @property
    def learns_from(self) -> tuple[str, ...]:
        """The same, but needed for learning alone: a target."""
        return ()

    @property
    def has_training_form(self) -> bool:
        """Whether `apply_to_training` differs from `apply`."""
        return False

    def learn(self, columns: Sequence[Column]) -> Mapping[str, Ask]:
        """What to ask of the training rows, by name: scalar expressions, Counts, Grouped, Log."""
        return {}

    def apply(self, columns: Sequence[Column], learned: Learned) -> pl.Expr | Sequence[pl.Expr]:
        """The values that come out, each row's of it alone unless the op is windowed."""
        raise NotImplementedError

    def apply_to_training(self, columns: Sequence[Column], learned: Learned) -> pl.Expr | Sequence[pl.Expr]:
        """The values of the very rows that were learned from; the column `ROW` holds their numbers from 0."""
        return self.apply(columns, learned)

    def condition(self) -> pl.Expr | None:
        """True for the rows that stay, over the columns that come out, by name; None: all stay."""
        return None

    def describe(self, columns: Sequence[ColumnSchema], learned: Learned) -> ColumnSchema | Sequence[ColumnSchema]:
        """What the columns that come out are, in the order of `apply`."""
        raise NotImplementedError

    def online(self, columns: Sequence[ColumnSchema], learned: Learned, tables: Tables) -> Online | None:
        """The same as `apply` for one plain Python value of each column; None: through `apply` itself, slowly.

        The function gives one value where one column comes out, else a tuple. `tables` build and share look-ups.
        """
        return None


class RowOp(Op):
    """A step that leaves rows out and columns as they are."""

    learns: ClassVar[bool] = False

    def keep(self, columns: Schema) -> pl.Expr:
        """True for the rows that stay; over the columns by name."""
        raise NotImplementedError


class TableOp(Op):
    """A step that makes other rows of the rows: one for each group, say."""

    learns: ClassVar[bool] = False

    def change(self, frame: pl.LazyFrame, columns: Schema) -> pl.LazyFrame:
        """The new rows, from a frame of the columns."""
        raise NotImplementedError

    def describe_all(self, columns: Schema) -> Schema:
        """What the columns of the new rows are, in their order."""
        raise NotImplementedError


def need_numbers(op: Op, columns: Schema) -> None:
    """Refuse columns that hold no numbers.

    Raises:
        SettingError: names the op, the column and its dtype.
    """
    for column in columns:
        if not is_number(column.dtype):
            raise SettingError(
                f"{type(op).__name__}: the column {column.name!r} holds {column.dtype}, not numbers. "
                "Leave it out or encode it with Categorify first."
            )


def need_lists(op: Op, columns: Schema) -> None:
    """Refuse columns that hold no lists.

    Raises:
        SettingError: names the op, the column and its dtype.
    """
    for column in columns:
        if not column.is_list:
            raise SettingError(
                f"{type(op).__name__}: the column {column.name!r} holds {column.dtype}, not lists. Leave it out."
            )


def is_number(dtype: str) -> bool:
    """Whether a schema's dtype is a number or a boolean."""
    return dtype.startswith(("int", "uint", "float", "decimal", "bool"))


def number_dtype(op: Op, dtype: Any, allowed: Iterable[str]) -> str:
    """A dtype setting as its plain lower-case name.

    Raises:
        SettingError: it is none of the allowed ones.
    """
    name = ColumnSchema("", dtype).dtype
    if name not in allowed:
        raise SettingError(f"{type(op).__name__}: dtype {name!r} does not fit. Choose one of {', '.join(allowed)}.")
    return name


def polars_dtype(name: str) -> type[pl.DataType]:
    """The Polars type of a plain number dtype name such as `"int32"`."""
    found: type[pl.DataType] = {t.__name__.lower(): t for t in _NUMBERS}[name]
    return found


_NUMBERS: tuple[type[pl.DataType], ...] = (
    pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64, pl.Float32, pl.Float64
)  # fmt: skip
