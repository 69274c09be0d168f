"""New rows for a fitted graph: what may grow grows, all else stays as it was learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tamis.data.dataset import Dataset
from tamis.features.fitting import Fitted, parts_of
from tamis.features.node import Context, Node, walk
from tamis.features.ops.op import GroupOp, Learned, Op, Unit
from tamis.features.statistics import answer
from tamis.features.step import Step
from tamis.schema import Schema


@dataclass(frozen=True)
class Growth(Mapping[str, int]):
    """How many rows each embedding table must grow: `growth["user_id"]`, by the domain's name.

    `cardinalities` has each domain's cardinality before and after. Rows are added at the end of a table; the others
    keep their place.
    """

    cardinalities: Mapping[str, tuple[int, int]]

    @classmethod
    def between(cls, before: Schema, after: Schema) -> Growth:
        """The growth of the domains of one output schema to those of a later one."""
        old, new = _cardinalities(before), _cardinalities(after)
        return cls({name: (old[name], new[name]) for name in old if name in new})

    def __getitem__(self, domain: str) -> int:
        before, after = self.cardinalities[domain]
        return after - before

    def __iter__(self) -> Iterator[str]:
        return iter(self.cardinalities)

    def __len__(self) -> int:
        return len(self.cardinalities)

    def __repr__(self) -> str:
        rows = [("domain", "rows to add", "cardinality before", "after")]
        rows += [(name, f"{self[name]:,}", f"{old:,}", f"{new:,}") for name, (old, new) in self.cardinalities.items()]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = (
            "  ".join(
                [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
            )
            for row in rows
        )
        return "\n".join(lines)


def relearn(node: Node, fitted: Fitted, data: Dataset) -> dict[Node, dict[str, Learned]]:
    """What the graph has learned once its ops that grow have seen new rows, level by level as in `fit`."""
    targets = [name for name in learned_from(node) if name in data.schema]
    growing = [step for step in walk(node) if isinstance(step, Step) and step.op.learns and grows(step.op)]
    learned = {step: dict(units) for step, units in fitted.learned.items() if step not in growing}
    context = Context.of(fitted.input_schema + data.schema.select_by_name(targets), learned)
    while growing:
        ready = [step for step in growing if not any(before in growing for before in walk(step)[:-1])]
        parts = [part for step in ready for part in parts_of(step, context)]
        asking = [part for part in parts if part.question.asked]
        answers = answer([part.question for part in asking], data.scan(), data.files) if asking else []
        found: dict[tuple[Step, Unit], list[Learned]] = {}
        for part, one in zip(asking, answers, strict=True):
            found.setdefault((part.step, part.unit), []).append(one)
        for step in ready:
            learned[step] = dict(fitted.learned[step])
        for (step, unit), ones in found.items():
            learned[step][unit.name] = step.op.update(fitted.learned[step][unit.name], unit, step.op.merge(ones))
        for step in ready:
            learned[step] = dict(step.op.finish_all(learned[step]))
        growing = [step for step in growing if step not in ready]
    return learned


def learned_from(node: Node) -> list[str]:
    """The input columns that ops need to learn, but not to be applied."""
    ops = [step.op for step in walk(node) if isinstance(step, Step)]
    return [name for op in ops if isinstance(op, GroupOp) for name in op.learns_from]


def grows(op: Op) -> bool:
    """Whether the op keeps something of new rows."""
    return type(op).update is not Op.update


def _cardinalities(schema: Schema) -> dict[str, int]:
    return {column.domain.name: column.cardinality for column in schema if column.domain and column.cardinality}
