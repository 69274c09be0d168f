"""Whether two lists are the same list, on machines that round differently."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from tamis.recommender.answer import RANKER

if TYPE_CHECKING:
    from tamis.recommender.recommender import Recommender

_RELATIVE = 1e-4  # of the largest number of a column: what different kernels make of float32
_ONE_RANK = 0.02  # 1 / 61 against 1 / 62: what a neighbour's place in one source makes of a reciprocal rank
_PLACES = 2  # how far items that tie may have moved


def tolerances(recommender: Recommender, answer: pl.DataFrame) -> dict[str, float]:
    """By how much each column's numbers may differ: one part in 10,000 of the largest number in the list.

    Where the blend is made of ranks, two of the hundred: two neighbours that tie in one source may change places.
    """
    names = ["score", "retrieval_score", *(name for name in answer.columns if name.startswith(RANKER))]
    by_rank = len(recommender.sources) > 1 and recommender.blend == "reciprocal_rank"
    coarse = {"retrieval_score"} | ({"score"} if recommender.ranker is None else set())
    return {name: (_ONE_RANK if by_rank and name in coarse else _RELATIVE) * _largest(answer[name]) for name in names}


def _largest(column: pl.Series) -> float:
    values = column.drop_nulls()
    finite = values.filter(values.is_finite()).abs().max()
    return float(finite or 0.0)  # type: ignore[arg-type]


def difference(old: pl.DataFrame, new: pl.DataFrame, item: str, tolerance: Mapping[str, float]) -> str | None:
    """In words, where the new list differs from the old one; None where it does not.

    Args:
        old: best first.
        new: best first.
        item: the column of the item ids.
        tolerance: by how much the numbers of each column may differ.
    """
    if len(old) != len(new):
        return f"the list has {len(new)} items, but had {len(old)}"
    if old.columns != new.columns:
        return f"the columns are {new.columns}, but were {old.columns}"
    place, before = _places(new, item), _places(old, item)
    for here, (then, now) in enumerate(zip(_rows(old), _rows(new), strict=True)):
        if then[item] != now[item]:
            ties = _near(then["score"], now["score"], tolerance["score"])
            near = all(_is_near(at.get(row[item]), here, len(old)) for at, row in ((place, then), (before, now)))
            if not (ties and near):
                return f"rank {here + 1} holds {_told(now, item)}, but held {_told(then, item)}"
    return _other_values(old, new, item, tolerance)


def _other_values(old: pl.DataFrame, new: pl.DataFrame, item: str, tolerance: Mapping[str, float]) -> str | None:
    """What is said otherwise of the items that both lists hold."""
    now = {row[item]: row for row in _rows(new)}
    for then in (row for row in _rows(old) if row[item] in now):
        other = now[then[item]]
        for name, value in then.items():
            if name not in ("rank", item) and not _same(value, other[name], tolerance.get(name)):
                what = f"the {name} of item {then[item]!r} at rank {then['rank']}"
                return f"{what} is {_number(other[name])}, but was {_number(value)}"
    return None


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return frame.to_dicts()


def _places(frame: pl.DataFrame, item: str) -> dict[Any, int]:
    return {one: place for place, one in enumerate(frame[item].to_list())}


def _is_near(place: int | None, here: int, length: int) -> bool:
    """Whether an item moved no further than ties explain; it may have left the list at its end."""
    return abs((length if place is None else place) - here) <= _PLACES


def _same(then: Any, now: Any, tolerance: float | None) -> bool:
    return bool(then == now) if tolerance is None else _near(then, now, tolerance)


def _near(then: float | None, now: float | None, tolerance: float) -> bool:
    if then is None or now is None:
        return then is now
    return then == now or abs(then - now) <= tolerance or (math.isnan(then) and math.isnan(now))


def _told(row: Mapping[str, Any], item: str) -> str:
    return f"item {row[item]!r} with the score {_number(row['score'])}"


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)
