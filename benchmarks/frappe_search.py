"""A search over settings that treats all libraries alike: as many tries for each, judged by the held-out rows alone."""

from __future__ import annotations

import json
import random
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent / "frappe"
TRIED = HERE / "tried.jsonl"
TRIES = {"LR": 12, "FM": 12, "DeepFM": 12, "DCN-v2": 8, "AutoInt": 14, "FinalMLP": 8}  # of each library
DRAWN = 6  # of them at random
CARRIED = {"AutoInt": ("DeepFM", "DCN-v2")}  # the last tries: what was chosen for these models of the same library

Settings = dict[str, Any]
Space = dict[str, list[Any]]


def spaces(library: str, file: Path = HERE / "space.toml") -> dict[str, Space]:
    """What may be tried of each of a library's models."""
    given = tomllib.loads(file.read_text(encoding="utf-8"))
    found: dict[str, Space] = {}
    for model, parts in given["models"].items():
        found[model] = {}
        for lists in (given["common"], given.get(library, {})):
            for part in parts:
                found[model] |= lists.get(part, {})
    return found


def search(
    space: Space,
    judge: Callable[[Settings], dict[str, Any]],
    tried: list[dict[str, Any]],
    model: str,
    carried: Sequence[Settings] = (),
) -> None:
    """Try settings until there are TRIES; `tried` has the earlier ones, and grows.

    The last tries are the best so far with what it shares with each of `carried` taken from there.

    Each draw depends on the model, its number and what was tried before, so that a search that was stopped goes on as
    if it had not been.
    """
    while len(tried) < TRIES[model]:
        generator = random.Random(f"{model} {len(tried)}")
        before = [one["settings"] for one in tried]
        left = TRIES[model] - len(tried)
        if left <= len(carried):
            settings = {**best(tried)["settings"], **{k: v for k, v in carried[-left].items() if k in space}}
        else:
            settings = _next(space, tried, generator)
            while settings in before:
                settings = _next(space, tried, generator)
        tried.append({"settings": settings, **judge(settings)})


def _next(space: Space, tried: list[dict[str, Any]], generator: random.Random) -> Settings:
    if len(tried) < DRAWN:
        return {name: generator.choice(choices) for name, choices in space.items()}
    changed = generator.sample(sorted(space), 2)
    return {**best(tried)["settings"], **{name: generator.choice(space[name]) for name in changed}}


def best(tried: list[dict[str, Any]]) -> dict[str, Any]:
    """The try with the highest AUC on the held-out rows."""
    return max(tried, key=lambda one: float(one["valid_auc"]))


def read_tried(library: str, model: str, file: Path = TRIED) -> list[dict[str, Any]]:
    """What was tried of a model."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    rows = [json.loads(line) for line in lines]
    return [row for row in rows if (row["library"], row["model"]) == (library, model)]


def write_tried(row: dict[str, Any], file: Path = TRIED) -> None:
    """Add one try."""
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(row) + "\n")


def chosen(library: str, model: str) -> Settings:
    """The settings that the search chose, from the library's file."""
    found: Settings = json.loads((HERE / f"{library}.json").read_text(encoding="utf-8"))[model]
    return found


def choose(library: str, models: list[str]) -> None:
    """Write a library's file out of what was tried."""
    tried = {model: read_tried(library, model) for model in models}
    settings = {model: best(found)["settings"] for model, found in tried.items() if len(found) >= TRIES[model]}
    lines = ",\n".join(f"  {json.dumps(model)}: {json.dumps(found)}" for model, found in settings.items())
    (HERE / f"{library}.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
