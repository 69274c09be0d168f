"""An inspected table on a terminal: a line per column, then what looks wrong."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tamis.data.column_report import ColumnReport
from tamis.data.inspection import Inspection
from tamis.data.moments import as_datetime, unit_of
from tamis.schema import Tags

_BARS = "▁▂▃▄▅▆▇█"
_FEW, _SHOWN, _LETTERS = 20, 3, 24
_RARE = 0.001


def print_inspection(inspection: Inspection, *, width: int | None = None) -> None:
    """The whole report on stdout."""
    console = Console(file=sys.stdout, width=width, highlight=False)
    console.print(_head(inspection))
    console.print(_columns(inspection))
    for finding in inspection.findings:
        where = f"{finding.column}: " if finding.column else ""
        message = finding.message if finding.column else finding.message[:1].upper() + finding.message[1:]
        console.print(Text.assemble(("! ", "bold yellow"), (where, "bold"), f"{message} ", (finding.advice, "dim")))
    if not inspection.findings:
        console.print(Text("Nothing looks wrong.", "green"))


def _head(inspection: Inspection) -> Text:
    sampled = "all of them" if inspection.num_sampled == inspection.num_rows else "a sample of them"
    return Text.assemble(
        (inspection.source, "bold"),
        f": {inspection.num_rows:,} rows, {len(inspection.columns)} columns. ",
        (f"Quantiles and bars are of {sampled} ({inspection.num_sampled:,} rows).", "dim"),
    )


def _columns(inspection: Inspection) -> Table:
    table = Table(show_lines=False, pad_edge=False, box=None, header_style="bold")
    for title, justify in (("column", "left"), ("type", "left"), ("nulls", "right"), ("distinct", "right")):
        table.add_column(title, justify=justify, no_wrap=title == "distinct")  # type: ignore[arg-type]  # two words of rich
    table.add_column("holds", ratio=1)
    table.add_column("tags")
    for report in inspection.columns:
        distinct = f"{'~' if report.is_estimate else ''}{report.num_distinct:,}"
        tags = Text(", ".join(_outer(report.tags))) if report.tags else Text("none", "dim")
        nulls = f"{report.null_share:.1%}" if report.num_nulls else "-"
        table.add_row(
            Text(" ".join(report.name.split()), "bold"),
            Text(_type(report)),
            nulls,
            distinct,
            Text(_holds(report)),
            tags,
        )
    return table


def _outer(tags: tuple[str, ...]) -> list[str]:
    """Without those that a longer tag says already."""
    return [tag for tag in tags if not any(tag != other and tag in other.split("_") for other in tags)]


def _type(report: ColumnReport) -> str:
    short = report.dtype.split("(")[0]
    return f"list[{short}]" if report.is_list else short


def _holds(report: ColumnReport) -> str:
    parts = []
    if report.is_list and report.lengths is not None:
        lengths = report.lengths
        parts.append(f"{lengths.shortest:,} to {lengths.longest:,} values, {lengths.mean:,.1f} on average")
    if report.quantiles and (report.num_distinct > _FEW or report.dtype.startswith("float")) and not _is_code(report):
        parts.append(_range(report))
    elif report.num_distinct == report.num_values and report.num_values > _FEW and not report.is_list:
        parts.append(f"every value once, such as {_short(report.top[0][0])}")
    elif report.top:
        parts.append(_top(report))
    return "; ".join(parts)


def _is_code(report: ColumnReport) -> bool:
    return bool({Tags.CATEGORICAL, Tags.ID} & set(report.tags))


def _range(report: ColumnReport) -> str:
    unit = unit_of(report.quantiles["50%"]) if Tags.TIME in report.tags else None
    ends = [_moment(end, unit) for end in (report.minimum, report.quantiles["50%"], report.maximum)]
    mean = f", mean {_short(report.mean)}" if report.mean is not None and Tags.TIME not in report.tags else ""
    return f"{_bars(report.histogram)} {' .. '.join(ends)}{mean}".strip()


def _moment(value: Any, unit: str | None) -> str:
    """A time as a day, whatever unit it is kept in; one that no calendar holds as it is."""
    try:
        return f"{as_datetime(value, unit):%Y-%m-%d}" if unit else _short(value)
    except OverflowError:
        return _short(value)


def _bars(counts: tuple[int, ...]) -> str:
    highest = max(counts, default=0)
    return "".join(_BARS[min(round(count / highest * 8), 7)] if count else " " for count in counts)


def _top(report: ColumnReport) -> str:
    most = (report.top[0][1] + report.top_missed) / max(report.num_values, 1)
    if most < _RARE:
        return f"no value above {_RARE:.1%}"
    least = "at least " if report.top_missed else ""
    shown = report.top[:_SHOWN]
    values = ", ".join(f"{_short(value)} {count / max(report.num_values, 1):.1%}" for value, count in shown)
    return f"{least}{values}{', ...' if report.num_distinct > len(shown) else ''}"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e6 else f"{value:.3e}"
    text = f"{value}" if isinstance(value, bool) or not isinstance(value, str) else value
    text = " ".join(text.split()) or repr(value)
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"
