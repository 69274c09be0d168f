"""Small SVG charts as text: lines over epochs, bars, and reliability. Colours come from the page's style sheet."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

_WIDTH, _HEIGHT = 460, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 14, 14, 44
_BAR_WIDTH, _BAR_ROW, _BAR_LABEL, _BAR_VALUE = 460, 30, 120, 70
_NUM_COLOURS = 6
_LONGEST_LABEL = 17


def figure(value: float) -> str:
    """A number for people: four decimals below 10, two below 1000, then whole with thousands separated."""
    size = abs(value)
    if not math.isfinite(value) or 0 < size < 0.001:
        return f"{value:.3g}"
    if value == int(value) or size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4f}" if size < 10 else f"{value:.2f}"


def line_chart(name: str, series: Mapping[str, Sequence[float]], colours: Mapping[str, int]) -> str:
    """Lines over the epochs 1, 2, ...; a value that is not finite leaves a gap.

    Args:
        name: what the vertical axis shows.
        series: values per epoch by the name of the line; at least one value is finite.
        colours: number of each line's colour.
    """
    finite = [value for values in series.values() for value in values if math.isfinite(value)]
    num_epochs = max(map(len, series.values()))
    heights = _ticks(min(finite), max(finite))
    low, high = heights[0], heights[-1]

    def x(epoch: int) -> float:
        inner = _WIDTH - _LEFT - _RIGHT
        return _LEFT + inner * ((epoch - 1) / (num_epochs - 1) if num_epochs > 1 else 0.5)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (value - low) / (high - low)

    parts = [_grid_line(y(height), _short(height)) for height in heights]
    parts += [
        f'<text class="tick" x="{x(epoch):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{epoch}</text>'
        for epoch in _epochs_to_label(num_epochs)
    ]
    parts.append(_axis_names("epoch", name))
    for label, values in series.items():
        number = colours[label]
        points = [(epoch, value) for epoch, value in enumerate(values, 1) if math.isfinite(value)]
        parts.append(_line(number, [(x(epoch), y(value)) for epoch, value in points]))
        parts += [
            f'<circle class="fill-{number % _NUM_COLOURS}" cx="{x(epoch):.1f}" cy="{y(value):.1f}" r="3.5">'
            f"<title>{html.escape(label)}, epoch {epoch}: {figure(value)}</title></circle>"
            for epoch, value in points
        ]
    return _svg(_HEIGHT, f"{name} over {num_epochs} epochs: {_in_words(series)}", parts)


def reliability_chart(name: str, bins: Sequence[tuple[float, float, int]], colour: int) -> str:
    """Points of what was said (across) and what came true (up), beside the diagonal where both agree.

    Args:
        name: of the model or target.
        bins: mean score, share of positives and number of rows, at least one bin, by rising score.
        colour: number of the points' colour.
    """
    steps = _ticks(0.0, max(max(score, rate) for score, rate, _ in bins))
    top = steps[-1]

    def x(score: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * score / top

    def y(rate: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * rate / top

    parts = [_grid_line(y(step), _short(step)) for step in steps]
    parts += [
        f'<text class="tick" x="{x(step):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{_short(step)}</text>'
        for step in steps
    ]
    parts.append(_axis_names("mean score", "share of positives"))
    parts.append(f'<line class="grid" x1="{x(0):.1f}" y1="{y(0):.1f}" x2="{x(top):.1f}" y2="{y(top):.1f}"/>')
    parts.append(_line(colour, [(x(score), y(rate)) for score, rate, _ in bins]))
    parts += [
        f'<circle class="fill-{colour % _NUM_COLOURS}" cx="{x(score):.1f}" cy="{y(rate):.1f}" r="3.5">'
        f"<title>{figure(rate)} of {rows:,} rows with mean score {figure(score)}</title></circle>"
        for score, rate, rows in bins
    ]
    farthest = max(bins, key=lambda one: abs(one[0] - one[1]))
    in_words = f"{len(bins)} bins, the farthest off with mean score {figure(farthest[0])} and {figure(farthest[1])}"
    return _svg(_HEIGHT, f"Reliability of {name}: {in_words} positives", parts)


def bar_chart(name: str, values: Mapping[str, float], colours: Mapping[str, int]) -> str:
    """One horizontal bar per name with its value printed, from 0 to the largest.

    Args:
        name: what the bars show.
        values: the length of each bar; one that is not finite has no length. Negative ones go by their size.
        colours: number of each name's colour.
    """
    largest = max((abs(value) for value in values.values() if math.isfinite(value)), default=0.0) or 1.0
    room = _BAR_WIDTH - _BAR_LABEL - _BAR_VALUE
    parts = []
    for row, (label, value) in enumerate(values.items()):
        length = room * abs(value) / largest if math.isfinite(value) else 0.0
        top = row * _BAR_ROW + 6
        shown = label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1] + "…"
        parts.append(
            f"<g><title>{html.escape(label)}: {figure(value)}</title>"
            f'<text class="label" x="{_BAR_LABEL - 8}" y="{top + 13}" text-anchor="end">{html.escape(shown)}</text>'
            f'<rect class="fill-{colours[label] % _NUM_COLOURS}" x="{_BAR_LABEL}" y="{top}" '
            f'width="{max(length, 1):.1f}" height="18" rx="3"/>'
            f'<text class="value" x="{_BAR_LABEL + max(length, 1) + 7:.1f}" y="{top + 13}">{figure(value)}</text></g>'
        )
    in_words = ", ".join(f"{label} {figure(value)}" for label, value in values.items())
    return _svg(len(values) * _BAR_ROW + 6, f"{name}: {in_words}", parts)


def legend(colours: Mapping[str, int]) -> str:
    """The names with their colours."""
    items = (
        f'<li><span class="swatch back-{number % _NUM_COLOURS}"></span>{html.escape(name)}</li>'
        for name, number in colours.items()
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def _svg(height: int, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{html.escape(label)}">'
        f"<title>{html.escape(label)}</title>{''.join(parts)}</svg>"
    )


def _axis_names(across: str, up: str) -> str:
    middle, centre = (_TOP + _HEIGHT - _BOTTOM) / 2, (_LEFT + _WIDTH - _RIGHT) / 2
    return (
        f'<text class="axis" x="{centre:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">{across}</text>'
        f'<text class="axis" transform="translate(12 {middle:.1f}) rotate(-90)" text-anchor="middle">'
        f"{html.escape(up)}</text>"
    )


def _grid_line(y: float, text: str) -> str:
    return (
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
    )


def _line(number: int, points: Sequence[tuple[float, float]]) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="line line-{number % _NUM_COLOURS}" points="{path}"/>'


def _short(value: float) -> str:
    """The text of a tick: `120k`, `0.05`."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (size if sign != 'k' else 1e3):.6g}{sign}"
    return f"{value:.6g}"


def _in_words(series: Mapping[str, Sequence[float]]) -> str:
    return "; ".join(f"{label} from {figure(values[0])} to {figure(values[-1])}" for label, values in series.items())


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, four to seven of them, that enclose both."""
    if high - low < 1e-9 * max(abs(low), abs(high), 1e-9):
        low, high = low - (abs(low) or 1) * 0.5, high + (abs(high) or 1) * 0.5
    rough = (high - low) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _epochs_to_label(num_epochs: int) -> list[int]:
    step = -(-num_epochs // 10)
    return [epoch for epoch in range(1, num_epochs + 1) if epoch == 1 or epoch % step == 0]
