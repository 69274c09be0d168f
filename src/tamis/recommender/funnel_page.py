"""A funnel as one HTML page: the picture, then the tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tamis.evaluation.funnel_chart import FunnelStage, funnel_chart
from tamis.evaluation.report import report_page, write_page
from tamis.recommender.funnel_shown import facts, lost_in_words, shown_tables

if TYPE_CHECKING:
    from tamis.recommender.funnel import Funnel


def write_funnel_page(funnel: Funnel, path: str | Path, title: str) -> Path:
    """Write or replace the file; gives its path."""
    return write_page(path, funnel_page(funnel, title))


def funnel_page(funnel: Funnel, title: str) -> str:
    """The page as text; it needs nothing else."""
    stages = [FunnelStage(row["stage"], row["items"], lost_in_words(row)) for row in funnel.stages.to_dicts()]
    values = {(row["system"], row["metric"]): row["value"] for row in funnel.systems.to_dicts()}
    systems = funnel.systems["system"].unique(maintain_order=True).to_list()
    return report_page(
        title,
        facts=[*facts(funnel), ("in brackets", "95 % intervals, bootstrap over users")],
        pictures={"From what users took to what they were shown": funnel_chart(stages)},
        bars={metric: {system: values[system, metric] for system in systems} for metric in funnel.metrics},
        tables=shown_tables(funnel),
    )
