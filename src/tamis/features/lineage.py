"""How each column of a graph came about: from which inputs, by which ops, over which rows."""

from __future__ import annotations

from tamis.features.fitting import Fitted
from tamis.features.node import Context, Node, Selection, Union
from tamis.features.ops.op import ColumnOp, GroupOp, Op, RowOp, TableOp
from tamis.features.step import Step, as_written
from tamis.schema import ColumnSchema, Schema

_LONGEST = 100


def brief(op: Op) -> str:
    """The op as one would write it, on one line of bearable length."""
    text = " ".join(as_written(op).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 5]} ...)"


def context_of(fitted: Fitted, more: Schema | None = None) -> Context:
    """What the graph was resolved to; `more` are columns of the input that were there to learn from."""
    context = Context.of((more or Schema()) + fitted.input_schema, fitted.learned)
    context.resolved.update(fitted.resolved)  # so that no look-up is built again
    return context


def recipe(node: Node, name: str, fitted: Fitted) -> str:
    """What one has to write to get this column of the node: `price >> FillMissing() >> Normalize()`."""
    if isinstance(node, Selection):
        return name
    if isinstance(node, Union):
        return recipe(next(p for p in reversed(node.parents) if name in fitted.resolved[p].values), name, fitted)
    parent = node.parents[0]
    if not isinstance(node, Step) or isinstance(node.op, RowOp):
        return recipe(parent, name, fitted)
    names = _made_from(node, name, fitted)
    if names == (name,) and _is_passed(node, name):
        return recipe(parent, name, fitted)
    return f"{_together([_before(parent, one, fitted) for one in names])} >> {brief(node.op)}"


def row_changes(node: Node) -> list[Op]:
    """The ops that left rows out or made others before these columns, in their order."""
    changes = [] if not node.parents else row_changes(node.parents[0])  # of several parents all have the same rows
    if isinstance(node, Step) and isinstance(node.op, RowOp | TableOp):
        changes.append(node.op)
    return changes


def _before(parent: Node, name: str, fitted: Fitted) -> str:
    """The recipe of a column that an op sees: of its parent, or of the input."""
    return recipe(parent, name, fitted) if name in fitted.resolved[parent].values else name


def _together(recipes: list[str]) -> str:
    if len(recipes) == 1:
        return recipes[0]
    shown = [f"({one})" if ">>" in one else one for one in recipes[:4]]
    return f"[{', '.join(shown)}{f', ... {len(recipes)} in all' if len(recipes) > 4 else ''}]"


def _is_passed(step: Step, name: str) -> bool:
    return isinstance(step.op, GroupOp) and (step.op.adds or name in step.beside())


def _made_from(step: Step, name: str, fitted: Fitted) -> tuple[str, ...]:
    """The columns that the op made this one of."""
    columns, context = fitted.resolved[step.parents[0]], context_of(fitted)
    if isinstance(step.op, TableOp):
        return tuple(columns.values)
    for unit in step.units(columns):
        learned = fitted.learned[step][unit.name]
        if isinstance(step.op, GroupOp):
            seen = step.seen(unit, columns, context, to_learn=False)
            if name in _names(step.op.describe([column.schema for column in seen], learned)):
                return tuple(dict.fromkeys(column.name for column in seen))
        else:
            assert isinstance(step.op, ColumnOp)
            for one in unit.columns:
                if name in _names(step.op.describe(columns.schema[one], learned)):
                    return (one,)
    return (name,)


def _names(described: object) -> list[str]:
    several = [described] if isinstance(described, ColumnSchema) else list(described)  # type: ignore[call-overload]
    return [column.name for column in several]
