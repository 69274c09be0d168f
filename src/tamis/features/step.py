"""An op at work in the graph: what it sees, what it learns together, what comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from typing import Any, TypeAlias

import polars as pl

from tamis.errors import SettingError, UnknownColumnError
from tamis.features.node import Context, Node
from tamis.features.ops.op import Column, ColumnOp, GroupOp, Learned, Op, RowOp, TableOp, Unit
from tamis.features.rows import Columns
from tamis.schema import ColumnSchema, Schema

Output: TypeAlias = tuple[ColumnSchema, pl.Expr, Any]  # what it is, its values, and the op and learned that made it


class Step(Node):
    """An op applied to the columns of its parent."""

    def __init__(self, parent: Node, op: Op) -> None:
        self.parents, self.op = (parent,), op

    @property
    def where(self) -> str:
        """The op's name, for errors."""
        return type(self.op).__name__

    def units(self, columns: Columns) -> list[Unit]:
        """Which columns learn together; those that the op only looks at are in none."""
        if isinstance(self.op, GroupOp) and self.op.adds:
            return [Unit("_".join(self.op.reads), ())]
        groups = columns.groups if self.op.joint else ()
        grouped = [name for group in groups for name in group]
        for name in grouped:
            if grouped.count(name) > 1:
                raise SettingError(f"{self.where}: {name!r} is in two groups. Leave it in one.")
        alone = [name for name in columns.values if name not in grouped and name not in self._aside(columns)]
        return [*(Unit("_".join(group), group) for group in groups), *(Unit(name, (name,)) for name in alone)]

    def inputs(self, context: Context) -> Columns:
        """The parent's columns, once the op has accepted them."""
        columns = self.parents[0].columns(context, where=self.where)
        aside = self._aside(columns)
        self.op.check(columns.pick([name for name in columns.values if name not in aside]).schema)
        return columns

    def seen(self, unit: Unit, columns: Columns, context: Context, *, to_learn: bool) -> list[Column]:
        """The columns that a GroupOp gets for a unit: the group's, and those that it looks at besides."""
        assert isinstance(self.op, GroupOp)
        names = (*unit.columns, *self.op.reads, *(self.op.learns_from if to_learn else ()))
        return [self._column(name, columns, context) for name in names]

    def _column(self, name: str, columns: Columns, context: Context) -> Column:
        if name in columns.schema:
            return Column(columns.schema[name], columns.values[name])
        source = context.source.schema
        if name not in source:
            raise UnknownColumnError(name, source.column_names, where=self.where)
        if not columns.rows.hold_the_input:
            raise SettingError(
                f"{self.where}: the column {name!r} of the input is no longer there, since a step before made other "
                f"rows. Add {name!r} to the columns before that step and before this one."
            )
        context.readers.setdefault(name, self.where)
        return Column(source[name], pl.col(name))

    def beside(self) -> tuple[str, ...]:
        """The names of columns that the op only looks at."""
        return (*self.op.reads, *self.op.learns_from) if isinstance(self.op, GroupOp) else ()

    def _aside(self, columns: Columns) -> list[str]:
        """The selected columns that the op only looks at, so that they pass through as they are.

        Where there are no others, an op of single columns works on them: the time since the row before, sorted by time.
        """
        aside = [name for name in self.beside() if name in columns.values]
        if len(aside) < len(columns.values) or not aside or self._adds:
            return aside
        if not self.op.joint:
            return []
        raise SettingError(
            f"{self.where}: it only looks at {', '.join(map(repr, aside))}, and no other column is selected for it to "
            "work on. Select the columns whose values it should describe."
        )

    @property
    def _adds(self) -> bool:
        return isinstance(self.op, GroupOp) and self.op.adds

    def _resolve(self, context: Context, where: str) -> Columns:
        columns, op = self.inputs(context), self.op
        if isinstance(op, RowOp):
            return columns.keep(self._condition(op, columns, context))
        if isinstance(op, TableOp):
            return columns.changed(lambda frame: op.change(frame, columns.schema), op.describe_all(columns.schema))
        outputs = self._of_groups(columns, context) if isinstance(op, GroupOp) else self._of_columns(columns, context)
        names = [schema.name for schema, _, _ in outputs]
        for name in names:
            if names.count(name) > 1:
                raise SettingError(f"{self.where}: two columns would be called {name!r}. Rename one of them.")
        made = replace(
            columns,
            values={schema.name: expr for schema, expr, _ in outputs},
            schema=Schema(schema for schema, _, _ in outputs),
            groups=tuple(group for group in columns.groups if set(group) <= set(names)),
            made_by={schema.name: maker for schema, _, maker in outputs if maker is not None},
            is_windowed=columns.is_windowed or (isinstance(op, GroupOp) and op.is_windowed),
        )
        condition = op.condition() if isinstance(op, GroupOp) else None
        return made if condition is None else made.keep(self._over(made, condition))

    def _of_columns(self, columns: Columns, context: Context) -> list[Output]:
        assert isinstance(self.op, ColumnOp)
        learned = {name: context.learned[self][unit.name] for unit in self.units(columns) for name in unit.columns}
        return [out for name in columns.values for out in _outputs(self.op, name, columns, learned[name])]

    def _of_groups(self, columns: Columns, context: Context) -> list[Output]:
        op, outputs = self.op, list[Output]()
        assert isinstance(op, GroupOp)
        for unit in self.units(columns):
            seen, learned = self.seen(unit, columns, context, to_learn=False), context.learned[self][unit.name]
            made = (op.apply_to_training if context.is_training else op.apply)(seen, learned)
            described = op.describe([column.schema for column in seen], learned)
            outputs += [(schema, expr, (op, learned)) for expr, schema in _pairs(made, described)]
        passed = [(columns.schema[n], columns.values[n], columns.made_by.get(n)) for n in self.passed(columns)]
        return passed + outputs if op.adds else outputs + passed

    def passed(self, columns: Columns) -> list[str]:
        """The names of columns that a GroupOp lets through as they are."""
        if isinstance(self.op, GroupOp) and self.op.adds:
            return list(columns.values)
        return self._aside(columns)

    def _over(self, columns: Columns, condition: pl.Expr) -> pl.Expr:
        for name in condition.meta.root_names():
            if name not in columns.values:
                raise SettingError(
                    f"{self.where}: {name!r} decides which rows stay but is not selected. Add it to the columns."
                )
        return condition

    def _condition(self, op: RowOp, columns: Columns, context: Context) -> pl.Expr:
        condition = op.keep(columns.schema)
        if context.empty is not None:
            found = columns.of(context.empty).select(condition.alias("condition")).collect_schema()["condition"]
            if found != pl.Boolean:
                raise SettingError(
                    f"{self.where}: the condition gives {found}, not true or false. "
                    'Compare something, as in df["click"] == 1.'
                )
        return condition

    def __repr__(self) -> str:
        return f"{self.parents[0]!r} >> {as_written(self.op)}"


def _outputs(op: ColumnOp, name: str, columns: Columns, learned: Learned) -> list[Output]:
    """Each column that the op makes of this one."""
    schema, before = columns.schema[name], columns.values[name]
    in_lists = schema.is_list and op.leaves
    column = Column(schema, pl.element() if in_lists else before)
    outputs: list[Output] = []
    for expr, out in _pairs(op.apply(column, learned), op.describe(schema, learned)):
        if expr is column.values:
            outputs.append((out, before, columns.made_by.get(name)))
        else:
            outputs.append((out, in_each_list(before, schema, expr) if in_lists else expr, (op, learned)))
    return outputs


def in_each_list(lists: pl.Expr, column: ColumnSchema, expr: pl.Expr) -> pl.Expr:
    """What an expression over `pl.element()` makes of the leaves of each list or vector."""
    return lists.list.eval(expr) if column.width is None else lists.arr.eval(expr)


def _pairs(
    made: pl.Expr | Sequence[pl.Expr], described: ColumnSchema | Sequence[ColumnSchema]
) -> list[tuple[pl.Expr, ColumnSchema]]:
    exprs = [made] if isinstance(made, pl.Expr) else made
    return list(zip(exprs, [described] if isinstance(described, ColumnSchema) else described, strict=True))


def as_written(op: Op) -> str:
    """The op as one would write it: only the settings that differ from those of a fresh one."""
    assert is_dataclass(op)
    written = []
    for setting in fields(op):
        value = getattr(op, setting.name)
        if isinstance(value, pl.DataFrame):  # comparing it would compare each value
            written.append(f"{setting.name}=<{value.height:,} rows>")
        elif isinstance(value, pl.Expr) or (setting.repr and value != _default(setting)):
            written.append(f"{setting.name}={value if isinstance(value, pl.Expr) else repr(value)}")
    return f"{type(op).__name__}({', '.join(written)})"


def _default(setting: Field[Any]) -> Any:
    return setting.default_factory() if setting.default_factory is not MISSING else setting.default
