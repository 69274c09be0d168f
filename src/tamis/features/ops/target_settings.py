"""Settings that all ways to encode by a target share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from tamis.errors import SettingError
from tamis.features.grouped import joined, statistic_of
from tamis.features.ops.op import Column, number_dtype
from tamis.schema import ColumnSchema

if TYPE_CHECKING:
    from tamis.features.ops.target_encoding import TargetEncoding
    from tamis.features.ops.timed_target_encoding import TimedTargetEncoding

    Op: TypeAlias = TargetEncoding | TimedTargetEncoding


def check_settings(op: Op) -> None:
    """Bring names into one form and refuse what is out of range."""
    object.__setattr__(op, "out_dtype", number_dtype(op, op.out_dtype, ("float32", "float64")))
    for name in ("target", "out_col"):
        value = getattr(op, name)
        object.__setattr__(op, name, value if value is None or isinstance(value, str) else tuple(value))
    targets = names_in(op.target)
    if not targets or len(set(targets)) < len(targets):
        raise SettingError(f"TargetEncoding: target={op.target!r} is not a name, or several. Name each once.")
    if not _is_number(op.p_smooth) or op.p_smooth < 0:
        raise SettingError(f"TargetEncoding: p_smooth={op.p_smooth!r} is not a number of at least 0.")
    if op.out_col is not None and len(names_in(op.out_col)) != len(targets):
        raise SettingError(
            f"TargetEncoding: out_col={op.out_col!r} does not fit {len(targets)} targets. Give a name for each."
        )
    means = op.target_mean if isinstance(op.target_mean, Mapping) else dict.fromkeys(targets, op.target_mean)
    for name, mean in means.items():
        if name not in targets:
            raise SettingError(f"TargetEncoding: target_mean has {name!r}, which is no target. Leave it out.")
        if mean is not None and not _is_number(mean):
            raise SettingError(f"TargetEncoding: target_mean={mean!r} of {name!r} is not a finite number.")


def names_in(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """One name or several, as several."""
    return (given,) if isinstance(given, str) else tuple(given or ())


def given_mean(op: Op, i: int) -> float | None:
    """The mean that the settings give for a target."""
    given = op.target_mean
    return given.get(names_in(op.target)[i]) if isinstance(given, Mapping) else given


def need_others(group: Sequence[Column], targets: Sequence[str]) -> None:
    """Refuse a target in the group."""
    for column in group:
        if column.name in targets:
            raise SettingError(
                f"TargetEncoding: {column.name!r} is a target and would be encoded by itself. Take it out."
            )


def described(op: Op, group: Sequence[ColumnSchema]) -> list[ColumnSchema]:
    """One continuous column for each target."""
    names = names_in(op.out_col) or [f"TE_{joined(group)}_{target}" for target in names_in(op.target)]
    return [statistic_of(group, name, op.out_dtype) for name in names]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
