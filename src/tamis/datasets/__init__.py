"""Data to try things on: a generator whose truth is known, and readers of Ali-CCP and MovieLens."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tamis.datasets.aliccp import prepare_aliccp, transform_aliccp
    from tamis.datasets.generator import generate_data, oracle_of
    from tamis.datasets.movielens_reader import MovieLens, movielens
    from tamis.datasets.planted import PlantedWorld

_HOME = {
    "MovieLens": "movielens_reader",
    "PlantedWorld": "planted",
    "generate_data": "generator",
    "movielens": "movielens_reader",
    "oracle_of": "generator",
    "prepare_aliccp": "aliccp",
    "transform_aliccp": "aliccp",
}

__all__ = [
    "MovieLens",
    "PlantedWorld",
    "generate_data",
    "movielens",
    "oracle_of",
    "prepare_aliccp",
    "transform_aliccp",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
