"""Several optimizers at once: which one moves which weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from torch import nn

from tamis.errors import SettingError, UnknownNameError
from tamis.nn.embeddings import EmbeddingTables
from tamis.training.optimizers import (
    OptimizerSettings,
    describe_optimizer,
    described_optimizer,
    optimizer_settings,
)

EMBEDDINGS, DENSE, REST = "embeddings", "dense", "*"
_BODY = "body."

OptimizerChoice: TypeAlias = OptimizerSettings | dict[str, OptimizerSettings]


def chosen_optimizer(
    optimizer: str | OptimizerSettings | Mapping[str, str | OptimizerSettings], learning_rate: float | None = None
) -> OptimizerChoice:
    """The settings of one optimizer, or of each group's.

    Raises:
        UnknownNameError: no optimizer of this name.
        SettingError: no group, a learning rate that is not above 0, or one given beside finished settings.
    """
    if not isinstance(optimizer, Mapping):
        return optimizer_settings(optimizer, learning_rate)
    if learning_rate is not None:
        raise SettingError(
            f"compile: learning_rate={learning_rate} beside optimizers by group. Set it inside each optimizer."
        )
    if not optimizer:
        raise SettingError("compile: the optimizers by group are none. Name one, for example {'*': 'adam'}.")
    return {key: optimizer_settings(one) for key, one in optimizer.items()}


def table_weights(module: nn.Module) -> Iterator[tuple[str, EmbeddingTables, str]]:
    """Name, owner and width of every fused weight of embedding tables."""
    for prefix, part in module.named_modules():
        if isinstance(part, EmbeddingTables):
            for width in part.weights:
                yield f"{prefix}.weights.{width}".lstrip("."), part, width


def dense_weights(module: nn.Module) -> dict[str, nn.Parameter]:
    """All other weights that are trained, by name."""
    return {name: weight for name, weight in module.named_parameters() if weight.requires_grad}


def assigned_optimizers(module: nn.Module, optimizer: OptimizerChoice) -> dict[str, OptimizerSettings]:
    """The optimizer of every weight, by the weight's name.

    A group's key is `"embeddings"` (all tables), `"dense"` (all other weights), `"*"` (what no other key names), or
    the start of names inside the network, such as `"wide"`, `"deep.0"`, `"query"`, `"heads"`. The longest start wins
    over shorter ones, and starts win over the three words.

    Raises:
        UnknownNameError: a key that starts no weight's name.
        SettingError: weights that no key names.
    """
    names = {name: EMBEDDINGS for name, _, _ in table_weights(module)} | dict.fromkeys(dense_weights(module), DENSE)
    if not isinstance(optimizer, dict):
        return dict.fromkeys(names, optimizer)
    for key in optimizer:
        if key not in (EMBEDDINGS, DENSE, REST) and not any(_starts(name, key) for name in names):
            known = [EMBEDDINGS, DENSE, REST, *dict.fromkeys(_part(name) for name in names)]
            raise UnknownNameError(key, known, where="compile", what="part of the network")
    keys = {name: _key_of(name, kind, optimizer) for name, kind in names.items()}
    left = [name for name, key in keys.items() if key is None]
    if left:
        raise SettingError(
            f"compile: no optimizer is given for {', '.join(left[:8])}{', ...' if len(left) > 8 else ''}. Name their "
            "part of the network too, or add '*' for the rest."
        )
    return {name: optimizer[key] for name, key in keys.items() if key is not None}


def _key_of(name: str, kind: str, optimizer: Mapping[str, Any]) -> str | None:
    starts = [key for key in optimizer if key not in (EMBEDDINGS, DENSE, REST) and _starts(name, key)]
    if starts:
        return max(starts, key=len)
    return next((key for key in (kind, REST) if key in optimizer), None)


def _starts(name: str, key: str) -> bool:
    # A ranking model's own parts lie in its body, which is nothing that a user would name.
    return any(f"{whole}.".startswith(f"{key}.") for whole in (name, name.removeprefix(_BODY)))


def _part(name: str) -> str:
    return name.removeprefix(_BODY).partition(".")[0]


def describe_choice(optimizer: OptimizerChoice) -> dict[str, Any]:
    """The settings as JSON can hold them."""
    if not isinstance(optimizer, dict):
        return describe_optimizer(optimizer)
    return {"groups": {key: describe_optimizer(one) for key, one in optimizer.items()}}


def described_choice(described: Mapping[str, Any]) -> OptimizerChoice:
    """The settings that `describe_choice` described.

    Raises:
        UnknownNameError: no optimizer of this name.
    """
    if "groups" not in described:
        return described_optimizer(described)
    return {key: described_optimizer(one) for key, one in described["groups"].items()}
