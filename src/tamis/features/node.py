"""The graph that `>>`, `+`, `-` and `[...]` write: nodes that know how to make their columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

import polars as pl

from tamis.errors import SettingError, UnknownColumnError, UnknownNameError
from tamis.features.ops.op import Learned, Op
from tamis.features.rows import Columns, Rows
from tamis.schema import ColumnSchema, Schema, Tags

Item: TypeAlias = "str | Tags | tuple[str | Tags, ...]"  # a name or a pattern of names, a tag, a group of these


@dataclass
class Context:
    """What the nodes are resolved against: the input, and what was learned so far by each step and unit."""

    source: Columns
    learned: Mapping[Node, Mapping[str, Learned]]
    empty: pl.LazyFrame | None = None  # the input without rows, to check dtypes against
    is_training: bool = False  # the rows are those that were learned from
    resolved: dict[Node, Columns] = field(default_factory=dict)
    readers: dict[str, str] = field(default_factory=dict)  # input column -> the first op that reads it

    @classmethod
    def of(
        cls,
        schema: Schema,
        learned: Mapping[Node, Mapping[str, Learned]],
        empty: pl.LazyFrame | None = None,
        *,
        is_training: bool = False,
    ) -> Context:
        """The context of an input with these columns."""
        source = Columns(Rows(), {name: pl.col(name) for name in schema.column_names}, schema)
        return cls(source, learned, empty, is_training)


class Node:
    """A set of columns on its way through the graph.

    `node >> op` applies an op or a function of a column, `node + other` adds columns (the right-hand side wins on equal
    names), `node - names` leaves columns out, `node["a"]` and `node[["a", "b"]]` pick. Lists of names, tags and schemas
    stand for the input's columns; a list inside a list is a group. A name may be a pattern as in fnmatch: `"user_*"`,
    `"item_?"`, `"*"`; a column that is called exactly so comes first.
    """

    parents: tuple[Node, ...] = ()

    def columns(self, context: Context, where: str = "Workflow") -> Columns:
        """The node's columns as expressions; `where` names the op that asks, for errors."""
        if self not in context.resolved:
            context.resolved[self] = self._resolve(context, where)
        return context.resolved[self]

    def _resolve(self, context: Context, where: str) -> Columns:
        raise NotImplementedError

    def __rshift__(self, op: Op | Callable[..., Any]) -> Node:
        from tamis.features.step import Step  # step imports this module

        if isinstance(op, type) and issubclass(op, Op):
            raise SettingError(f"Workflow: {op.__name__} is a class. Write {op.__name__}() with its settings.")
        if callable(op) and not isinstance(op, Op | type):
            from tamis.features.ops.lambda_op import LambdaOp

            op = LambdaOp(op)
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
        return Pick(self, tuple(names) if isinstance(names, list | tuple) else (names,))


class Selection(Node):
    """Columns of the input: names, patterns of names, tags, and groups of these.

    Raises:
        SettingError: a name is given twice.
    """

    def __init__(self, items: tuple[Item, ...]) -> None:
        self.items = items
        for names in (items, *(item for item in items if isinstance(item, tuple))):
            _need_once(name for name in names if isinstance(name, str) and not isinstance(name, Tags))

    def _resolve(self, context: Context, where: str) -> Columns:
        source = context.source
        names = _found(self.items, source.schema, where)
        if self.items and not names:  # only tags can stand for nothing
            known = sorted({str(tag) for column in source.schema for tag in column.tags})
            raise UnknownNameError(str(self.items[0]), known, where=where, what="column tagged")
        for name in names:
            context.readers.setdefault(name, where)
        groups = tuple(tuple(_names(item, source.schema)) for item in self.items if isinstance(item, tuple))
        picked = source.pick(names)
        return Columns(picked.rows, picked.values, picked.schema, groups)

    def names(self, schema: Schema) -> list[str]:
        """The names that the items stand for in an input of this schema, whether it has them or not."""
        return _names(self.items, schema)

    def __repr__(self) -> str:
        return repr([list(map(str, item)) if isinstance(item, tuple) else str(item) for item in self.items])


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
            any(part.is_windowed for part in parts),
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
            unwanted = _found(self.parents[1].items, columns.schema, where)
        else:
            unwanted = list(self.parents[1].columns(context, where).values)
        return columns.pick([name for name in columns.values if name not in unwanted])

    def __repr__(self) -> str:
        return f"({self.parents[0]!r}) - ({self.parents[1]!r})"


class Pick(Node):
    """Some columns of a node, in the order given: names, patterns of names, tags.

    Where `groups` are given, they take the place of the parent's.

    Raises:
        SettingError: a name is given twice, or is no name.
    """

    def __init__(
        self, parent: Node, names: tuple[str | Tags, ...], groups: tuple[tuple[str, ...], ...] | None = None
    ) -> None:
        for name in names:
            if not isinstance(name, str):
                raise SettingError(f"Workflow: {name!r} is not a name. Pick columns by names, patterns or tags.")
        _need_once(names)
        self.parents, self.names, self.groups = (parent,), names, groups

    def _resolve(self, context: Context, where: str) -> Columns:
        columns = self.parents[0].columns(context, where)
        picked = columns.pick(_found(self.names, columns.schema, where))
        return picked if self.groups is None else replace(picked, groups=self.groups)

    def __repr__(self) -> str:
        return f"({self.parents[0]!r})[{list(map(str, self.names))!r}]"


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
    """The node and all before it, parents first, each once.

    Raises:
        SettingError: a node comes after itself, which only a change of `parents` by hand can bring about.
    """
    done: dict[Node, None] = {}
    path = {node: iter(node.parents)}  # from the last node up to the one that is looked at
    while path:
        one, parents = next(reversed(path.items()))
        parent = next((parent for parent in parents if parent not in done), None)
        if parent is None:
            done[one] = None
            del path[one]
        elif not isinstance(parent, Node):
            raise SettingError(
                f"Workflow: {parent!r} before a {type(one).__name__} is no node. "
                "Leave `parents` as >>, + and - set them."
            )
        elif parent in path:
            raise SettingError(
                f"Workflow: the graph has a cycle: a {type(parent).__name__} comes after itself. "
                "Leave `parents` as >>, + and - set them."
            )
        else:
            path[parent] = iter(parent.parents)
    return list(done)


def _group(items: list[Any] | tuple[Any, ...]) -> Node:
    if not all(isinstance(item, str) for item in items) or len(items) < 1:
        return as_node(items)
    return Selection((tuple(items),))


def _names(item: Item | tuple[Item, ...], schema: Schema) -> list[str]:
    """The names that an item stands for; one that the schema does not have stands for itself."""
    if isinstance(item, tuple):
        return list(dict.fromkeys(name for one in item for name in _names(one, schema)))
    if isinstance(item, Tags):
        return schema.select_by_tag(item).column_names
    if item in schema or not _is_pattern(item):
        return [item]
    return [name for name in schema.column_names if fnmatchcase(name, item)]


def _found(items: tuple[Item, ...], schema: Schema, where: str) -> list[str]:
    """The names that items stand for, once each of them is known and each pattern has found something."""
    for item in items:
        if isinstance(item, tuple):
            _found(item, schema, where)
        elif not isinstance(item, Tags) and not all(name in schema for name in _names(item, schema) or [item]):
            what = "column that matches" if _is_pattern(item) else "column"
            raise UnknownColumnError(item, schema.column_names, where=where, what=what)
    return _names(items, schema)


def _is_pattern(name: str) -> bool:
    return any(sign in name for sign in "*?[")


def _need_once(names: Iterable[str]) -> None:
    seen = set[str]()
    for name in names:
        if name in seen:
            raise SettingError(f"Workflow: {str(name)!r} is selected twice. Name it once.")
        seen.add(name)
