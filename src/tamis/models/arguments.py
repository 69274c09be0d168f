"""A model's constructor arguments as JSON and back."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from tamis.errors import FormatError
from tamis.nn.embeddings import EmbeddingOptions
from tamis.nn.experts import ESMM, PLE, MMoE, SharedBottom
from tamis.nn.mlp import MLPBlock

_KIND = "$kind"
_BLOCKS = {kind.__name__: kind for kind in (EmbeddingOptions, MLPBlock, SharedBottom, MMoE, PLE, ESMM)}


def arguments_of(model: Any) -> dict[str, Any]:
    """The constructor's arguments besides schema and seed: the attributes of their names."""
    names = [name for name in inspect.signature(type(model)).parameters if name not in ("schema", "seed")]
    return {name: _plain(getattr(model, name)) for name in names}


def built(arguments: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """What `arguments_of` was given.

    Raises:
        FormatError: a block of a kind that is not known.
    """
    return {name: _built(value, where) for name, value in arguments.items()}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        fields = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {_KIND: type(value).__name__, **fields}
    return list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Mapping) else value


def _built(value: Any, where: str) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if not isinstance(value, dict) or _KIND not in value:
        return value
    kind = _BLOCKS.get(value[_KIND])
    if kind is None:
        raise FormatError(f"{where}: there is a block {value[_KIND]!r} that this Tamis does not know. Upgrade it.")
    return kind(**{name: _built(one, where) for name, one in value.items() if name != _KIND})
