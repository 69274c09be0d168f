"""A workflow as a folder: the graph as JSON, the frames that its ops learned as parquet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from tamis.errors import FormatError, TamisError
from tamis.features.fitting import Fitted, bind
from tamis.features.node import Node, Pick, Selection, Union, Without, walk
from tamis.features.ops.op import Learned, Op
from tamis.features.settings import from_json, settings_of, to_json
from tamis.features.step import Step
from tamis.folders import read_json, read_manifest, saving, write_json
from tamis.schema import Schema, Tags

VERSION = 1
_GRAPH = "workflow.json"


def save_graph(node: Node, fitted: Fitted, output_schema: Schema, path: str | Path) -> None:
    """Write the folder; whatever cannot be saved is found before anything is written."""
    order = walk(node)
    content = {
        "nodes": [_describe(one, order) for one in order],
        "input_schema": fitted.input_schema.to_dict(),
        "output_schema": output_schema.to_dict(),
        "fingerprint": fitted.fingerprint,
    }
    frames: dict[str, pl.DataFrame] = {}
    content["learned"] = [_plain(learned, i, frames) for i, learned in _learned_by_position(order, fitted)]
    with saving(path, kind="workflow", version=VERSION, polars=pl.__version__) as folder:
        write_json(folder / _GRAPH, content)
        (folder / "learned").mkdir()
        for name, frame in frames.items():
            frame.write_parquet(folder / name)


def load_graph(path: str | Path) -> tuple[Node, Fitted, Schema]:
    """The graph, what it learned, and the schema that comes out."""
    folder = Path(path)
    read_manifest(folder, kind="workflow", version=VERSION)
    content = read_json(folder / _GRAPH)
    order: list[Node] = []
    try:
        for description in content["nodes"]:
            order.append(_build(description, order, where=str(folder)))
        learned = {order[entry["node"]]: _with_frames(entry["units"], folder) for entry in content["learned"]}
        fitted = bind(order[-1], Schema.from_dict(content["input_schema"]), learned, content["fingerprint"])
        return order[-1], fitted, Schema.from_dict(content["output_schema"])
    except TamisError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise FormatError(
            f"{folder}: the workflow cannot be read ({error}). Save it again with this version."
        ) from error


def _describe(node: Node, order: list[Node]) -> dict[str, Any]:
    parents = [order.index(parent) for parent in node.parents]
    if isinstance(node, Selection):
        return {"node": "selection", "items": [_item(item) for item in node.items]}
    if isinstance(node, Step):
        return {"node": "step", "parents": parents, "op": type(node.op).__name__, "settings": settings_of(node.op)}
    if isinstance(node, Pick):
        return {"node": "pick", "parents": parents, "names": list(node.names)}
    return {"node": "union" if isinstance(node, Union) else "without", "parents": parents}


def _item(item: str | Tags | tuple[str, ...]) -> Any:
    if isinstance(item, tuple):
        return list(item)
    return {"tag": str(item)} if isinstance(item, Tags) else item


def _build(description: Mapping[str, Any], order: list[Node], *, where: str) -> Node:
    parents = tuple(order[i] for i in description.get("parents", ()))
    kind = description["node"]
    if kind == "selection":
        items = (Tags(item["tag"]) if isinstance(item, dict) else item for item in description["items"])
        return Selection(tuple(tuple(item) if isinstance(item, list) else item for item in items))
    if kind == "step":
        return Step(parents[0], _op(description, where))
    if kind == "pick":
        return Pick(parents[0], tuple(description["names"]))
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
    return kind(**{name: from_json(value, where) for name, value in description["settings"].items()})


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
            name: pl.read_parquet(folder / value["frame"]) if isinstance(value, dict) and "frame" in value else
            from_json(value, str(folder))
            for name, value in learned.items()
        }
        for unit, learned in units.items()
    }  # fmt: skip
