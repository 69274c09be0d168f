"""A fitted graph without some of its inputs: what is made of them goes, all else stays as it was learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from typing import Any

from tamis.errors import SettingError, UnknownColumnError
from tamis.features.fitting import Fitted
from tamis.features.node import Context, Node, Pick, Selection, Union, Without, walk
from tamis.features.ops.op import GroupOp, Learned, Op, RowOp, Unit
from tamis.features.rows import Columns
from tamis.features.step import Step
from tamis.features.subgraph import Subgraph
from tamis.features.updating import learned_from
from tamis.schema import Schema, Tags

Graph = tuple[Node, dict[Node, dict[str, Learned]]]  # a node and what the steps before it learned


def without_inputs(node: Node, fitted: Fitted, names: list[str]) -> Graph:
    """The graph of what does not need these columns of the input, with what it learned.

    Raises:
        UnknownColumnError: a column is no input.
        SettingError: nothing would be left.
    """
    where = "Workflow.remove_inputs"
    known = dict.fromkeys([*fitted.input_schema.column_names, *learned_from(node)])
    for name in names:
        if name not in known:
            raise UnknownColumnError(name, known, where=where, what="input column")
    removal = _Removal(fitted, fitted.input_schema.without(names))
    for one in walk(node):
        removal.made[one] = removal.rewritten(one)
    left = removal.made[node]
    if left is None:
        given = ", ".join(map(repr, names))
        raise SettingError(f"{where}: no column is left that can do without {given}. Keep one more input.")
    return left, removal.learned


class _Removal:
    """Makes each node anew, parents first; None where nothing of it is left, itself where nothing changes."""

    def __init__(self, fitted: Fitted, left: Schema) -> None:
        self.fitted, self.left = fitted, left
        self.learned: dict[Node, dict[str, Learned]] = {}
        self.made: dict[Node, Node | None] = {}
        self.old, self.new = Context.of(fitted.input_schema, fitted.learned), Context.of(left, self.learned)

    def rewritten(self, node: Node) -> Node | None:
        if isinstance(node, Selection):
            return self._selection(node)
        if isinstance(node, Union):
            return self._union(node)
        parent = self.made[node.parents[0]]
        if parent is None:
            return None
        if isinstance(node, Step):
            return self._step(node, parent)
        if parent is node.parents[0] and all(self.made[one] is one for one in node.parents):
            return node
        if isinstance(node, Subgraph):
            return Subgraph(node.name, parent)
        assert isinstance(node, Pick | Without)
        return self._pick(parent, list(node.columns(self.old).values))

    def _pick(self, parent: Node, names: list[str]) -> Node | None:
        """Those of the names that are left, from the parent."""
        left = parent.columns(self.new).values
        names = [name for name in names if name in left]
        if not names:
            return None
        return parent if names == list(left) else Pick(parent, tuple(names))

    def _selection(self, node: Selection) -> Node | None:
        names = node.names(self.fitted.input_schema)
        if all(name in self.left for name in names):
            return node
        items = [one for item in node.items for one in self._narrow(item)]
        return Selection(tuple(items)) if items else None

    def _narrow(self, item: str | Tags | tuple[str | Tags, ...]) -> list[Any]:
        """What is left of an item of a selection: itself, the names in its place, or nothing."""
        names = Selection((item,)).names(self.fitted.input_schema)
        kept = [name for name in names if name in self.left]
        if kept == names:
            return [item]
        return [tuple(kept)] if isinstance(item, tuple) and kept else kept

    def _union(self, node: Union) -> Node | None:
        """The columns whose maker is left; an earlier column of the same name does not take a lost one's place."""
        olds = [(parent.columns(self.old).values, self.made[parent]) for parent in node.parents]
        maker = {name: made for values, made in olds for name in values}
        if all(made is parent for parent, (_, made) in zip(node.parents, olds, strict=True)):
            return node
        kept = [name for name, made in maker.items() if made is not None and name in made.columns(self.new).values]
        parents = tuple(dict.fromkeys(made for _, made in olds if made is not None))
        if not kept:
            return None
        return self._pick(parents[0] if len(parents) == 1 else Union(parents), kept)

    def _step(self, step: Step, parent: Node) -> Node | None:
        """The step on what is left, where its op still can; else what it let through."""
        old = step.parents[0].columns(self.old)
        passed = step.passed(old)
        units = step.units(old) if step.op.learns else []
        if isinstance(step.op, GroupOp):
            whole = self._whole(units, old, parent, passed)
            if whole is None:
                return self._pick(parent, passed)
            parent = whole
        new = parent.columns(self.new)
        lost = [name for name in old.values if name not in new.values]
        made = step if parent is step.parents[0] else Step(parent, _narrowed(step.op, lost, units, new))
        try:
            if step.op.learns:
                self.learned[made] = self._kept(step, units, made.units(new))
            made.columns(self.new)
            return made
        except UnknownColumnError:  # the op itself asks for a column that is gone
            self.learned.pop(made, None)
            return parent if isinstance(step.op, RowOp) else self._pick(parent, passed)

    def _whole(self, units: list[Unit], old: Columns, parent: Node, passed: list[str]) -> Node | None:
        """The columns of the groups that have lost none, and those that the op lets through; None without a group."""
        left = parent.columns(self.new)
        whole = [unit for unit in units if all(name in left.values for name in unit.columns)]
        groups = tuple(unit.columns for unit in whole if unit.columns in old.groups)
        wanted = {*passed, *(name for unit in whole for name in unit.columns)}
        names = tuple(name for name in left.values if name in wanted)
        if names == tuple(left.values) and groups == left.groups:
            return parent
        return Pick(parent, names, groups) if whole else None

    def _kept(self, step: Step, before: list[Unit], after: list[Unit]) -> dict[str, Learned]:
        """What each unit learned; a group that has lost a column keeps what it learned with it."""
        same = {unit.columns: unit for unit in before}
        whole = {name: unit for unit in before for name in unit.columns}
        found = {unit.name: same.get(unit.columns) or whole[unit.columns[0]] for unit in after}
        return {name: self.fitted.learned[step][unit.name] for name, unit in found.items()}


def _narrowed(op: Op, lost: list[str], units: list[Unit], left: Columns) -> Op:
    """The op without the settings for columns, and for groups, that have lost something."""
    assert is_dataclass(op)
    gone = {*lost, *(unit.name for unit in units if not all(name in left.values for name in unit.columns))}
    changed = {
        name: {key: value for key, value in given.items() if key not in gone}
        for name in op.by_column
        if isinstance(given := getattr(op, name), Mapping) and gone & set(given)
    }
    return replace(op, **changed) if changed else op
