"""What a demo leaves behind for people: ten items for each of three users, figures, a report, what to type next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from tamis.evaluation.funnel_chart import FunnelStage, funnel_chart
from tamis.evaluation.metrics import NDCGAt, RecallAt
from tamis.evaluation.report import report_page, write_page
from tamis.journey.console import Say, print_recommended
from tamis.recommender.funnel import Funnel
from tamis.recommender.funnel_shown import lost_in_words
from tamis.recommender.recommender import Recommender
from tamis.training.history import History

METRICS = (NDCGAt(10), RecallAt(10))
FUNNEL_TITLE = "From what users took to what they were shown"
_BESIDE = ("popularity", "retrieval", "oracle")


def figures(funnel: Funnel) -> dict[str, float]:
    """The metrics of what is served by name, those of each other system behind its name, and the number of users."""
    beside = _there(funnel)
    found = {name: funnel[name] for name in funnel.metrics}
    found |= {f"{one}_{name}": funnel.value(one, name).value for one in beside for name in funnel.metrics}
    return {**found, "num_users": float(funnel.num_users)}


def _there(funnel: Funnel) -> list[str]:
    known = [*funnel.systems["system"], *funnel.ceilings["ceiling"]]
    return [name for name in _BESIDE if name in known]


def show_lists(recommender: Recommender, users: Sequence[Any], columns: Sequence[str]) -> dict[str, pl.DataFrame]:
    """Print ten items for each of the users, with the scores of both stages; the tables by their titles."""
    found = recommender.recommend(users, 10, show=columns)
    tables = {}
    for user in users:
        one = found.filter(pl.col(recommender.user_id) == user).drop(recommender.user_id, "sources")
        tables[f"Ten items for user {user}"] = one
        print_recommended(one, f"Ten items for user {user}")
    return tables


def write_demo_report(
    folder: Path,
    title: str,
    funnel: Funnel,
    *,
    histories: Mapping[str, History],
    facts: Sequence[tuple[str, str]],
    tables: Mapping[str, pl.DataFrame],
) -> None:
    """Write `report.html`, and the whole funnel as `funnel.html` and `funnel.json`."""
    curves = {
        f"{which} {name}": values
        for which, history in histories.items()
        for name, values in history.history.items()
        if "popularity_" not in name and "groups_left_out" not in name
    }
    bars = {
        name: {one: funnel.value(one, name).value for one in ("funnel", *_there(funnel))} for name in funnel.metrics
    }
    page = report_page(
        title,
        history=curves,
        bars=bars,
        facts=facts,
        tables=tables,
        pictures={FUNNEL_TITLE: funnel_picture(funnel)},
    )
    write_page(folder / "report.html", page)
    funnel.to_html(folder / "funnel.html")
    funnel.to_json(folder / "funnel.json")


def funnel_picture(funnel: Funnel) -> str:
    """The funnel as an SVG."""
    return funnel_chart(
        [FunnelStage(row["stage"], row["items"], lost_in_words(row)) for row in funnel.stages.to_dicts()]
    )


def goodbye(output: Path, user: Any, say: Say, *, show: str, held_out: str = "") -> None:
    """Say what was written and what to type next."""
    name = str(output).rstrip("/")
    say(f"Wrote {name}: the recommender, both models, metrics.json, report.html and funnel.html. Next:")
    say(f"  open {name}/report.html")
    say(f"  tamis recommend {name} --user {user} --k 5 --show {show}")
    if held_out:
        say(f"  tamis funnel {name} {name}/{held_out} --include-seen")
    say(f"  tamis serve {name}   # with tamis[serve]; then http://127.0.0.1:8000 is a page to look at")
