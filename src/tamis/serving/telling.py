"""Answers in raw ids and plain values, as JSON holds them; on demand with what they were made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from tamis.errors import SettingError, TamisError, UnknownColumnError
from tamis.recommender.candidates import Candidates
from tamis.recommender.id_rows import Rows
from tamis.recommender.recommender import Recommender
from tamis.recommender.row_values import PLAIN
from tamis.serving.answering import Answered
from tamis.serving.asked_users import AskedUser
from tamis.serving.live_version import LiveVersion

_FEW = 100


def lists_told(
    version: LiveVersion, users: Sequence[AskedUser], answered: Answered, show: Sequence[str], *, explain: bool
) -> list[dict[str, Any]]:
    """One entry per user: the items, best first, and why there are none.

    Raises:
        SettingError: there are no item columns to show.
        UnknownColumnError: the items do not have one of `show`.
    """
    check_show(version.recommender, show)
    told = []
    for query, user in enumerate(users):
        row = int(answered.queries.users[query])
        entry: dict[str, Any] = {
            "user": user.id,
            "known": row >= 0,
            "version": version.name,
            "items": items_told(version.recommender, answered.lists, query, show, explain=explain),
        }
        if not entry["items"]:
            entry["reason"] = answered.allowed.reason(query) or "no source has a candidate that the filters let pass"
        if explain:
            entry["explanation"] = _explanation(version.recommender, answered, query)
        told.append(entry)
    return told


def items_told(
    recommender: Recommender, lists: Candidates, query: int, show: Sequence[str], *, explain: bool = False
) -> list[dict[str, Any]]:
    """The items of one list with their scores."""
    rows = lists.items[query]
    places: Any = slice(None)
    if len(rows) and rows[-1] < 0:  # lists end with empty places
        places = np.flatnonzero(rows >= 0)
        rows = rows[places]
    names = recommender.source_names
    ids = _values(recommender.catalogue.ids, rows)
    columns = {name: _values(recommender.catalogue.columns[name], rows) for name in show}
    features = _decoded(recommender, recommender.catalogue.features[rows]) if explain else None
    ranking = None if lists.ranking is None else lists.ranking[query, places].tolist()
    scores, retrieval = lists.scores[query, places].tolist(), lists.retrieval[query, places].tolist()
    found_by = lists.found_by[query, places].tolist()
    sources = {bits: _sources(names, bits) for bits in set(found_by)}
    told = []
    for number, item in enumerate(ids):
        entry: dict[str, Any] = {
            "id": item,
            "rank": number + 1,
            "score": _number(scores[number]),
            "retrieval_score": _number(retrieval[number]),
            "sources": sources[found_by[number]],
        }
        if ranking is not None:
            entry["ranking"] = dict(zip(recommender.targets, map(_number, ranking[number]), strict=True))
        if show:
            entry["columns"] = {name: plain(values[number]) for name, values in columns.items()}
        if features is not None:
            entry["features"] = {name: plain(values[number]) for name, values in features.items()}
        told.append(entry)
    return told


def _values(column: pl.Series, rows: Rows) -> list[Any]:
    """Numbers out of the column's own memory, others one by one where there are few: gathering costs more than ten."""
    if column.dtype in PLAIN and column.n_chunks() == 1 and not column.null_count():
        found: list[Any] = column.to_numpy()[rows].tolist()
        return found
    return [column[row] for row in rows.tolist()] if len(rows) <= _FEW else column.gather(rows).to_list()


def check_show(recommender: Recommender, show: Sequence[str]) -> None:
    """Refuse columns that the items do not have.

    Raises:
        SettingError: there are no item columns at all.
        UnknownColumnError: names the nearest.
    """
    if not show:
        return
    known = recommender.catalogue.columns.columns
    if not known:
        raise SettingError("show: the bundle has no item columns to show. Fit the recommender with `items`.")
    for name in show:
        if name not in known:
            raise UnknownColumnError(name, known, where="show")


def _explanation(recommender: Recommender, answered: Answered, query: int) -> dict[str, Any]:
    """The stages of one list: what the features were, what the filters left, how many candidates went on."""
    for_all = answered.allowed.for_all
    features = None
    if answered.queries.has_features[query]:
        row = _decoded(recommender, answered.queries.features[[query]])
        features = {name: plain(values[0]) for name, values in row.items()}
    return {
        "features": features,
        "num_seen": len(answered.queries.seen[query]),
        "filters": {
            "on_offer": for_all.num_offered,
            "left": for_all.num_left,
            "leave_each": dict(for_all.left),
            "take_out": {name: int(counts[query]) for name, counts in answered.allowed.excluded.items()},
        },
        "num_candidates": answered.num_candidates,
        "num_ranked": answered.num_ranked,
        "ordering": [repr(step) for step in recommender.ordering] or ["ByScore()"],
    }


def _decoded(recommender: Recommender, frame: pl.DataFrame) -> Mapping[str, list[Any]]:
    """Encoded columns with raw values in place of codes, where codes stand for values."""
    return {name: _raw(recommender, frame[name]) for name in frame.columns}


def _raw(recommender: Recommender, column: pl.Series) -> list[Any]:
    flat = column.explode() if column.dtype == pl.List else column
    if not flat.dtype.is_integer():
        return column.to_list()
    try:
        values = recommender.workflow.decode(column.name, flat).to_list()
    except TamisError:  # a number that is no code, or whose op keeps no vocabulary
        return column.to_list()
    if column.dtype != pl.List:
        return values
    table = dict(zip(flat.to_list(), values, strict=True))
    return [None if one is None else [table[code] for code in one] for one in column.to_list()]


def plain(value: Any) -> Any:
    """A value as JSON can hold it: no NaN, no arrays."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | pl.Series):
        return [plain(one) for one in value]
    if isinstance(value, str | int | bool) or value is None:
        return value
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    return str(value)


def _number(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _sources(names: Sequence[str], bits: int) -> list[str]:
    return [name for i, name in enumerate(names) if bits >> i & 1]
