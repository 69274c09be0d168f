"""Frames as tables on a terminal."""

from __future__ import annotations

import sys
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table


def print_table(frame: pl.DataFrame, title: str) -> None:
    """A frame as a table on stdout."""
    table = Table(title=title, title_justify="left")
    for name, dtype in frame.schema.items():
        table.add_column(name, justify="right" if dtype.is_numeric() else "left")
    for row in frame.iter_rows():
        table.add_row(*[f"{cell:.4f}" if isinstance(cell, float) else _cell(cell) for cell in row])
    Console(file=sys.stdout).print(table)


def _cell(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
