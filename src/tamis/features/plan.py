"""A fitted graph as a list of plain Python calls, each made once for the row at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, TypeAlias

import polars as pl

from tamis.errors import SettingError
from tamis.features.fitting import Fitted
from tamis.features.node import Node
from tamis.features.ops.op import Column, ColumnOp, GroupOp, Learned, Online, RowOp, unchanged
from tamis.features.rows import Columns
from tamis.features.step import Step, in_each_list
from tamis.features.table_store import Tables
from tamis.features.values import polars_type
from tamis.schema import ColumnSchema

Call: TypeAlias = Callable[[list[Any]], Any]  # from the values so far to the next one


@dataclass
class Plan:
    """A row's values lie in a list: its inputs at fixed places, then what each call gives in turn.

    Only what the outputs need is read and called.
    """

    num_inputs: int
    inputs: dict[str, int] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    outputs: dict[str, int] = field(default_factory=dict)
    slow_columns: list[str] = field(default_factory=list)  # computed by their Polars expressions

    def add(self, call: Call) -> int:
        """The place at which the call's value will lie."""
        self.calls.append(call)
        return self.num_inputs + len(self.calls) - 1


def plan_of(node: Node, fitted: Fitted, tables: Tables) -> Plan:
    """The calls that make the node's columns.

    Raises:
        SettingError: an op looks at several rows, so that one row is not enough for it.
    """
    planner = _Planner(fitted, tables)
    planner.plan.outputs = {name: planner.place(node, name) for name in fitted.columns.values}
    return planner.plan


class _Planner:
    def __init__(self, fitted: Fitted, tables: Tables) -> None:
        self.fitted, self.tables = fitted, tables
        self.plan = Plan(len(fitted.input_schema))
        self._places: dict[tuple[Node, str], int] = {}

    def place(self, node: Node, name: str) -> int:
        """Where a column of a node will lie."""
        if (node, name) not in self._places:
            if not node.parents:
                self._places[node, name] = self._input(name)
            elif isinstance(node, Step):
                self._step(node, name)
            else:  # it has its columns from its parents, the later one winning
                resolved = self.fitted.resolved  # the names that `-` takes away are no columns of their own
                parent = next(p for p in reversed(node.parents) if p in resolved and name in resolved[p].values)
                self._places[node, name] = self.place(parent, name)
        return self._places[node, name]

    def _input(self, name: str) -> int:
        return self.plan.inputs.setdefault(name, self.fitted.input_schema.column_names.index(name))

    def _step(self, step: Step, name: str) -> None:
        columns = self.fitted.resolved[step.parents[0]]
        if isinstance(step.op, RowOp):
            self._places[step, name] = self.place(step.parents[0], name)
        elif isinstance(step.op, ColumnOp):
            self._column(step, step.op, columns, name)
        elif isinstance(step.op, GroupOp) and not step.op.is_windowed:
            self._group(step, step.op, columns, name)
        else:
            raise SettingError(
                f"Workflow.online: {step.where} looks at several rows to make {name!r}, and online there is one. "
                "Leave it out with get_subworkflow, remove_inputs or a workflow of its own, and store its results."
            )

    def _column(self, step: Step, op: ColumnOp, columns: Columns, wanted: str) -> None:
        """The call that makes the wanted column out of one column."""
        for unit in step.units(columns):
            learned = self.fitted.learned[step][unit.name]
            for name in unit.columns:
                described = _as_list(op.describe(columns.schema[name], learned))
                if wanted in (column.name for column in described):
                    self._make_column(step, op, columns.schema[name], learned, described)

    def _make_column(
        self, step: Step, op: ColumnOp, column: ColumnSchema, learned: Learned, described: list[ColumnSchema]
    ) -> None:
        before = self.place(step.parents[0], column.name)
        function = op.online(column, learned, self.tables)
        if function is unchanged:
            self._places[step, described[0].name] = before
            return
        in_lists = column.is_list and op.leaves
        if function is None:
            values = pl.element() if in_lists else pl.col(column.name)
            exprs = _as_exprs(op.apply(Column(column, values), learned))
            exprs = [in_each_list(pl.col(column.name), column, expr) for expr in exprs] if in_lists else exprs
            function = self._through_polars([column], exprs, described)
        elif in_lists:
            function = _of_leaves(function, len(described))
        self._call(step, function, [before], described)

    def _group(self, step: Step, op: GroupOp, columns: Columns, wanted: str) -> None:
        """The call that makes the wanted column out of a group."""
        for unit in step.units(columns):
            names = (*unit.columns, *op.reads)
            schemas = [columns.schema[n] if n in columns.schema else self.fitted.input_schema[n] for n in names]
            learned = self.fitted.learned[step][unit.name]
            described = _as_list(op.describe(schemas, learned))
            if wanted in (column.name for column in described):
                function = op.online(schemas, learned, self.tables)
                if function is None:
                    seen = [Column(schema, pl.col(schema.name)) for schema in schemas]
                    function = self._through_polars(schemas, _as_exprs(op.apply(seen, learned)), described)
                self._call(step, function, [self._seen(step, columns, n) for n in names], described)
                return
        self._places[step, wanted] = self.place(step.parents[0], wanted)  # only looked at

    def _seen(self, step: Step, columns: Columns, name: str) -> int:
        return self.place(step.parents[0], name) if name in columns.schema else self._input(name)

    def _call(self, step: Step, function: Online, places: list[int], described: list[ColumnSchema]) -> None:
        """Put the call in the list, and pick its values apart where there are several."""
        whole = self.plan.add(_call(function, places))
        if len(described) == 1:
            self._places[step, described[0].name] = whole
            return
        for i, column in enumerate(described):
            self._places[step, column.name] = self.plan.add(_part(whole, i))

    def _through_polars(self, seen: Sequence[ColumnSchema], exprs: list[pl.Expr], made: list[ColumnSchema]) -> Online:
        """The op's own expressions, on a frame of one row."""
        self.plan.slow_columns += [column.name for column in made]
        schema = {column.name: polars_type(column) for column in seen}
        select = [expr.alias(str(i)) for i, expr in enumerate(exprs)]

        def run(*values: Any) -> Any:
            given = {name: [value] for name, value in zip(schema, values, strict=True)}
            row = pl.DataFrame(given, schema=schema).select(select).row(0)
            return row[0] if len(row) == 1 else row

        return run


def _call(function: Online, places: list[int]) -> Call:
    if len(places) == 1:
        place = places[0]
        return lambda slots: function(slots[place])
    values = itemgetter(*places)
    return lambda slots: function(*values(slots))


def _part(whole: int, number: int) -> Call:
    return lambda slots: slots[whole][number]


def _of_leaves(function: Online, num_outputs: int) -> Online:
    """The function over the leaves of a list; a missing list stays one."""
    if num_outputs == 1:
        return lambda leaves: None if leaves is None else [function(leaf) for leaf in leaves]

    def several(leaves: list[Any] | None) -> Sequence[list[Any] | None]:
        if leaves is None:
            return [None] * num_outputs
        made = [function(leaf) for leaf in leaves]
        return [[one[number] for one in made] for number in range(num_outputs)]

    return several


def _as_list(described: ColumnSchema | Sequence[ColumnSchema]) -> list[ColumnSchema]:
    return [described] if isinstance(described, ColumnSchema) else list(described)


def _as_exprs(made: pl.Expr | Sequence[pl.Expr]) -> list[pl.Expr]:
    return [made] if isinstance(made, pl.Expr) else list(made)
