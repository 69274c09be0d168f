"""What ops want to know of the training rows, found for all of them in one streaming pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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
class Question:
    """One op's questions about one column: names to scalar expressions or Counts, over some rows."""

    rows: Rows
    asked: Mapping[str, pl.Expr | Counts]
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
    """One query for all scalars and the number of rows, and one for each Counts, over the same rows."""
    frame = rows.of(source)
    mine = [(i, question) for i, question in enumerate(questions) if question.rows is rows]
    asked = [(i, name, ask) for i, question in mine for name, ask in question.asked.items()]
    scalars = [(i, name, ask) for i, name, ask in asked if isinstance(ask, pl.Expr)]
    select = [ask.alias(str(column)) for column, (_, _, ask) in enumerate(scalars)]
    takers = [(i, name) for i, name, _ in scalars]
    yield _Query(frame.select(*select, pl.len().alias("rows")), takers, mine[0][1].where, is_scalar=True)
    for i, name, ask in asked:
        if isinstance(ask, Counts):
            yield _Query(ask.of(frame), [(i, name)], questions[i].where)
