"""The tables of a funnel as people read them: few columns, values with their intervals in one cell."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import polars as pl

from tamis.recommender.funnel_losses import SERVED, lost_counts
from tamis.recommender.funnel_trace import FUNNEL, POPULARITY, RETRIEVAL

if TYPE_CHECKING:
    from tamis.recommender.funnel import Funnel

Row = dict[str, Any]
_MOST_REASONS = 12


def shown_tables(funnel: Funnel) -> dict[str, list[Row]]:
    """Rows by heading; headings without rows are left out."""
    first = funnel.metrics[0]
    tables = {
        "What each stage keeps": _stages(funnel),
        "What the sources find": _sources(funnel),
        "What the filters deny": funnel.filters.with_columns(pl.col("share").map_elements(_percent, pl.String))
        .rename({"lost": "lost here", "alone": "denied by no other"})
        .to_dicts(),
        "Why relevant items were lost": lost_counts(funnel.lost).head(_MOST_REASONS).to_dicts(),
        "The lists": _across(funnel.systems, "system", "value", funnel.metrics),
        "Better by (same users)": _differences(funnel),
        "The order of the same candidates": _across(funnel.lift, "order", "value", [*funnel.metrics, "gauc", "auc"]),
        "Lift of the order over retrieval's": _across(
            funnel.lift.filter(pl.col("order") != RETRIEVAL), "order", "lift", [*funnel.metrics, "gauc", "auc"]
        ),
        "What better stages could reach": _across(funnel.ceilings, "ceiling", "value", funnel.metrics),
        "What the funnel reaches of it": _across(funnel.ceilings, "ceiling", "reached", funnel.metrics, as_share=True),
        f"Parts, {first}": _slices(funnel, first),
    }
    return {heading: rows for heading, rows in tables.items() if rows}


def facts(funnel: Funnel) -> list[tuple[str, str]]:
    """What the numbers are about."""
    found = [
        ("users", f"{funnel.num_users:,}"),
        ("relevant items", f"{funnel.num_relevant:,}"),
        ("length of the lists", f"{funnel.k:,}"),
        ("held-out rows", f"{funnel.num_rows:,}"),
    ]
    if funnel.num_unknown_rows:
        found.append(("rows of unknown users", f"{funnel.num_unknown_rows:,}"))
    if funnel.num_seen_items:
        found.append(("not counted, met before", f"{funnel.num_seen_items:,}"))
    return found


def lost_in_words(row: Row) -> str:
    """What one row of the stages lost and gained."""
    parts = [f"{row['lost']:,} {row['loss']}"] if row["loss"] and row["lost"] else []
    parts += [f"{row['gained']:,} moved in"] if row["gained"] else []
    return ", ".join(parts)


def _stages(funnel: Funnel) -> list[Row]:
    return [
        {
            "stage": row["stage"],
            "items": row["items"],
            "share": _percent(row["share"]),
            "lost on the way": lost_in_words(row),
            "share per user": _estimate(row, "recall"),
        }
        for row in funnel.stages.to_dicts()
    ]


def _sources(funnel: Funnel) -> list[Row]:
    return [
        {
            "source": row["source"],
            "candidates": "" if row["candidates"] is None else f"{row['candidates']:,}",
            "items": row["items"],
            "recall": _estimate(row, "recall"),
            "found by no other": row["alone"],
            "recall by no other": _estimate(row, "alone_recall"),
        }
        for row in funnel.sources.to_dicts()
    ]


def _across(table: pl.DataFrame, key: str, name: str, metrics: Iterable[str], *, as_share: bool = False) -> list[Row]:
    """One row per key, one column per metric."""
    rows: dict[str, Row] = {}
    for row in table.to_dicts():
        rows.setdefault(row[key], {key: row[key]})[row["metric"]] = _estimate(row, name, as_share=as_share)
    return [{key: row[key], **{metric: row.get(metric, "") for metric in metrics}} for row in rows.values()]


def _differences(funnel: Funnel) -> list[Row]:
    table = funnel.differences.with_columns(contest=pl.format("{} - {}", "system", "against"))
    return _across(table, "contest", "difference", funnel.metrics)


def _slices(funnel: Funnel, metric: str) -> list[Row]:
    return [
        {
            "part": row["slice"],
            "value": row["value"],
            "users": row["users"],
            "items": row["items"],
            SERVED: row[SERVED],
            "retrieved per user": _estimate(row, "recall"),
            POPULARITY: _number(row[POPULARITY]),
            RETRIEVAL: _number(row[RETRIEVAL]),
            FUNNEL: _estimate(row, FUNNEL),
            "funnel - retrieval": _estimate(row, "lift"),
        }
        for row in funnel.slices.filter(pl.col("metric") == metric).to_dicts()
    ]


def _estimate(row: Row, name: str, *, as_share: bool = False) -> str:
    """A value with its interval; the ends are called as the value, but for a plain `value`."""
    first = "" if name == "value" else f"{name}_"
    value, low, high = row[name], row[f"{first}low"], row[f"{first}high"]
    shown = _percent if as_share else _number
    if value is None or math.isnan(value):
        return ""
    return shown(value) if low is None or math.isnan(low) else f"{shown(value)} [{shown(low)}, {shown(high)}]"


def _number(value: float) -> str:
    return f"{value:.4f}"


def _percent(value: float) -> str:
    return f"{value:.1%}"
