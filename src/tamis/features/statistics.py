"""What ops want to know of the training rows, found for all of them in one streaming pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import polars as pl

from tamis.data.counting import counted
from tamis.data.reading import reading
from tamis.errors import DataError
from tamis.features.frames import collect_all
from tamis.features.rows import Rows
from tamis.progress import is_watched, progress


@dataclass(frozen=True)
class Counts:
    """Asks for a frame `value`, `count`: the distinct values of an expression, nulls left out.

    In no order, or the most frequent first and equal counts by value, ascending.
    """

    values: pl.Expr
    most_frequent_first: bool = False

    @property
    def reads(self) -> list[pl.Expr]:
        """What it computes of the rows."""
        return [self.values]

    def of(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """The query that answers it."""
        values = frame.select(self.values.alias("value")).filter(pl.col("value").is_not_null())
        counts = values.group_by("value").agg(pl.len().cast(pl.Int64).alias("count"))
        return most_frequent_first(counts) if self.most_frequent_first else counts


def most_frequent_first(counts: pl.LazyFrame) -> pl.LazyFrame:
    """Counts in the order of their codes: equal ones by value, ascending."""
    return counts.sort("count", "value", descending=[True, False])


@dataclass(frozen=True)
class Grouped:
    """Asks for a frame: each combination of the keys, nulls included, and aggregates of its rows, in no order.

    The aggregates are expressions over `values` by name: `Grouped({"shop": shop}, {"price": price},
    {"sum": pl.col("price").sum()})`.
    """

    keys: Mapping[str, pl.Expr]
    values: Mapping[str, pl.Expr]
    aggregates: Mapping[str, pl.Expr]

    @property
    def reads(self) -> list[pl.Expr]:
        """What it computes of the rows."""
        return [*self.keys.values(), *self.values.values()]

    def of(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """The query that answers it."""
        # Computed first: inside a group_by, an expression that calls Python would be called for each group.
        flat = frame.select(expr.alias(name) for name, expr in {**self.keys, **self.values}.items())
        return flat.group_by(list(self.keys)).agg(expr.alias(name) for name, expr in self.aggregates.items())


@dataclass(frozen=True)
class Log:
    """Asks for a frame of all rows, sorted by its columns in their order: who, when, what."""

    columns: Mapping[str, pl.Expr]

    @property
    def reads(self) -> list[pl.Expr]:
        """What it computes of the rows."""
        return list(self.columns.values())

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

    rows: pl.LazyFrame
    answer: Callable[[pl.LazyFrame], pl.LazyFrame]  # from the rows to the frame
    reads: list[str]  # columns
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
    found = reading(lambda: _run(queries, _num_rows(files)), "Workflow.fit", files)
    answers: list[dict[str, Any]] = [{} for _ in questions]
    for query, frame in zip(queries, found, strict=True):
        if query.is_scalar and frame["rows"].item() == 0:
            raise DataError(
                f"{query.where}: there are no rows to learn from. Check the dataset and the filters before it."
            )
        for column, (i, name) in enumerate(query.takers):
            answers[i][name] = frame[str(column)].item() if query.is_scalar else frame
    return list(answers)


def _run(queries: Sequence[_Query], rows: int | None) -> list[pl.DataFrame]:
    """The queries' frames, with a progress bar over the rows that each of them sees where somebody watches."""
    if not is_watched():
        return collect_all([query.answer(query.rows) for query in queries], rows)
    total = None if rows is None else rows * sum(bool(query.reads) for query in queries)
    with progress("fit", total) as advance:
        return collect_all([query.answer(counted(query.rows, query.reads, advance)) for query in queries], rows)


def _num_rows(files: Sequence[str]) -> int | None:
    """How many rows the files hold, where that is no more than to read footers."""
    return pl.scan_parquet(list(files), glob=False).select(pl.len()).collect().item() if files else None


def _queries(rows: Rows, questions: Sequence[Question], source: pl.LazyFrame) -> Iterator[_Query]:
    """One query for all scalars and the number of rows, and one for each frame asked for, over the same rows."""
    frame = rows.of(source)
    mine = [(i, question) for i, question in enumerate(questions) if question.rows is rows]
    asked = [(i, name, ask) for i, question in mine for name, ask in question.asked.items()]
    scalars = [(i, name, ask) for i, name, ask in asked if isinstance(ask, pl.Expr)]
    select = [ask.alias(str(column)) for column, (_, _, ask) in enumerate(scalars)]
    takers = [(i, name) for i, name, _ in scalars]
    reads, where = _roots(select), mine[0][1].where
    yield _Query(frame, lambda rows: rows.select(*select, pl.len().alias("rows")), reads, takers, where, is_scalar=True)
    for i, name, ask in asked:
        if not isinstance(ask, pl.Expr):
            yield _Query(frame, ask.of, _roots(ask.reads), [(i, name)], questions[i].where)


def _roots(exprs: Iterable[pl.Expr]) -> list[str]:
    return [name for expr in exprs for name in expr.meta.root_names()]
