"""A funnel as plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tamis.recommender.funnel_shown import Row, facts, shown_tables

if TYPE_CHECKING:
    from tamis.recommender.funnel import Funnel


def funnel_text(funnel: Funnel) -> str:
    """Facts, then each table under its heading; values stand with their 95 % intervals."""
    head = ", ".join(f"{name} {value}" for name, value in facts(funnel))
    parts = [f"Funnel: {head}; [95 % intervals by bootstrap over users]"]
    parts += [f"{heading}\n{_table(rows)}" for heading, rows in shown_tables(funnel).items()]
    return "\n\n".join(parts)


def _table(rows: list[Row]) -> str:
    names = list(rows[0])
    cells = [[_cell(row[name]) for name in names] for row in rows]
    numbers = [all(isinstance(row[name], int) for row in rows) for name in names]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    return "\n".join(f"  {_line(line, widths, numbers)}".rstrip() for line in [names, *cells])


def _line(cells: list[str], widths: list[int], numbers: list[bool]) -> str:
    return "  ".join(
        cell.rjust(width) if is_number else cell.ljust(width)
        for cell, width, is_number in zip(cells, widths, numbers, strict=True)
    )


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "" if value is None else str(value)
