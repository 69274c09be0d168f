"""A workflow as a folder: the graph as JSON, the frames that its ops learned as parquet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from tamis.errors import FormatError, NotSavableError, TamisError
from tamis.features.fitting import Fitted, bind
from tamis.features.frames import read_parquet
from tamis.features.node import Item, Node, Pick, Selection, Union, Without, walk
from tamis.features.ops.op import Learned, Op
from tamis.features.settings import from_json, settings_of, to_json
from tamis.features.step import Step
from tamis.features.subgraph import Subgraph
from tamis.folders import read_json, read_manifest, saving, write_json
from tamis.schema import Schema, Tags

VERSION = 1
_GRAPH = "workflow.json"
_FRAME = "$tamis frame"  # says which file holds a setting that is a frame
_INPUT = "input.parquet"  # the input without rows, for its dtypes


def save_graph(node: Node, fitted: Fitted, output_schema: Schema, empty: pl.DataFrame | None, path: str | Path) -> None:
    """Write the folder; whatever cannot be saved is found before anything is written."""
    order = walk(node)
    frames: dict[str, pl.DataFrame] = {}
    content = {
        "nodes": [_describe(one, order, frames) for one in order],
        "input_schema": fitted.input_schema.to_dict(),
        "output_schema": output_schema.to_dict(),
        "fingerprint": fitted.fingerprint,
    }
    content["learned"] = [_plain(learned, i, frames) for i, learned in _learned_by_position(order, fitted)]
    with saving(path, kind="workflow", version=VERSION, polars=pl.__version__) as folder:
        write_json(folder / _GRAPH, content)
        if empty is not None:
            empty.write_parquet(folder / _INPUT)
        (folder / "learned").mkdir()
        for name, frame in frames.items():
            frame.write_parquet(folder / name)


def load_graph(path: str | Path) -> tuple[Node, Fitted, Schema, pl.DataFrame | None]:
    """The graph, what it learned, the schema that comes out, and the input without rows where it was saved."""
    folder = Path(path)
    read_manifest(folder, kind="workflow", version=VERSION)
    content = read_json(folder / _GRAPH)
    order: list[Node] = []
    try:
        for description in content["nodes"]:
            order.append(_build(description, order, where=str(folder)))
        learned = {order[entry["node"]]: _with_frames(entry["units"], folder) for entry in content["learned"]}
        fitted = bind(order[-1], Schema.from_dict(content["input_schema"]), learned, content.get("fingerprint", {}))
        empty = pl.read_parquet(folder / _INPUT) if (folder / _INPUT).is_file() else None
        return order[-1], fitted, Schema.from_dict(content["output_schema"]), empty
    except TamisError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise FormatError(
            f"{folder}: the workflow cannot be read ({error}). Save it again with this version."
        ) from error


def _describe(node: Node, order: list[Node], frames: dict[str, pl.DataFrame]) -> dict[str, Any]:
    parents = [order.index(parent) for parent in node.parents]
    if isinstance(node, Selection):
        return {"node": "selection", "items": [_item(item) for item in node.items]}
    if isinstance(node, Step):
        settings = _without_frames(settings_of(node.op), order.index(node), frames)
        return {"node": "step", "parents": parents, "op": type(node.op).__name__, "settings": settings}
    if isinstance(node, Pick):
        groups = None if node.groups is None else [list(group) for group in node.groups]
        return {"node": "pick", "parents": parents, "names": _item(node.names), "groups": groups}
    if isinstance(node, Subgraph):
        return {"node": "subgraph", "parents": parents, "name": node.name}
    if isinstance(node, Union | Without):
        return {"node": "union" if isinstance(node, Union) else "without", "parents": parents}
    raise NotSavableError(
        f"Workflow.save: a {type(node).__name__} is no node that a folder can hold. Build the graph with >>, + and -."
    )


def _item(item: Item) -> Any:
    if isinstance(item, tuple):
        return [_item(one) for one in item]
    return {"tag": str(item)} if isinstance(item, Tags) else item


def _read_item(item: Any) -> Any:
    if isinstance(item, list):
        return tuple(_read_item(one) for one in item)
    return Tags(item["tag"]) if isinstance(item, dict) else item


def _build(description: Mapping[str, Any], order: list[Node], *, where: str) -> Node:
    parents = tuple(order[i] for i in description.get("parents", ()))
    kind = description["node"]
    if kind == "selection":
        return Selection(_read_item(description["items"]))
    if kind == "step":
        return Step(parents[0], _op(description, where))
    if kind == "pick":
        return Pick(parents[0], _read_item(description["names"]), _read_item(description.get("groups")))
    if kind == "subgraph":
        return Subgraph(description["name"], parents[0])
    if kind == "without":
        return Without(*parents)
    if kind == "union":
        return Union(parents)
    raise FormatError(f"{where}: there is a node {kind!r} that this Tamis does not know. Upgrade Tamis.")


def _op(description: Mapping[str, Any], where: str) -> Op:
    kind = Op.kinds.get(description["op"])
    if kind is None:
        raise FormatError(
            f"{where}: the workflow needs the op {description['op']!r}, which is not known here. "
            "Import the module that defines it first, or upgrade Tamis."
        )
    return kind(**{name: _read_setting(value, where) for name, value in description["settings"].items()})


def _without_frames(settings: Mapping[str, Any], position: int, frames: dict[str, pl.DataFrame]) -> dict[str, Any]:
    """The settings of a step with the frames put aside under their file's name."""
    plain = dict(settings)
    for name, value in settings.items():
        if isinstance(value, pl.DataFrame):
            file = f"learned/{position}-setting-{name}.parquet"
            frames[file], plain[name] = value, {_FRAME: file}
    return plain


def _read_setting(value: Any, folder: str) -> Any:
    if isinstance(value, dict) and _FRAME in value:
        return pl.read_parquet(Path(folder) / value[_FRAME])
    return from_json(value, folder)


def _learned_by_position(order: list[Node], fitted: Fitted) -> list[tuple[int, Mapping[str, Learned]]]:
    return [(i, fitted.learned[node]) for i, node in enumerate(order) if fitted.learned.get(node)]


def _plain(units: Mapping[str, Learned], position: int, frames: dict[str, pl.DataFrame]) -> dict[str, Any]:
    """What the units of a step learned, with the frames put aside under their file's name."""
    plain: dict[str, dict[str, Any]] = {}
    for number, (unit, learned) in enumerate(units.items()):
        plain[unit] = {}
        for name, value in learned.items():
            if isinstance(value, pl.DataFrame):
                file = f"learned/{position}-{number}-{name}.parquet"  # not the column's name: that may be any text
                frames[file] = value
                plain[unit][name] = {"frame": file}
            else:
                plain[unit][name] = to_json(value, where=f"Workflow.save: what was learned of {unit!r}")
    return {"node": position, "units": plain}


def _with_frames(units: Mapping[str, Mapping[str, Any]], folder: Path) -> dict[str, Learned]:
    return {
        unit: {
            name: read_parquet(folder / value["frame"]) if isinstance(value, dict) and "frame" in value else
            from_json(value, str(folder))
            for name, value in learned.items()
        }
        for unit, learned in units.items()
    }  # fmt: skip
