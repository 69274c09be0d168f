"""Learn what a graph's ops need, level by level: one pass over the data for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from tamis.features.node import Context, Node, Step, walk
from tamis.features.ops.op import Column, Learned, RowOp, Unit
from tamis.features.rows import Columns
from tamis.features.statistics import Question, answer
from tamis.schema import Schema


@dataclass(frozen=True)
class Fitted:
    """A graph that has learned: its columns as expressions over the input's columns that it reads."""

    learned: dict[Node, dict[str, Learned]]
    columns: Columns
    input_schema: Schema
    readers: dict[str, str]  # of each input column, the first op that reads it


@dataclass(frozen=True)
class _Part:
    """One column of a unit, and what the op asks of it."""

    step: Step
    unit: Unit
    question: Question


def learn(node: Node, source: pl.LazyFrame, schema: Schema, files: Sequence[str] = ()) -> Fitted:
    """Run over the source as often as the graph has levels of ops that build on what others learned.

    `files` are those behind the source, so that an error can name the one that cannot be read.
    """
    learned: dict[Node, dict[str, Learned]] = {}
    steps = [step for step in walk(node) if isinstance(step, Step) and not isinstance(step.op, RowOp)]
    empty = pl.LazyFrame(schema=source.collect_schema())
    context = Context.of(schema, learned, empty)
    has_read = False
    while True:
        ready = [step for step in steps if step not in learned and _can_learn(step, learned)]
        if not ready:
            if not has_read:  # a graph that learns nothing still refuses data without rows
                answer([Question(context.source.rows, {}, "Workflow.fit")], source, files)
            return bind(node, schema, learned, context)
        parts = [part for step in ready for part in _parts(step, context)]
        # An op that asks nothing is done at once, so that what follows it can still be learned in the same pass.
        free = {step for step in ready if not any(part.question.asked for part in parts if part.step is step)}
        taken = [part for part in parts if part.step in free or not free]
        questions = [part.question for part in taken]
        answers = [{} for _ in taken] if free else answer(questions, source, files)
        has_read = has_read or not free
        for step in free or ready:
            learned[step] = {}
        _keep(taken, answers, learned)


def bind(node: Node, schema: Schema, learned: dict[Node, dict[str, Learned]], context: Context | None = None) -> Fitted:
    """The graph with what it learned, as expressions."""
    context = context or Context.of(schema, learned)
    columns = node.columns(context)
    read = [name for name in schema.column_names if name in context.readers]
    return Fitted(learned, columns, schema.select_by_name(read), context.readers)


def _can_learn(step: Step, learned: dict[Node, dict[str, Learned]]) -> bool:
    """Whether every op before this one has learned."""
    before = (node for node in walk(step)[:-1] if isinstance(node, Step) and not isinstance(node.op, RowOp))
    return all(node in learned for node in before)


def _parts(step: Step, context: Context) -> list[_Part]:
    columns = step.inputs(context)
    return [_Part(step, unit, _question(step, columns, name)) for unit in step.units(columns) for name in unit.columns]


def _question(step: Step, columns: Columns, name: str) -> Question:
    schema, expr = columns.schema[name], columns.values[name]
    values = expr.explode(empty_as_null=False) if schema.is_list else expr
    return Question(columns.rows, step.op.learn(Column(schema, values)), type(step.op).__name__)


def _keep(parts: list[_Part], answers: Sequence[Learned], learned: dict[Node, dict[str, Learned]]) -> None:
    found: dict[tuple[Step, Unit], list[Learned]] = {}
    for part, one in zip(parts, answers, strict=True):
        found.setdefault((part.step, part.unit), []).append(one)
    for (step, unit), ones in found.items():
        learned[step][unit.name] = step.op.finish(unit, step.op.merge(ones))
