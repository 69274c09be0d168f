"""A run as one HTML page that needs nothing else: facts, metric bars, training curves, tables."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tamis.evaluation.charts import bar_chart, figure, legend, line_chart, reliability_chart

_VALIDATION = ("validation_", "val_")
_LINES = {"training": 0, "validation": 3}
_STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --text: #1c2430; --soft: #5d6877; --edge: #e2e6ec;
  --c0: #2563eb; --c1: #94a0b0; --c2: #0d9373; --c3: #c2570c; --c4: #8b3fd1; --c5: #b8860b; }
@media (prefers-color-scheme: dark) { :root { --page: #10151c; --card: #19202a; --text: #e7ebf1; --soft: #9aa6b5;
  --edge: #2c3541; --c0: #6ea2ff; --c1: #77849a; --c2: #35c79f; --c3: #f39a52; --c4: #c08bf5; --c5: #e2b93d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0 0 24px; letter-spacing: -.01em; }
h2 { font-size: 1.15rem; margin: 40px 0 12px; }
h3 { font-size: .95rem; margin: 0 0 8px; font-weight: 600; overflow-wrap: anywhere; }
.card { background: var(--card); border: 1px solid var(--edge); border-radius: 10px; padding: 18px 20px; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); gap: 16px 28px; margin: 0; }
.facts dt { color: var(--soft); font-size: .82rem; }
.facts dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.grid-of-cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 420px), 1fr)); gap: 16px; }
figure { margin: 0; }
svg { display: block; width: 100%; height: auto; font: inherit; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 0; margin: 0 0 10px;
  color: var(--soft); font-size: .88rem; }
.swatch { display: inline-block; width: .75em; height: .75em; border-radius: 3px; margin-right: .5em; }
.grid { stroke: var(--edge); stroke-width: 1; }
.tick, .axis { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
.label { fill: var(--text); font-size: 13px; }
.value { fill: var(--text); font-size: 13px; font-weight: 600; font-variant-numeric: tabular-nums; }
.line { fill: none; stroke-width: 2.25; stroke-linejoin: round; stroke-linecap: round; }
circle:hover { stroke: var(--text); stroke-width: 2; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th { color: var(--soft); font-weight: 600; text-align: left; white-space: nowrap; }
th, td { padding: 7px 28px 7px 0; border-bottom: 1px solid var(--edge); vertical-align: top; }
tr:last-child td { border-bottom: 0; }
.number { text-align: right; white-space: nowrap; }
@media print { body { background: none; } .card { break-inside: avoid; } }
"""
_COLOURS = "".join(
    f".fill-{n} {{ fill: var(--c{n}); }} .line-{n} {{ stroke: var(--c{n}); }} "
    f".back-{n} {{ background: var(--c{n}); }}\n"
    for n in range(6)
)


def write_report(
    path: str | Path,
    title: str,
    *,
    history: Mapping[str, Sequence[float]] | None = None,
    bars: Mapping[str, Mapping[str, float]] | None = None,
    facts: Iterable[tuple[str, object]] = (),
    tables: Mapping[str, Any] | None = None,
    reliability: Mapping[str, Any] | None = None,
) -> Path:
    """Write one self-contained HTML file and give its path. The same arguments give the same bytes.

    Args:
        path: the file to write or replace; folders are made.
        title: heading of the page; what follows is explained at `report_page`.
    """
    page = report_page(title, history=history, bars=bars, facts=facts, tables=tables, reliability=reliability)
    return write_page(path, page)


def report_page(
    title: str,
    *,
    history: Mapping[str, Sequence[float]] | None = None,
    bars: Mapping[str, Mapping[str, float]] | None = None,
    facts: Iterable[tuple[str, object]] = (),
    tables: Mapping[str, Any] | None = None,
    reliability: Mapping[str, Any] | None = None,
    pictures: Mapping[str, str] | None = None,
) -> str:
    """One HTML page that needs nothing else; the same arguments give the same text.

    Sections without content are left out. The page follows the reader's light or dark setting.

    Args:
        title: heading of the page.
        history: values per epoch by name, as `History.history`; `val_loss` or `validation_loss` is drawn with `loss`.
        bars: for each metric the value of each model, for example of the model, popularity and the oracle.
        facts: names and values shown at the top.
        tables: for each heading the rows: a Polars frame, or a list of dicts with the same keys.
        reliability: for each heading what a ranking model's `reliability` found for one target.
        pictures: for each heading an SVG, as the functions of `charts` draw it.
    """
    body = "".join(
        (
            f"<h1>{html.escape(title)}</h1>",
            _facts(list(facts)),
            *(_section(name, f'<figure class="card">{svg}</figure>\n') for name, svg in (pictures or {}).items()),
            _section("Metrics", _bars(bars or {})),
            _section("Training", _curves(history or {})),
            _section("Reliability", _reliability(reliability or {})),
            *(_section(name, _table(rows)) for name, rows in (tables or {}).items()),
        )
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}{_COLOURS}</style>\n</head>\n"
        f"<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def write_page(path: str | Path, page: str) -> Path:
    """Write or replace the file at once, and make its folders; gives its path."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text(page, encoding="utf-8")
    os.replace(fresh, file)  # noqa: PTH105  (one step: a reader sees the old page or the new one)
    return file


def _section(heading: str, content: str) -> str:
    return f"<section>\n<h2>{html.escape(heading)}</h2>\n{content}</section>\n" if content else ""


def _facts(facts: Sequence[tuple[str, object]]) -> str:
    if not facts:
        return ""
    items = (f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(_cell(value))}</dd></div>" for name, value in facts)
    return f'<dl class="card facts">{"".join(items)}</dl>\n'


def _bars(bars: Mapping[str, Mapping[str, float]]) -> str:
    models = dict.fromkeys(model for values in bars.values() for model in values)
    colours = {model: number for number, model in enumerate(models)}
    cards = [_card(metric, bar_chart(metric, values, colours)) for metric, values in bars.items() if values]
    return f'{legend(colours)}<div class="grid-of-cards">{"".join(cards)}</div>\n' if cards else ""


def _reliability(tables: Mapping[str, Any]) -> str:
    found = {name: table.select("score", "rate", "rows").rows() for name, table in tables.items()}
    cards = [
        _card(name, reliability_chart(name, bins, colour)) for colour, (name, bins) in enumerate(found.items()) if bins
    ]
    return f'<div class="grid-of-cards">{"".join(cards)}</div>\n' if cards else ""


def _curves(history: Mapping[str, Sequence[float]]) -> str:
    cards = [_card(name, line_chart(name, series, _LINES)) for name, series in _curves_of(history).items()]
    return legend(_LINES) + f'<div class="grid-of-cards">{"".join(cards)}</div>\n' if cards else ""


def _curves_of(history: Mapping[str, Sequence[float]]) -> dict[str, dict[str, list[float]]]:
    """Charts with their lines: a validation value joins the training value of the same name."""
    charts: dict[str, dict[str, list[float]]] = {}
    for name, values in history.items():
        numbers = [float(value) for value in values]
        if name == "epoch" or not any(map(math.isfinite, numbers)):
            continue
        prefix = next((prefix for prefix in _VALIDATION if name.startswith(prefix)), "")
        charts.setdefault(name.removeprefix(prefix), {})["validation" if prefix else "training"] = numbers
    return charts


def _card(heading: str, content: str) -> str:
    return f'<figure class="card"><h3>{html.escape(heading)}</h3>{content}</figure>\n'


def _table(rows: Any) -> str:
    rows = rows.to_dicts() if hasattr(rows, "to_dicts") else list(rows)
    if not rows:
        return ""
    columns = list(rows[0])
    numbers = {column for column in columns if all(_is_number(row[column]) for row in rows)}
    head = "".join(f"<th{_class(column, numbers)}>{html.escape(column)}</th>" for column in columns)
    lines = (
        "".join(f"<td{_class(column, numbers)}>{html.escape(_cell(row[column]))}</td>" for column in columns)
        for row in rows
    )
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return f'<div class="card scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>\n'


def _class(column: str, numbers: set[str]) -> str:
    return ' class="number"' if column in numbers else ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return figure(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    return str(value)
