"""What ops want to know of the training rows, found for all of them in one streaming pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import polars as pl

from tamis.data.reading import reading
from tamis.errors import DataError
from tamis.features.rows import Rows


@dataclass(frozen=True)
class Counts:
    """Asks for a frame `value`, `count`: the distinct values of an expression, nulls left out, in no order."""

    values: pl.Expr

    def of(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """The query that answers it."""
        values = frame.select(self.values.alias("value")).filter(pl.col("value").is_not_null())
        return values.group_by("value").agg(pl.len().cast(pl.Int64).alias("count"))


@dataclass(frozen=True)
class Grouped:
    """Asks for a frame: each combination of the keys, nulls included, and aggregates of its rows, in no order.

    The aggregates are expressions over `values` by name: `Grouped({"shop": shop}, {"price": price},
    {"sum": pl.col("price").sum()})`.
    """

    keys: Mapping[str, pl.Expr]
    values: Mapping[str, pl.Expr]
    aggregates: Mapping[str, pl.Expr]

    def of(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """The query that answers it."""
        # Computed first: inside a group_by, an expression that calls Python would be called for each group.
        flat = frame.select(expr.alias(name) for name, expr in {**self.keys, **self.values}.items())
        return flat.group_by(list(self.keys)).agg(expr.alias(name) for name, expr in self.aggregates.items())


@dataclass(frozen=True)
class Log:
    """Asks for a frame of all rows, sorted by its columns in their order: who, when, what."""

    columns: Mapping[str, pl.Expr]

    def of(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """The query that answers it."""
        return frame.select(expr.alias(name) for name, expr in self.columns.items()).sort(list(self.columns))


Ask: TypeAlias = "pl.Expr | Counts | Grouped | Log"  # a scalar, or a frame


@dataclass(frozen=True)
class Question:
    """One op's questions about one column or group: names to what is asked, over some rows."""

    rows: Rows
    asked: Mapping[str, Ask]
    where: str


@dataclass(frozen=True)
class _Query:
    """A query to run, and what takes its answer: a whole frame, or column i of its one row."""

    frame: pl.LazyFrame
    takers: list[tuple[int, str]]  # position of the question, name asked
    where: str
    is_scalar: bool = field(default=False)


def answer(questions: Sequence[Question], source: pl.LazyFrame, files: Sequence[str] = ()) -> list[Mapping[str, Any]]:
    """The answers, in the order of the questions, from one run over the source.

    Raises:
        DataError: no rows are there to learn from, or they cannot be read.
    """
    queries = [
        query for rows in dict.fromkeys(q.rows for q in questions) for query in _queries(rows, questions, source)
    ]
    found = reading(
        lambda: pl.collect_all([query.frame for query in queries], engine="streaming"), "Workflow.fit", files
    )
    answers: list[dict[str, Any]] = [{} for _ in questions]
    for query, frame in zip(queries, found, strict=True):
        if query.is_scalar and frame["rows"].item() == 0:
            raise DataError(
                f"{query.where}: there are no rows to learn from. Check the dataset and the filters before it."
            )
        for column, (i, name) in enumerate(query.takers):
            answers[i][name] = frame[str(column)].item() if query.is_scalar else frame
    return list(answers)


def _queries(rows: Rows, questions: Sequence[Question], source: pl.LazyFrame) -> Iterator[_Query]:
    """One query for all scalars and the number of rows, and one for each frame asked for, over the same rows."""
    frame = rows.of(source)
    mine = [(i, question) for i, question in enumerate(questions) if question.rows is rows]
    asked = [(i, name, ask) for i, question in mine for name, ask in question.asked.items()]
    scalars = [(i, name, ask) for i, name, ask in asked if isinstance(ask, pl.Expr)]
    select = [ask.alias(str(column)) for column, (_, _, ask) in enumerate(scalars)]
    takers = [(i, name) for i, name, _ in scalars]
    yield _Query(frame.select(*select, pl.len().alias("rows")), takers, mine[0][1].where, is_scalar=True)
    for i, name, ask in asked:
        if not isinstance(ask, pl.Expr):
            yield _Query(ask.of(frame), [(i, name)], questions[i].where)
