"""A workflow in words: the passes that fit makes, what each output column is, how much was learned."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from tamis.features.fitting import Fitted, parts_of
from tamis.features.lineage import brief, context_of, recipe, row_changes
from tamis.features.node import Node, Selection, walk
from tamis.features.ops.op import ColumnOp, GroupOp, Op
from tamis.features.step import Step
from tamis.features.updating import learned_from
from tamis.schema import ColumnSchema, Schema


@dataclass(frozen=True)
class Explanation:
    """The text, and how many passes over the data `fit` makes; before `fit` that many at most."""

    text: str
    num_passes: int

    def __repr__(self) -> str:
        return self.text

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.text)}</pre>"


def explain(node: Node, fitted: Fitted | None, output_schema: Schema) -> Explanation:
    """What `fit` asks of the data and `transform` computes; before `fit` only what the graph alone tells."""
    asked = {step: _asked(step, node, fitted) for step in walk(node) if isinstance(step, Step) and step.op.learns}
    passes = _passes(node, {step for step, lines in asked.items() if lines})
    number = max([1, *passes.values()])  # the data is looked at once even where nothing is learned
    lines = [_title(fitted, output_schema, number)]
    for one in range(1, number + 1):
        steps = [step for step in passes if passes[step] == one]
        lines += ["", f"pass {one} of fit", *_over_rows((_rows(step), line) for step in steps for line in asked[step])]
        lines += [] if steps else ["  over all rows", "    checks that there are any"]
    lines += ["", "transform", *(f"  {line}" for line in _outputs(node, fitted, output_schema))]
    if fitted is not None and (sizes := list(_sizes(node, fitted))):
        lines += ["", "learned", *(f"  {line}" for line in sizes)]
    return Explanation("\n".join(lines), number)


def _title(fitted: Fitted | None, output_schema: Schema, num_passes: int) -> str:
    passes = _count(num_passes, "pass", "passes")
    if fitted is None:
        return f"Workflow, not fitted: fit will make at most {passes} over the data"
    inputs, outputs = len(fitted.input_schema), len(output_schema)
    return f"Workflow of {_count(inputs, 'input')} and {_count(outputs, 'output')}: fit makes {passes} over the data"


def _passes(node: Node, asking: set[Step]) -> dict[Step, int]:
    """The pass in which each asking step learns: the one after all that it builds on."""
    passes: dict[Step, int] = {}
    for step in walk(node):  # parents come first
        if isinstance(step, Step) and step in asking:
            passes[step] = 1 + max((passes[one] for one in walk(step)[:-1] if one in passes), default=0)
    return passes


def _asked(step: Step, node: Node, fitted: Fitted | None) -> list[str]:
    """A line for all units of which the op asks the same things."""
    if fitted is None:
        return [f"{brief(step.op)}  {_selected(step)}"] if _may_ask(step.op) else []
    targets = Schema(ColumnSchema(name) for name in dict.fromkeys(learned_from(node)))
    together: dict[tuple[str, ...], list[str]] = {}
    for unit, names in {p.unit: tuple(p.question.asked) for p in parts_of(step, context_of(fitted, targets))}.items():
        if names:
            together.setdefault(names, []).append(" with ".join(unit.columns))
    return [f"{brief(step.op)}  {', '.join(names)} of {', '.join(columns)}" for names, columns in together.items()]


def _may_ask(op: Op) -> bool:
    return isinstance(op, ColumnOp | GroupOp) and type(op).learn not in (ColumnOp.learn, GroupOp.learn)


def _selected(step: Step) -> str:
    return ", ".join(repr(one) for one in walk(step) if isinstance(one, Selection))


def _rows(step: Step) -> str:
    changes = " >> ".join(brief(op) for op in row_changes(step))
    return f"over the rows after {changes}" if changes else "over all rows"


def _over_rows(entries: Iterable[tuple[str, str]]) -> Iterator[str]:
    """The lines, gathered under the rows that they are about."""
    together: dict[str, list[str]] = {}
    for rows, line in entries:
        together.setdefault(rows, []).append(line)
    for rows, lines in together.items():
        yield from (f"  {rows}", *(f"    {line}" for line in lines))


def _outputs(node: Node, fitted: Fitted | None, schema: Schema) -> Iterator[str]:
    if fitted is None:
        yield " ".join(repr(node).split())
        return
    dtypes = {column.name: f"list[{column.dtype}]" if column.is_list else column.dtype for column in schema}
    name_width, dtype_width = (max(map(len, texts), default=0) for texts in (dtypes, dtypes.values()))
    for name, dtype in dtypes.items():
        yield f"{name.ljust(name_width)}  {dtype.ljust(dtype_width)}  {recipe(node, name, fitted)}"
    yield f"rows: {' >> '.join(map(brief, row_changes(node))) or 'all'}"


def _sizes(node: Node, fitted: Fitted) -> Iterator[str]:
    for step in walk(node):
        for unit, learned in fitted.learned.get(step, {}).items():
            if learned and isinstance(step, Step):
                facts = ", ".join(_size(name, value) for name, value in learned.items())
                yield f"{type(step.op).__name__} {unit}: {facts}"


def _size(name: str, value: Any) -> str:
    if isinstance(value, pl.DataFrame | pl.Series):
        return f"{name} of {_count(len(value), 'row')} ({_bytes(value.estimated_size())})"
    if isinstance(value, float):
        return f"{name} {value:.6g}"
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return f"{name} {text if len(text) <= 60 else text[:57] + '...'}"


def _bytes(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"


def _count(number: int, one: str, several: str = "") -> str:
    return f"{number:,} {one if number == 1 else several or one + 's'}"
