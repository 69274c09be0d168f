"""The funnel: what every stage of a recommender keeps and loses of what users took later."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tamis.errors import UnknownNameError
from tamis.evaluation.bootstrap import Bootstrap, Estimate
from tamis.recommender.funnel_losses import lost_counts
from tamis.recommender.funnel_rivals import Rival, rival_values
from tamis.recommender.funnel_tables import Draws
from tamis.recommender.funnel_trace import FUNNEL

_TABLES = ("stages", "sources", "filters", "lift", "systems", "differences", "ceilings", "slices")


@dataclass(frozen=True, repr=False)
class Funnel:
    """What each stage keeps and loses, with 95 % intervals by bootstrap over users. `print` it, or ask for its tables.

    An item that a user took later is relevant. It is served, or lost at one stage: outside the catalogue, filtered, not
    retrieved, ranked below k, moved out by the ordering. Systems are `"popularity"` (the most popular items behind the
    same filters), `"retrieval"` (the first stage's own order), `"ranker"` (the candidates by score) and `"funnel"`,
    what is served.

    Args:
        k: length of the lists.
        num_users: users with at least one relevant item.
        num_relevant: their relevant items.
        num_rows: held-out rows that count.
        num_unknown_rows: of these, rows of users that are not known and have no features.
        num_seen_items: items that are not relevant, since their user had met them before.
        stages: what comes through each stage, and how many relevant items were lost on the way there.
        sources: what each source finds at its quota, and what it alone finds.
        filters: relevant items that each filter denies, is the first to deny (`lost`), and alone denies.
        lift: the orders of the same candidates; only what was found counts as relevant there.
        systems: what each system's lists are worth to the end.
        differences: between two systems, user by user.
        ceilings: the true order of the same candidates (`"oracle_ranker"`), relevant candidates first
            (`"perfect_ranker"`), everything that the filters leave put before this ranker (`"perfect_retrieval"`), the
            oracle's lists (`"oracle"`), and relevant items first of all that the filters leave (`"perfect"`); and what
            the funnel reaches of them.
        slices: parts of users and items by themselves.
        lost: one row per lost item with its user, the stage, how it was lost, and its places.
        users: raw ids of the judged users and each one's value of each system and metric.
        relevant: raw ids of users and their relevant items.
        metrics: names of what is measured, the first one first.
        draws: how intervals are drawn.
    """

    k: int
    num_users: int
    num_relevant: int
    num_rows: int
    num_unknown_rows: int
    num_seen_items: int
    stages: pl.DataFrame
    sources: pl.DataFrame
    filters: pl.DataFrame
    lift: pl.DataFrame
    systems: pl.DataFrame
    differences: pl.DataFrame
    ceilings: pl.DataFrame
    slices: pl.DataFrame
    lost: pl.DataFrame
    users: pl.DataFrame
    relevant: pl.DataFrame
    metrics: Sequence[str]
    draws: Draws

    def __getitem__(self, metric: str) -> float:
        """A metric of the lists that are served."""
        return self.value(FUNNEL, metric).value

    def value(self, system: str, metric: str) -> Estimate:
        """A metric of a system or ceiling, with its interval."""
        return self._drawn(system, metric=metric).mean(system)

    def difference(self, system: str, against: str, metric: str) -> Estimate:
        """How much better the first is than the second, user by user, with its interval."""
        return self._drawn(system, against, metric=metric).difference(system, against)

    def _drawn(self, *systems: str, metric: str) -> Bootstrap:
        known = list(dict.fromkeys([*self.systems["system"], *self.ceilings["ceiling"]]))
        for system in systems:
            if system not in known:
                raise UnknownNameError(system, known, where="Funnel", what="system")
        if metric not in self.metrics:
            raise UnknownNameError(metric, self.metrics, where="Funnel", what="metric")
        return self.draws.of({system: self.users[value_column(system, metric)] for system in systems})

    def compare(self, systems: Mapping[str, Rival]) -> pl.DataFrame:
        """Other systems on the same users and items: their metrics, and by how much the funnel is better than each.

        Args:
            systems: by name, lists of raw item ids by raw user id, best first; or a frame of users and items in the
                order of the lists, as `recommend` gives it, in which a missing user has an empty list; or another
                `Funnel` with the same metrics: then only users count that both judged.

        Raises:
            SettingError: a mapping without one of the users, a frame without the columns, no user in common.
        """
        rows = []
        for name, rival in systems.items():
            kept, values = rival_values(self, name, rival)
            own = {("own", metric): self.users[value_column(FUNNEL, metric)].gather(kept) for metric in self.metrics}
            drawn = self.draws.of({**own, **{("rival", metric): found for metric, found in values.items()}})
            for metric in self.metrics:
                value, better = drawn.mean(("rival", metric)), drawn.difference(("own", metric), ("rival", metric))
                row = {"system": name, "users": len(kept), "metric": metric}
                row |= {"value": value.value, "low": value.low, "high": value.high}
                ends = (better.value, better.low, better.high)
                rows.append(row | dict(zip(("funnel_better", "better_low", "better_high"), ends, strict=True)))
        return pl.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """All but single users and items, as JSON can hold it: tables as lists of rows, NaN as None."""
        counts = {
            name: getattr(self, name)
            for name in ("k", "num_users", "num_relevant", "num_rows", "num_unknown_rows", "num_seen_items")
        }
        tables = {name: _plain(getattr(self, name)) for name in _TABLES}
        lost = _plain(lost_counts(self.lost))
        return {**counts, "metrics": list(self.metrics), **tables, "lost": lost}

    def to_json(self, path: str | Path) -> Path:
        """Write `to_dict` as a JSON file; gives its path."""
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        file.write_text(f"{text}\n", encoding="utf-8")
        return file

    def to_html(self, path: str | Path, *, title: str = "The funnel") -> Path:
        """Write one page with a picture of the funnel and all tables, that needs nothing else; gives its path."""
        from tamis.recommender.funnel_page import write_funnel_page

        return write_funnel_page(self, path, title)

    def __repr__(self) -> str:
        from tamis.recommender.funnel_text import funnel_text

        return funnel_text(self)

    def _repr_html_(self) -> str:
        from tamis.recommender.funnel_page import funnel_page

        page = html.escape(funnel_page(self, "The funnel"))
        return f'<iframe title="The funnel" srcdoc="{page}" style="width: 100%; height: 900px; border: 0"></iframe>'


def value_column(system: str, metric: str) -> str:
    """The column of `Funnel.users` with a system's values of a metric."""
    return f"{system}: {metric}"


def _plain(table: pl.DataFrame) -> list[dict[str, Any]]:
    return [
        {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()}
        for row in table.to_dicts()
    ]
