"""What people see on a terminal: a line per stage, frames as tables."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, TypeAlias

import polars as pl
from rich.console import Console
from rich.table import Table
from rich.text import Text

Say: TypeAlias = Callable[[str], None]
Tell: TypeAlias = Callable[..., None]


@contextmanager
def stage(say: Say, title: str, *, unit: str = "rows") -> Iterator[Tell]:
    """Says what a stage did, how long it took and at what rate; the yielded function takes the words and the count."""
    start = time.perf_counter()
    told: list[tuple[str, float]] = []
    yield lambda words, count=0: told.append((words, count))
    seconds = time.perf_counter() - start
    for words, count in told:
        rate = f", {count / seconds:,.0f} {unit}/s" if count else ""
        say(f"{title:<10} {words} ({seconds:.1f} s{rate})")


def print_table(frame: pl.DataFrame, title: str, *, file: TextIO | None = None) -> None:
    """A frame as a table, on stdout unless a file is given."""
    table = Table(title=Text(title), title_justify="left")
    for name, dtype in frame.schema.items():
        table.add_column(Text(name), justify="right" if dtype.is_numeric() else "left")
    for row in frame.iter_rows():
        table.add_row(*map(_cell, row))
    Console(file=file or sys.stdout).print(table)


def print_recommended(frame: pl.DataFrame, title: str) -> None:
    """Recommended items as a table, without columns that repeat the score."""
    repeated = [
        name
        for name in frame.columns
        if name.startswith(("retrieval_score", "ranker_")) and frame[name].equals(frame["score"].alias(name))
    ]
    print_table(frame.drop(repeated), title)


def _cell(value: Any) -> Text:
    """As Text, in which a title such as "[Rec] :) " is no markup."""
    if isinstance(value, float):
        return Text(f"{value:.4f}")
    return Text(", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value))
