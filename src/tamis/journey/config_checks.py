"""What several tables of a configuration check in the same words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tamis.errors import SettingError, UnknownNameError

OPTIMIZERS = ("adam", "adagrad", "sgd", "ftrl")
SCHEDULES = ("constant", "linear", "cosine", "exponential")
NORMALIZATIONS = ("none", "batch", "layer")


def check_least(place: str, value: int, least: int) -> None:
    """Refuse a value below the least one."""
    if value < least:
        raise SettingError(f"{place} is {value}. Choose {least} or more.")


def check_choice(place: str, value: str, choices: Iterable[str]) -> None:
    """Refuse a value that is none of the choices."""
    if value not in choices:
        raise UnknownNameError(value, choices, where=place, what="choice")


def check_layers(table: str, dropout: float, normalization: str) -> None:
    """Refuse what no stack of layers can have."""
    check_choice(f"{table}.normalization", normalization, NORMALIZATIONS)
    if not 0 <= dropout < 1:
        raise SettingError(f"{table}.dropout is {dropout}. Choose it from 0 up to, not including, 1.")


def check_steps(table: str, steps: Any) -> None:
    """Refuse what no training can have, among the fields that `[training]` and `[ranking]` have in common."""
    for name, least in (("epochs", 1), ("batch_size", 1), ("patience", -1), ("warm_up_steps", 0)):
        check_least(f"{table}.{name}", getattr(steps, name), least)
    check_choice(f"{table}.optimizer", steps.optimizer, OPTIMIZERS)
    check_choice(f"{table}.schedule", steps.schedule, SCHEDULES)
    if not 0 < steps.learning_rate < float("inf"):
        raise SettingError(f"{table}: the learning rate is {steps.learning_rate}. Choose one above 0.")
    for name in ("weight_decay", "embedding_l2"):
        if not 0 <= getattr(steps, name) < float("inf"):
            raise SettingError(f"{table}.{name} is {getattr(steps, name)}. Choose 0 or more.")
    if steps.clip_norm is not None and not steps.clip_norm > 0:
        raise SettingError(f"{table}.clip_norm is {steps.clip_norm}. Choose a number above 0, or leave it out.")
    if steps.optimizer == "ftrl" and steps.weight_decay:
        raise SettingError(
            f"{table}.weight_decay is {steps.weight_decay}, but FTRL has none. Choose another optimizer, or "
            "leave it out."
        )
