"""The graph as boxes and arrows: as Graphviz text, as Mermaid text, as an SVG picture of its own."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tamis.features.fitting import Fitted
from tamis.features.layout import layout
from tamis.features.lineage import brief
from tamis.features.node import Node, Pick, Selection, Union, Without, walk
from tamis.features.step import Step
from tamis.features.subgraph import Subgraph, subgraphs

_WIDTH, _MOST_LINES = 36, 5  # of a box, in letters and lines
_LINE_PX, _LETTER_PX, _PADDING_PX = 15.0, 6.7, 8.0
_HALO = 'stroke="#fff" stroke-width="3" paint-order="stroke"'  # so that an arrow behind a name does not cross it
_FILLS = {"input": "#e8f1fb", "op": "#ffffff", "join": "#f1f1f1"}


@dataclass(frozen=True)
class Box:
    """A node as it is drawn: what it does, the columns it gives, the boxes before it, the subgraphs it is in."""

    title: tuple[str, ...]
    columns: tuple[str, ...]
    before: tuple[int, ...]
    kind: str  # "input", "op" or "join"
    within: tuple[str, ...]  # outer ones first

    @property
    def lines(self) -> tuple[str, ...]:
        """All lines of text in it."""
        return (*self.title, *self.columns)


def boxes(node: Node, fitted: Fitted | None) -> list[Box]:
    """The nodes as boxes, parents first. A `+` of `+` is one box; a Subgraph is none, but its boxes name it."""
    inner, within = _inner(node), _within(node)
    drawn = [one for one in walk(node) if one not in inner]
    position = {one: i for i, one in enumerate(drawn)}
    return [
        Box(
            _wrapped(_title(one)),
            _wrapped(_columns(one, fitted, is_last=position[one] == len(drawn) - 1)),
            tuple(dict.fromkeys(position[parent] for parent in _parents(one, inner))),
            "input" if isinstance(one, Selection) else "op" if isinstance(one, Step) else "join",
            within[one],
        )
        for one in drawn
    ]


def to_graphviz(node: Node, fitted: Fitted | None) -> str:
    """The graph in Graphviz' DOT."""
    drawn = boxes(node, fitted)

    def start(number: int, name: str) -> str:
        return f'subgraph "cluster_{number}" {{ label={_quoted([name])};'

    def line(i: int) -> str:
        return f"n{i} [label={_quoted(drawn[i].lines)}];"

    return "\n".join(
        [
            "digraph workflow {",
            '  node [shape=box, style=rounded, fontname="sans-serif"];',
            *_nested(drawn, (), start, line, "}"),
            *(f"  n{before} -> n{i};" for i, box in enumerate(drawn) for before in box.before),
            "}",
        ]
    )


def to_mermaid(node: Node, fitted: Fitted | None) -> str:
    """The graph in Mermaid's flowchart language."""
    drawn = boxes(node, fitted)

    def start(number: int, name: str) -> str:
        return f'subgraph s{number} ["{_entities(name)}"]'

    def line(i: int) -> str:
        return f'n{i}["{"<br/>".join(map(_entities, drawn[i].lines))}"]'

    arrows = (f"  n{before} --> n{i}" for i, box in enumerate(drawn) for before in box.before)
    return "\n".join(["flowchart TD", *_nested(drawn, (), start, line, "end"), *arrows])


def to_svg(node: Node, fitted: Fitted | None) -> str:
    """The graph as a picture that needs nothing else: no script, no font, no network."""
    drawn = boxes(node, fitted)
    sizes = [
        (max(map(len, box.lines)) * _LETTER_PX + 2 * _PADDING_PX, len(box.lines) * _LINE_PX + _PADDING_PX)
        for box in drawn
    ]
    placed = layout(sizes, [box.before for box in drawn])
    margin = 1.5 * _LINE_PX  # room for the names of subgraphs
    width, height = placed.width + 2 * margin, placed.height + 2 * margin
    arrows = "".join(map(_svg_arrow, placed.arrows))
    parts = "".join(map(_svg_box, drawn, placed.corners, sizes))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="{-margin:.0f} {-margin:.0f} {width:.0f} {height:.0f}" style="background:#fff" '
        f'font-family="monospace" font-size="11" role="img" aria-label="Workflow">{arrows}{parts}</svg>'
    )


def _title(node: Node) -> str:
    if isinstance(node, Step):
        return brief(node.op)
    if isinstance(node, Selection):
        return ", ".join(f"[{', '.join(item)}]" if isinstance(item, tuple) else item for item in node.items)
    if isinstance(node, Pick):
        return f"[{', '.join(node.names)}]"
    return {Union: "+", Without: "-"}.get(type(node), type(node).__name__)


def _columns(node: Node, fitted: Fitted | None, *, is_last: bool) -> str:
    if fitted is None or node not in fitted.resolved:
        return ""
    names = ", ".join(fitted.resolved[node].values)
    if isinstance(node, Union | Without) and not is_last:
        return f"{len(fitted.resolved[node].values)} columns"
    return "" if names == _title(node) else f"→ {names}"


def _wrapped(text: str) -> tuple[str, ...]:
    lines = textwrap.wrap(text, _WIDTH, max_lines=_MOST_LINES, placeholder=" ...")
    return tuple(lines)


def _inner(node: Node) -> set[Node]:
    """Nodes that get no box: subgraphs, and a `+` that goes into another `+` alone."""
    nodes = walk(node)
    children = {one: [child for child in nodes if one in child.parents] for one in nodes}
    joined = {one for one in nodes if isinstance(one, Union) and _goes_into_a_plus(one, children)}
    return joined | {one for one in nodes if isinstance(one, Subgraph)}


def _goes_into_a_plus(node: Node, children: dict[Node, list[Node]]) -> bool:
    return len(children[node]) == 1 and isinstance(children[node][0], Union)


def _parents(node: Node, inner: set[Node]) -> Iterator[Node]:
    for parent in node.parents:
        if parent in inner:
            yield from _parents(parent, inner)
        else:
            yield parent


def _within(node: Node) -> dict[Node, tuple[str, ...]]:
    """The names of the subgraphs around each node, outer ones first; none where two of them only overlap."""
    parts = {part: set(walk(part)) - {part} for part in subgraphs(node).values()}  # inner ones first
    found: dict[Node, tuple[str, ...]] = {}
    for one in walk(node):
        around = [part for part, nodes in parts.items() if one in nodes]
        is_nested = all(small in parts[large] for small, large in pairwise(around))
        found[one] = tuple(part.name for part in reversed(around)) if is_nested else ()
    return found


def _nested(
    drawn: Sequence[Box], path: tuple[str, ...], start: Callable[[int, str], str], line: Callable[[int], str], end: str
) -> Iterator[str]:
    """A line for each box, those of a subgraph between its start and its end."""
    indent = "  " * (len(path) + 1)
    yield from (f"{indent}{line(i)}" for i, box in enumerate(drawn) if box.within == path)
    names = list(dict.fromkeys(name for box in drawn for name in box.within))  # a name is one subgraph
    deeper = (box.within for box in drawn if box.within[: len(path)] == path and len(box.within) > len(path))
    for name in dict.fromkeys(within[len(path)] for within in deeper):
        yield f"{indent}{start(names.index(name), name)}"
        yield from _nested(drawn, (*path, name), start, line, end)
        yield f"{indent}{end}"


def _quoted(lines: Sequence[str]) -> str:
    """Lines as a DOT string, each aligned to the left."""
    return '"' + "\\l".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in [*lines, ""]) + '"'


def _entities(text: str) -> str:
    """Text that Mermaid takes for nothing but text."""
    return "".join(one if one.isalnum() or one in " _,.()=" else f"#{ord(one)};" for one in text)


def _svg_box(box: Box, corner: tuple[float, float], size: tuple[float, float]) -> str:
    (x, y), (width, height) = corner, size
    texts = [
        f'<text x="{x + _PADDING_PX:.1f}" y="{y + (i + 1) * _LINE_PX:.1f}" '
        f'fill="{"#111" if i < len(box.title) else "#666"}" xml:space="preserve">{html.escape(line)}</text>'
        for i, line in enumerate(box.lines)
    ]
    if box.within:
        name = html.escape("/".join(box.within))
        texts.append(f'<text x="{x:.1f}" y="{y - 3:.1f}" fill="#8a4b08" font-style="italic" {_HALO}>{name}</text>')
    stroke = "#8a4b08" if box.within else "#555"
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="4" fill="{_FILLS[box.kind]}" '
        f'stroke="{stroke}"/>{"".join(texts)}'
    )


def _svg_arrow(points: list[tuple[float, float]]) -> str:
    """A curve that leaves and enters vertically, and its head."""
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (y0 + y1) / 2
        path += f"C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1:.1f}"
    x, y = points[-1]
    head = f"M{x - 4:.1f} {y - 7:.1f}L{x:.1f} {y:.1f}L{x + 4:.1f} {y - 7:.1f}"
    return f'<path d="{path}{head}" fill="none" stroke="#888"/>'
