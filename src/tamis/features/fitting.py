"""Learn what a graph's ops need, level by level: one pass over the data for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from tamis.features.node import Context, Node, walk
from tamis.features.ops.op import Column, ColumnOp, GroupOp, Learned, Unit
from tamis.features.rows import ROW, Columns
from tamis.features.statistics import Ask, Question, answer
from tamis.features.step import Step
from tamis.features.training_rows import fingerprint_of, has_training_form
from tamis.schema import ColumnSchema, Schema


@dataclass(frozen=True)
class Fitted:
    """A graph that has learned: its columns as expressions over the input's columns that it reads."""

    learned: dict[Node, dict[str, Learned]]
    columns: Columns
    training_columns: Columns  # the same of the very rows that were learned from
    input_schema: Schema
    readers: dict[str, str]  # of each input column, the first op that reads it
    fingerprint: Learned  # of the training rows, where they get other values than any other rows; else empty
    resolved: Mapping[Node, Columns]  # the columns of every node


@dataclass(frozen=True)
class Part:
    """One column of a unit, and what the op asks of it."""

    step: Step
    unit: Unit
    question: Question


def learn(node: Node, source: pl.LazyFrame, schema: Schema, files: Sequence[str] = ()) -> Fitted:
    """Run over the source as often as the graph has levels of ops that build on what others learned.

    `files` are those behind the source, so that an error can name the one that cannot be read.
    """
    learned: dict[Node, dict[str, Learned]] = {}
    steps = [step for step in walk(node) if isinstance(step, Step) and step.op.learns]
    empty = pl.LazyFrame(schema=source.collect_schema())
    if has_training_form(node):
        source, empty = (frame.with_row_index(ROW) for frame in (source, empty))
    context = Context.of(schema, learned, empty, is_training=True)  # what builds on training rows learns from these
    tell = fingerprint_of(node, schema) if has_training_form(node) else {}
    fingerprint: Learned = {}
    has_read = False
    while True:
        ready = [step for step in steps if step not in learned and _can_learn(step, learned)]
        if not ready:
            if not has_read:  # a graph that learns nothing still refuses data without rows
                answer([Question(context.source.rows, {}, "Workflow.fit")], source, files)
            return bind(node, schema, learned, fingerprint, empty)
        parts = [part for step in ready for part in parts_of(step, context)]
        # An op that asks nothing is done at once, so that what follows it can still be learned in the same pass.
        free = {step for step in ready if not any(part.question.asked for part in parts if part.step is step)}
        taken = [part for part in parts if part.step in free or not free]
        questions = [part.question for part in taken]
        if not free and not has_read:
            questions.append(Question(context.source.rows, tell, "Workflow.fit"))
        answers = [{} for _ in taken] if free else answer(questions, source, files)
        if not free and not has_read:
            *answers, fingerprint = answers
            has_read = True
        for step in free or ready:
            learned[step] = {}
        _keep(taken, answers, learned)


def bind(
    node: Node,
    schema: Schema,
    learned: dict[Node, dict[str, Learned]],
    fingerprint: Learned,
    empty: pl.LazyFrame | None = None,
) -> Fitted:
    """The graph with what it learned, as expressions."""
    context = Context.of(schema, learned, empty)
    columns = node.columns(context)
    training = node.columns(Context.of(schema, learned, is_training=True)) if has_training_form(node) else columns
    read = [name for name in schema.column_names if name in context.readers]
    inputs = schema.select_by_name(read)
    return Fitted(learned, columns, training, inputs, context.readers, fingerprint, context.resolved)


def _can_learn(step: Step, learned: dict[Node, dict[str, Learned]]) -> bool:
    """Whether every op before this one has learned."""
    before = (node for node in walk(step)[:-1] if isinstance(node, Step) and node.op.learns)
    return all(node in learned for node in before)


def parts_of(step: Step, context: Context) -> list[Part]:
    """What a step asks of the training rows, once all before it has learned."""
    columns = step.inputs(context)
    return [
        Part(step, unit, Question(columns.rows, asked, step.where))
        for unit in step.units(columns)
        for asked in _asked(step, unit, columns, context)
    ]


def _asked(step: Step, unit: Unit, columns: Columns, context: Context) -> list[Mapping[str, Ask]]:
    """What the op asks of a unit: of each of its columns, or of the group at once."""
    if isinstance(step.op, GroupOp):
        return [step.op.learn(step.seen(unit, columns, context, to_learn=True))]
    assert isinstance(step.op, ColumnOp)
    return [step.op.learn(_flat(columns.schema[n], columns.values[n], step.op)) for n in unit.columns]


def _flat(schema: ColumnSchema, values: pl.Expr, op: ColumnOp) -> Column:
    return Column(schema, values.explode(empty_as_null=False) if schema.is_list and op.leaves else values)


def _keep(parts: list[Part], answers: Sequence[Learned], learned: dict[Node, dict[str, Learned]]) -> None:
    found: dict[tuple[Step, Unit], list[Learned]] = {}
    for part, one in zip(parts, answers, strict=True):
        found.setdefault((part.step, part.unit), []).append(one)
    for (step, unit), ones in found.items():
        learned[step][unit.name] = step.op.finish(unit, step.op.merge(ones))
    for step in dict.fromkeys(step for step, _ in found):
        learned[step] = dict(step.op.finish_all(learned[step]))
