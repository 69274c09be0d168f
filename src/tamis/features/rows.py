"""Which rows a node's columns are made of, and the columns as expressions over these rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from tamis.schema import Schema

if TYPE_CHECKING:
    from tamis.features.ops.op import Op


@dataclass(frozen=True, eq=False)
class Rows:
    """The input's rows, or what a row filter left of earlier rows. Two nodes line up when they have the same Rows."""

    before: Rows | None = None
    columns: Mapping[str, pl.Expr] | None = None  # what the filter needs to be computed first; None: nothing
    predicate: pl.Expr | None = None

    def of(self, source: pl.LazyFrame) -> pl.LazyFrame:
        """These rows of the input."""
        if self.before is None:
            return source
        frame = self.before.of(source)
        if self.columns is not None:
            frame = frame.select(_named(self.columns))
        assert self.predicate is not None
        return frame.filter(self.predicate)


@dataclass(frozen=True)
class Columns:
    """What a node gives: columns as expressions over rows, their schema, their groups, and which op made each."""

    rows: Rows
    values: Mapping[str, pl.Expr]
    schema: Schema
    groups: tuple[tuple[str, ...], ...] = ()
    made_by: Mapping[str, tuple[Op, Mapping[str, Any]]] = field(default_factory=dict)

    def of(self, source: pl.LazyFrame) -> pl.LazyFrame:
        """These columns of the input."""
        return self.rows.of(source).select(_named(self.values))

    def pick(self, names: list[str]) -> Columns:
        """Some of the columns, in the order given; a group stays only when it is whole."""
        return Columns(
            self.rows,
            {name: self.values[name] for name in names},
            self.schema.select_by_name(names),
            tuple(group for group in self.groups if set(group) <= set(names)),
            {name: self.made_by[name] for name in names if name in self.made_by},
        )

    def keep(self, predicate: pl.Expr) -> Columns:
        """The rows for which the predicate over these columns is true.

        A predicate over columns that are still as in the rows below goes there directly: every expression makes a row's
        value of that row alone, so the result is the same and less is computed.
        """
        read = predicate.meta.root_names()
        if all(self.values[name].meta.eq(pl.col(name)) for name in read):
            return Columns(Rows(self.rows, None, predicate), self.values, self.schema, self.groups, self.made_by)
        rows = Rows(self.rows, self.values, predicate)
        return Columns(rows, {name: pl.col(name) for name in self.values}, self.schema, self.groups, self.made_by)


def _named(values: Mapping[str, pl.Expr]) -> list[pl.Expr]:
    return [expr.alias(name) for name, expr in values.items()]
