"""Which rows a node's columns are made of, and the columns as expressions over these rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import polars as pl
from polars import selectors

from tamis.schema import Schema

if TYPE_CHECKING:
    from tamis.features.ops.op import Op


ROW = "__tamis_row"  # the training rows' numbers, where an op treats training rows in their own way


@dataclass(frozen=True, eq=False)
class Rows:
    """The input's rows, or what a filter or another change made of earlier rows.

    Two nodes line up when they have the same Rows.
    """

    before: Rows | None = None
    columns: Mapping[str, pl.Expr] | None = None  # what the change needs to be computed first; None: nothing
    change: Callable[[pl.LazyFrame], pl.LazyFrame] | None = None

    def of(self, source: pl.LazyFrame) -> pl.LazyFrame:
        """These rows of the input."""
        if self.before is None:
            return source
        frame = self.before.of(source)
        if self.columns is not None:
            frame = frame.select(*_named(self.columns), selectors.by_name(ROW, require_all=False))
        assert self.change is not None
        return self.change(frame)

    @property
    def hold_the_input(self) -> bool:
        """Whether the input's columns are still there, under their names."""
        return self.before is None or (self.columns is None and self.before.hold_the_input)


@dataclass(frozen=True)
class Columns:
    """What a node gives: columns as expressions over rows, their schema, their groups, and which op made each."""

    rows: Rows
    values: Mapping[str, pl.Expr]
    schema: Schema
    groups: tuple[tuple[str, ...], ...] = ()
    made_by: Mapping[str, tuple[Op, Mapping[str, Any]]] = field(default_factory=dict)
    is_windowed: bool = False  # some values depend on other rows

    def of(self, source: pl.LazyFrame) -> pl.LazyFrame:
        """These columns of the input."""
        return self.rows.of(source).select(_named(self.values))

    def pick(self, names: list[str]) -> Columns:
        """Some of the columns, in the order given; a group stays only when it is whole."""
        return replace(
            self,
            values={name: self.values[name] for name in names},
            schema=self.schema.select_by_name(names),
            groups=tuple(group for group in self.groups if set(group) <= set(names)),
            made_by={name: self.made_by[name] for name in names if name in self.made_by},
        )

    def keep(self, predicate: pl.Expr) -> Columns:
        """The rows for which the predicate over these columns is true.

        A predicate over columns that are still as in the rows below goes there directly: where every expression makes
        a row's value of that row alone, the result is the same and less is computed.
        """
        read = predicate.meta.root_names()
        if not self.is_windowed and all(self.values[name].meta.eq(pl.col(name)) for name in read):
            return replace(self, rows=Rows(self.rows, None, lambda frame: frame.filter(predicate)))
        return self.changed(lambda frame: frame.filter(predicate), self.schema)

    def changed(self, change: Callable[[pl.LazyFrame], pl.LazyFrame], schema: Schema) -> Columns:
        """The columns that a change of the frame of these columns leaves, described by `schema`."""
        names = schema.column_names
        return Columns(
            Rows(self.rows, self.values, change),
            {name: pl.col(name) for name in names},
            schema,
            tuple(group for group in self.groups if set(group) <= set(names)),
            {name: maker for name, maker in self.made_by.items() if name in names},
        )


def _named(values: Mapping[str, pl.Expr]) -> list[pl.Expr]:
    return [expr.alias(name) for name, expr in values.items()]
