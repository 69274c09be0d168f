"""Whether rows are the very ones that a workflow learned from, where an op treats those in their own way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from tamis.data.dataset import Dataset
from tamis.data.reading import reading
from tamis.features.lookup import kind_of, plain_values
from tamis.features.node import Node, Selection, walk
from tamis.features.ops.op import GroupOp
from tamis.features.rows import ROW
from tamis.features.step import Step
from tamis.schema import Schema


def has_training_form(node: Node) -> bool:
    """Whether the rows that were learned from get other values than any other rows."""
    return bool(_steps(node))


def fingerprint_of(node: Node, schema: Schema) -> dict[str, pl.Expr]:
    """Expressions whose values tell the training rows, in their order, from others: by what those ops read of them.

    Each column has a hash of its own, so that a part of the graph, which reads fewer, still knows the rows.
    """
    names = [name for name in _read_by_those_ops(node, schema) if name in schema and not schema[name].is_list]
    return {"rows": pl.len(), **{f"hash {name}": _hash(name, schema[name].dtype) for name in names}}


def is_training(node: Node, fingerprint: Mapping[str, Any], data: Dataset) -> bool:
    """Whether the data has this fingerprint; reads the columns only where the number of rows is the same."""
    names = _read_by_those_ops(node, data.schema)
    if any(name not in data.schema for name in names) or data.num_rows != fingerprint["rows"]:
        return False
    asked = fingerprint_of(node, data.schema)
    query = data.scan().with_row_index(ROW).select(expr.alias(name) for name, expr in asked.items())
    found = reading(lambda: query.collect(engine="streaming"), "Workflow.transform", data.files)
    return all(fingerprint.get(name) == value for name, value in found.row(0, named=True).items())


def _hash(name: str, dtype: str) -> pl.Expr:
    """A number for a column's values in their order, the same whatever dtype of their kind they have."""
    values = pl.col(name).cast(pl.Float64) if kind_of(dtype) == "number" else plain_values(pl.col(name), dtype)
    # A short hash, so that no number of rows makes the sum overflow.
    return (pl.struct(values.alias("value"), ROW).hash(seed=0) % (1 << 31)).sum()


def _read_by_those_ops(node: Node, schema: Schema) -> list[str]:
    names: list[str] = []
    for step in _steps(node):
        assert isinstance(step.op, GroupOp)
        before = (one for one in walk(step) if isinstance(one, Selection))
        names += [name for selection in before for name in selection.names(schema)]
        names += [*step.op.reads, *step.op.learns_from]
    return list(dict.fromkeys(names))


def _steps(node: Node) -> list[Step]:
    steps = (one for one in walk(node) if isinstance(one, Step))
    return [step for step in steps if isinstance(step.op, GroupOp) and step.op.has_training_form]
