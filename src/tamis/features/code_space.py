"""Where codes lie: each vocabulary by itself, or all vocabularies of an op in one table of codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from tamis.features.lookup import OOV


def cardinality_of(learned: Mapping[str, Any]) -> int:
    """How many codes the vocabulary takes by itself: padding, null, unknown values, its values."""
    return int(OOV + learned["num_buckets"] + len(learned["vocabulary"]))


def size_of(learned: Mapping[str, Any]) -> int:
    """The cardinality of the domain that the codes lie in."""
    return int(learned["table"]["size"]) if "table" in learned else cardinality_of(learned)


def in_one_table(units: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """What the units learned, with a place for the codes of each in a table of all.

    Padding is code 0 for all; the other codes of a unit follow those of the units before it. Codes that have come since
    the last time go to the end of the table, so that none moves: `shifts` are pairs of a code that the unit has by
    itself and what is added from there on.
    """
    size = max((learned["table"]["size"] for learned in units.values() if "table" in learned), default=1)
    made: dict[str, dict[str, Any]] = {}
    for unit, learned in units.items():
        before = learned.get("table", {"covered": 1, "shifts": (), "name": "_".join(units)})
        own, covered, shifts = cardinality_of(learned), before["covered"], [list(one) for one in before["shifts"]]
        if own > covered:
            shifts.append([covered, size - covered])
            size += own - covered
        made[unit] = {**learned, "table": {"name": before["name"], "covered": own, "shifts": shifts}}
    return {unit: {**learned, "table": {**learned["table"], "size": size}} for unit, learned in made.items()}


def placed(codes: pl.Expr, learned: Mapping[str, Any]) -> pl.Expr:
    """The codes that a unit has by itself, in the table."""
    if "table" not in learned:
        return codes
    (_, first), *later = learned["table"]["shifts"]
    shift = pl.lit(first, dtype=pl.Int32)
    for start, more in later:
        shift = pl.when(codes >= start).then(pl.lit(more, dtype=pl.Int32)).otherwise(shift)
    return codes + shift


def placed_online(code_of: Callable[..., int], learned: Mapping[str, Any]) -> Callable[..., int]:
    """The same for one code."""
    if "table" not in learned:
        return code_of
    shifts = [tuple(one) for one in reversed(learned["table"]["shifts"])]

    def place(*values: Any) -> int:
        code = code_of(*values)
        for start, shift in shifts:
            if code >= start:
                return int(code + shift)
        return code  # padding, which no value has

    return place


def unplaced(codes: pl.Series, learned: Mapping[str, Any]) -> pl.Series:
    """The codes that a unit has by itself, from those in the table; null for the codes of other units."""
    if "table" not in learned:
        return codes
    shifts = [tuple(one) for one in learned["table"]["shifts"]]
    ends = [start for start, _ in shifts[1:]] + [learned["table"]["covered"]]
    own = pl.when(codes == 0).then(codes)
    for (start, shift), end in zip(shifts, ends, strict=True):
        own = own.when(codes.is_between(start + shift, end + shift, closed="left")).then(codes - shift)  # type: ignore[assignment]
    return pl.select(own.alias(codes.name)).to_series()
