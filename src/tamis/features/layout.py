"""Where the boxes of a graph go: one level under the other, few crossings, arrows around the boxes between.

Source: Sugiyama, Tagawa and Toda, Methods for Visual Understanding of Hierarchical System Structures, 1981, in short.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean

_GAP, _BETWEEN_LEVELS, _BEND, _SWEEPS = 18.0, 38.0, 6.0, 6


@dataclass(frozen=True)
class Placed:
    """The boxes' upper left corners, the arrows as points to pass through, and the size of it all, in pixels."""

    corners: list[tuple[float, float]]
    arrows: list[list[tuple[float, float]]]
    width: float
    height: float


@dataclass
class _Spot:
    """A box, or a bend of an arrow that passes a level."""

    width: float
    height: float
    level: int
    above: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)
    centre: float = 0.0
    top: float = 0.0
    floor: float = 0.0  # where the tallest box of its level ends


def layout(sizes: Sequence[tuple[float, float]], before: Sequence[Sequence[int]]) -> Placed:
    """Place boxes of these widths and heights; `before` has, for each box, those that it comes after, all earlier."""
    spots = [_Spot(*size, level) for size, level in zip(sizes, _levels(before), strict=True)]
    routes = [_route(spots, one, i) for i, boxes in enumerate(before) for one in boxes]
    levels: list[list[int]] = [[] for _ in range(1 + max((spot.level for spot in spots), default=-1))]
    for i, spot in enumerate(spots):
        levels[spot.level].append(i)
    _arrange(spots, levels)
    left = min((spot.centre - spot.width / 2 for spot in spots), default=0.0)
    top = 0.0
    for level in levels:
        height = max(spots[i].height for i in level)
        for i in level:
            spots[i].top, spots[i].centre = top, spots[i].centre - left
            spots[i].floor = top + height
        top += height + _BETWEEN_LEVELS
    return Placed(
        [(spot.centre - spot.width / 2, spot.top) for spot in spots[: len(sizes)]],
        [_points([spots[i] for i in route]) for route in routes],
        max((spot.centre + spot.width / 2 for spot in spots), default=0.0),
        max(top - _BETWEEN_LEVELS, 0.0),
    )


def _levels(before: Sequence[Sequence[int]]) -> list[int]:
    """One below the lowest box before it; a box with none before it stands right above the first after it."""
    levels: list[int] = []
    for boxes in before:
        levels.append(1 + max((levels[one] for one in boxes), default=-1))
    for i, boxes in enumerate(before):
        after = [levels[j] for j, others in enumerate(before) if i in others]
        if not boxes and after:
            levels[i] = min(after) - 1
    return levels


def _route(spots: list[_Spot], start: int, end: int) -> list[int]:
    """The spots of an arrow, with a new bend on each level between its ends."""
    route = [start]
    for level in range(spots[start].level + 1, spots[end].level):
        route.append(len(spots))
        spots.append(_Spot(_BEND, 0.0, level))
    route.append(end)
    for upper, lower in pairwise(route):
        spots[upper].below.append(lower)
        spots[lower].above.append(upper)
    return route


def _arrange(spots: list[_Spot], levels: list[list[int]]) -> None:
    """Move each level's spots towards the middle of their neighbours, downwards and upwards in turn."""
    for level in levels:
        _spread(spots, level, [0.0] * len(level))
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for level in levels if down else reversed(levels):
            wanted = {i: _middle(spots, spots[i].above if down else spots[i].below, spots[i].centre) for i in level}
            level.sort(key=wanted.__getitem__)
            _spread(spots, level, [wanted[i] for i in level])


def _middle(spots: list[_Spot], neighbours: list[int], otherwise: float) -> float:
    return fmean(spots[i].centre for i in neighbours) if neighbours else otherwise


def _spread(spots: list[_Spot], level: list[int], wanted: list[float]) -> None:
    """Centres in this order, without overlap, as near to the wanted ones on average as that allows."""
    centres: list[float] = []
    for i, centre in zip(level, wanted, strict=True):
        if centres:
            before = spots[level[len(centres) - 1]]
            centre = max(centre, centres[-1] + (before.width + spots[i].width) / 2 + _GAP)
        centres.append(centre)
    shift = fmean(want - centre for want, centre in zip(wanted, centres, strict=True))
    for i, centre in zip(level, centres, strict=True):
        spots[i].centre = centre + shift


def _points(route: list[_Spot]) -> list[tuple[float, float]]:
    """Straight to the end of each level, so that no taller box beside is crossed, and bent between levels."""
    start, *bends, end = route
    points = [
        (start.centre, start.top + start.height),
        (start.centre, start.floor),
        *((bend.centre, y) for bend in bends for y in (bend.top, bend.floor)),
        (end.centre, end.top),
    ]
    return list(dict.fromkeys(points))
