"""The graph that `>>`, `+`, `-` and `[...]` write: nodes that know how to make their columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from typing import Any

import polars as pl

from tamis.errors import SettingError, UnknownColumnError
from tamis.features.ops.op import Column, Learned, Op, RowOp, Unit
from tamis.features.rows import Columns, Rows
from tamis.schema import ColumnSchema, Schema, Tags


@dataclass
class Context:
    """What the nodes are resolved against: the input, and what was learned so far by each step and unit."""

    source: Columns
    learned: Mapping[Node, Mapping[str, Learned]]
    empty: pl.LazyFrame | None = None  # the input without rows, to check dtypes against
    resolved: dict[Node, Columns] = field(default_factory=dict)
    readers: dict[str, str] = field(default_factory=dict)  # input column -> the first op that reads it

    @classmethod
    def of(
        cls, schema: Schema, learned: Mapping[Node, Mapping[str, Learned]], empty: pl.LazyFrame | None = None
    ) -> Context:
        """The context of an input with these columns."""
        return cls(Columns(Rows(), {name: pl.col(name) for name in schema.column_names}, schema), learned, empty)


class Node:
    """A set of columns on its way through the graph.

    `node >> op` applies an op, `node + other` adds columns (the right-hand side wins on equal names), `node - names`
    leaves columns out, `node["a"]` and `node[["a", "b"]]` pick. Lists of names, tags and schemas stand for the input's
    columns; a list inside a list is a group.
    """

    parents: tuple[Node, ...] = ()

    def columns(self, context: Context, where: str = "Workflow") -> Columns:
        """The node's columns as expressions; `where` names the op that asks, for errors."""
        if self not in context.resolved:
            context.resolved[self] = self._resolve(context, where)
        return context.resolved[self]

    def _resolve(self, context: Context, where: str) -> Columns:
        raise NotImplementedError

    def __rshift__(self, op: Op) -> Node:
        if isinstance(op, type) and issubclass(op, Op):
            raise SettingError(f"Workflow: {op.__name__} is a class. Write {op.__name__}() with its settings.")
        if not isinstance(op, Op):
            raise SettingError(f"Workflow: {op!r} is not an op. Put one of tamis.ops after >>.")
        return Step(self, op)

    def __add__(self, other: Any) -> Node:
        return Union((self, as_node(other)))

    def __radd__(self, other: Any) -> Node:
        return Union((as_node(other), self))

    def __sub__(self, other: Any) -> Node:
        return Without(self, as_node(other))

    def __iter__(self) -> Iterator[Any]:
        # Without this, Python would take [0], [1], ... for ever.
        raise SettingError("Workflow: a node is not a list, so * cannot unpack it. Add its columns with +.")

    def __getitem__(self, names: str | list[str] | tuple[str, ...]) -> Node:
        return Pick(self, (names,) if isinstance(names, str) else tuple(names))


class Selection(Node):
    """Columns of the input: names, tags, schemas, `"*"` for all, and groups of names."""

    def __init__(self, items: tuple[str | Tags | tuple[str, ...], ...]) -> None:
        self.items = items

    def _resolve(self, context: Context, where: str) -> Columns:
        source, groups = context.source, tuple(item for item in self.items if isinstance(item, tuple))
        names = list(dict.fromkeys(name for item in self.items for name in _names(item, source.schema)))
        for name in names:
            if name not in source.schema:
                raise UnknownColumnError(name, source.schema.column_names, where=where)
            context.readers.setdefault(name, where)
        picked = source.pick(names)
        return Columns(picked.rows, picked.values, picked.schema, groups)

    def __repr__(self) -> str:
        return repr([list(item) if isinstance(item, tuple) else str(item) for item in self.items])


class Step(Node):
    """An op applied to the columns of its parent."""

    def __init__(self, parent: Node, op: Op) -> None:
        self.parents, self.op = (parent,), op

    def units(self, columns: Columns) -> list[Unit]:
        """Which columns learn together."""
        groups = columns.groups if self.op.joint else ()
        grouped = [name for group in groups for name in group]
        for name in grouped:
            if grouped.count(name) > 1:
                raise SettingError(f"{type(self.op).__name__}: {name!r} is in two groups. Leave it in one.")
        alone = [Unit(name, (name,)) for name in columns.values if name not in grouped]
        return [*(Unit("_".join(group), group) for group in groups), *alone]

    def inputs(self, context: Context) -> Columns:
        """The parent's columns, once the op has accepted them."""
        columns = self.parents[0].columns(context, where=type(self.op).__name__)
        self.op.check(columns.schema)
        return columns

    def _resolve(self, context: Context, where: str) -> Columns:
        columns = self.inputs(context)
        if isinstance(self.op, RowOp):
            return columns.keep(self._condition(columns, context))
        learned = {name: context.learned[self][unit.name] for unit in self.units(columns) for name in unit.columns}
        outputs = [out for name in columns.values for out in _outputs(self.op, name, columns, learned[name])]
        names = [schema.name for schema, _, _ in outputs]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise SettingError(f"{type(self.op).__name__}: two columns would be called {twice!r}. Rename one of them.")
        return Columns(
            columns.rows,
            {schema.name: expr for schema, expr, _ in outputs},
            Schema(schema for schema, _, _ in outputs),
            tuple(group for group in columns.groups if set(group) <= set(names)),
            {schema.name: maker for schema, _, maker in outputs if maker is not None},
        )

    def _condition(self, columns: Columns, context: Context) -> pl.Expr:
        assert isinstance(self.op, RowOp)
        condition = self.op.keep(columns.schema)
        if context.empty is not None:
            found = columns.of(context.empty).select(condition.alias("condition")).collect_schema()["condition"]
            if found != pl.Boolean:
                raise SettingError(
                    f"{type(self.op).__name__}: the condition gives {found}, not true or false. "
                    'Compare something, as in df["click"] == 1.'
                )
        return condition

    def __repr__(self) -> str:
        return f"{self.parents[0]!r} >> {_short(self.op)}"


class Union(Node):
    """The columns of several nodes; a later one wins on equal names."""

    def __init__(self, parents: tuple[Node, ...]) -> None:
        self.parents = parents

    def _resolve(self, context: Context, where: str) -> Columns:
        parts = [parent.columns(context, where) for parent in self.parents]
        if any(part.rows is not parts[0].rows for part in parts):
            raise SettingError(
                "Workflow: `+` joins columns that went through different row filters, so their rows do not line up. "
                "Join the columns first and put the Filter or Dropna after the `+`."
            )
        schema = Schema(column for part in parts[:1] for column in part.schema)
        for part in parts[1:]:
            schema = schema + part.schema
        return Columns(
            parts[0].rows,
            {name: expr for part in parts for name, expr in part.values.items()},
            schema,
            tuple(dict.fromkeys(group for part in parts for group in part.groups)),
            {name: maker for part in parts for name, maker in part.made_by.items()},
        )

    def __repr__(self) -> str:
        return " + ".join(f"({parent!r})" for parent in self.parents)


class Without(Node):
    """The first parent's columns without those of the second's names."""

    def __init__(self, parent: Node, unwanted: Node) -> None:
        self.parents = (parent, unwanted)

    def _resolve(self, context: Context, where: str) -> Columns:
        columns = self.parents[0].columns(context, where)
        if isinstance(self.parents[1], Selection):  # names mean the columns here, whatever the input holds
            unwanted = [name for item in self.parents[1].items for name in _names(item, columns.schema)]
            _need(unwanted, columns.schema, where)
        else:
            unwanted = list(self.parents[1].columns(context, where).values)
        return columns.pick([name for name in columns.values if name not in unwanted])

    def __repr__(self) -> str:
        return f"({self.parents[0]!r}) - ({self.parents[1]!r})"


class Pick(Node):
    """Some columns of a node, in the order given."""

    def __init__(self, parent: Node, names: tuple[str, ...]) -> None:
        self.parents, self.names = (parent,), names

    def _resolve(self, context: Context, where: str) -> Columns:
        columns = self.parents[0].columns(context, where)
        _need(self.names, columns.schema, where)
        return columns.pick(list(self.names))

    def __repr__(self) -> str:
        return f"({self.parents[0]!r})[{list(self.names)!r}]"


def as_node(selection: Any) -> Node:
    """The node that names, lists of names, tags, schemas or nodes stand for.

    Raises:
        SettingError: it is none of these.
    """
    if isinstance(selection, Node):
        return selection
    if isinstance(selection, str):
        return Selection((selection,))
    if isinstance(selection, Schema):
        return Selection(tuple(selection.column_names))
    if isinstance(selection, ColumnSchema):
        return Selection((selection.name,))
    if not isinstance(selection, list | tuple):
        raise SettingError(f"Workflow: {selection!r} is not a set of columns. Give names, tags, a schema or a node.")
    parts = [_group(item) if isinstance(item, list | tuple) else as_node(item) for item in selection]
    if all(isinstance(part, Selection) for part in parts):
        return Selection(tuple(item for part in parts if isinstance(part, Selection) for item in part.items))
    return Union(tuple(parts))


def walk(node: Node) -> list[Node]:
    """The node and all before it, parents first, each once."""
    found: dict[Node, None] = {}

    def visit(one: Node) -> Iterator[None]:
        for parent in one.parents:
            if parent not in found:
                yield from visit(parent)
        found[one] = None

    list(visit(node))
    return list(found)


def _short(op: Op) -> str:
    """The op as one would write it: only the settings that differ from those of a fresh one."""
    assert is_dataclass(op)
    written = []
    for setting in fields(op):
        value = getattr(op, setting.name)
        if isinstance(value, pl.Expr) or value != _default(setting):
            written.append(f"{setting.name}={value if isinstance(value, pl.Expr) else repr(value)}")
    return f"{type(op).__name__}({', '.join(written)})"


def _default(setting: Field[Any]) -> Any:
    return setting.default_factory() if setting.default_factory is not MISSING else setting.default


def _group(items: list[Any] | tuple[Any, ...]) -> Node:
    if not all(isinstance(item, str) for item in items) or len(items) < 1:
        return as_node(items)
    return Selection((tuple(str(item) for item in items),))


def _names(item: str | Tags | tuple[str, ...], schema: Schema) -> list[str]:
    if isinstance(item, tuple):
        return list(item)
    if isinstance(item, Tags):
        return schema.select_by_tag(item).column_names
    return schema.column_names if item == "*" else [item]


def _need(names: list[str] | tuple[str, ...], schema: Schema, where: str) -> None:
    for name in names:
        if name not in schema:
            raise UnknownColumnError(name, schema.column_names, where=where)


def _outputs(op: Op, name: str, columns: Columns, learned: Learned) -> list[tuple[ColumnSchema, pl.Expr, Any]]:
    """Of each column that the op makes of this one: its schema, its expression, and which op made the values."""
    schema, before = columns.schema[name], columns.values[name]
    column = Column(schema, pl.element() if schema.is_list else before)
    made, described = op.apply(column, learned), op.describe(schema, learned)
    exprs = [made] if isinstance(made, pl.Expr) else list(made)
    schemas = [described] if isinstance(described, ColumnSchema) else list(described)
    outputs: list[tuple[ColumnSchema, pl.Expr, Any]] = []
    for expr, out in zip(exprs, schemas, strict=True):
        if expr is column.values:
            outputs.append((out, before, columns.made_by.get(name)))
        else:
            outputs.append((out, before.list.eval(expr) if schema.is_list else expr, (op, learned)))
    return outputs
