"""Conditions on item columns that leave some items and take out others, for people to try."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from tamis.errors import TamisError
from tamis.recommender.expressions import parse_condition

_MOST, _SAMPLE = 6, 1000
_FEW = 50  # distinct values: more are no categories


def conditions_to_try(columns: pl.DataFrame) -> list[str]:
    """One for each of the first columns for which a condition says something; all of them can be read.

    Args:
        columns: raw columns of the items.
    """
    sample = columns.head(_SAMPLE)
    found = []
    for name in columns.columns:
        condition = _condition(name, sample[name].drop_nulls())
        if condition is not None and _parts(condition, sample):
            found.append(condition)
        if len(found) == _MOST:
            break
    return found


def _condition(name: str, values: pl.Series) -> str | None:
    column, dtype = f"`{name}`" if not name.isidentifier() else name, values.dtype
    if not len(values):
        return None
    if dtype == pl.Boolean:
        return column
    if isinstance(dtype, pl.List):
        inner = values.explode().drop_nulls()
        return f"{column} contains {_literal(_commonest(inner))}" if len(inner) else None
    if dtype == pl.String or dtype.is_integer():
        if values.n_unique() <= min(_FEW, len(values) / 2):
            return f"{column} == {_literal(_commonest(values))}"
        return None if dtype == pl.String else _below_the_middle(column, values)
    return _below_the_middle(column, values) if dtype.is_float() else None


def _commonest(values: pl.Series) -> Any:
    """The value that most rows have; of equal ones, the least."""
    return values.mode().sort()[0]


def _below_the_middle(column: str, values: pl.Series) -> str:
    return f"{column} < {_short(values.median())}"


def _short(number: Any) -> str:
    return f"{number:.4g}" if abs(number) < 1000 else f"{number:.0f}"


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)


def _parts(condition: str, sample: pl.DataFrame) -> bool:
    """Whether it can be read, and some rows pass and some do not."""
    try:
        passing = sample.select(parse_condition(condition, sample.schema).alias("passes"))["passes"]
    except (TamisError, pl.exceptions.PolarsError):
        return False
    return bool(passing.any() and not passing.all())
