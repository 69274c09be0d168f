"""Versions of what a recommender's answers depend on, and what has changed between two machines or times."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata

_LIBRARIES = ("torch", "onnxruntime", "polars", "numpy", "pyarrow", "safetensors", "faiss-cpu", "xgboost", "lightgbm")
_PACKAGES = ("tamis", *_LIBRARIES)


def versions() -> dict[str, str]:
    """Version by package, of those that are installed; nothing is imported."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def changes(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """In words, what is not as it was: "torch 2.1 then and 2.2 now"; empty where all is."""
    names = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    return ", ".join(f"{name} {then.get(name, 'none')} then and {now.get(name, 'none')} now" for name in names)
