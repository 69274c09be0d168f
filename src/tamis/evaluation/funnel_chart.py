"""A funnel as an SVG: a bar per stage, narrower where fewer come through, and between them what was lost."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH, _ROW, _BAR = 900, 74, 40
_CENTRE, _WIDEST = 430, 440  # of the bars
_NARROWEST = 2.0


@dataclass(frozen=True)
class FunnelStage:
    """One bar of the picture.

    Args:
        name: of the stage.
        items: how many came through.
        lost: how many were lost on the way here, in words; empty for none.
    """

    name: str
    items: int
    lost: str = ""


def funnel_chart(stages: Sequence[FunnelStage]) -> str:
    """The stages from top to bottom; the first holds everything, and the shares are shares of it."""
    total = max(stages[0].items, 1)
    widths = [max(_WIDEST * stage.items / total, _NARROWEST) for stage in stages]
    parts = []
    for row, (stage, width) in enumerate(zip(stages, widths, strict=True)):
        if row:
            parts.append(_neck(row, widths[row - 1], width, stage))
        parts.append(_bar(row, width, stage, stage.items / total))
    words = "; ".join(f"{stage.name} {stage.items:,}" + (f" ({stage.lost})" * bool(stage.lost)) for stage in stages)
    label = html.escape(f"Funnel of {total:,} items: {words}")
    height = len(stages) * _ROW - (_ROW - _BAR) + 8
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{label}"><title>{label}</title>'
        f"{''.join(parts)}</svg>"
    )


def _bar(row: int, width: float, stage: FunnelStage, share: float) -> str:
    top = row * _ROW + 4
    name = html.escape(stage.name)
    return (
        f"<g><title>{name}: {stage.items:,} items, {share:.1%}</title>"
        f'<rect class="fill-0" x="{_CENTRE - width / 2:.1f}" y="{top}" width="{width:.1f}" height="{_BAR}" rx="3"/>'
        f'<text class="label" x="0" y="{top + _BAR / 2 + 5:.0f}">{name}</text>'
        f'<text class="value" x="{_CENTRE + _WIDEST / 2 + 16}" y="{top + _BAR / 2 + 5:.0f}">'
        f"{stage.items:,} ({share:.1%})</text></g>"
    )


def _neck(row: int, above: float, below: float, stage: FunnelStage) -> str:
    top, bottom = (row - 1) * _ROW + 4 + _BAR, row * _ROW + 4
    corners = [
        (_CENTRE - above / 2, top),
        (_CENTRE + above / 2, top),
        (_CENTRE + below / 2, bottom),
        (_CENTRE - below / 2, bottom),
    ]
    points = " ".join(f"{x:.1f},{y}" for x, y in corners)
    lost = html.escape(stage.lost)
    text = f'<text class="tick" x="{_CENTRE + _WIDEST / 2 + 16}" y="{(top + bottom) / 2 + 4:.0f}">{lost}</text>'
    return f'<polygon class="fill-0" fill-opacity="0.25" points="{points}"/>{text if lost else ""}'
