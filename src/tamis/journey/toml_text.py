"""A configuration as TOML text that reads as the same configuration."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tamis.journey.config import TrainConfig

_PATHS = ("interactions", "users", "items")


def to_toml(config: TrainConfig, folder: Path) -> str:
    """The text of a TOML file in `folder`: every setting but those of `[tune]`, and what is left open.

    Paths begin at the file, so that a project may be moved as a whole.
    """
    content = settings_from(config, folder)
    del content["tune"]
    tables = {name: value for name, value in content.items() if isinstance(value, dict)}
    lines = [f"{name} = {_value(value)}" for name, value in content.items() if name not in tables]
    for name, table in tables.items():
        lines += ["", f"[{name}]"]
        lines += [f"{key} = {_value(value)}" for key, value in table.items() if value not in (None, "", ())]
    return "\n".join(lines) + "\n"


def settings_from(config: TrainConfig, folder: Path) -> dict[str, Any]:
    """All settings, with paths as they look from a folder."""
    content = asdict(config)
    for table, names in ((content, ("output",)), (content["data"], _PATHS)):
        for name in names:
            if table[name] and "://" not in table[name]:
                table[name] = _seen_from(folder, table[name])
    return content


def _seen_from(folder: Path, path: str) -> str:
    there = Path(path).expanduser().absolute()
    try:
        return Path(os.path.relpath(there, folder.expanduser().absolute())).as_posix()
    except ValueError:  # another drive
        return str(there)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str):  # TOML's strings are JSON's, but for one control character
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value) if isinstance(value, bool) else repr(value)
