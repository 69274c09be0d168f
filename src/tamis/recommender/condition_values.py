"""What the parts of a condition hold, and which of them may be compared."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tamis.recommender.condition_tokens import NUMBER, TEXT, Source, Token

BOOLEAN, NUMERIC, STRING, TIME, NULL, OTHER = "boolean", "number", "text", "date", "null", "other"
_ARTICLES = {
    BOOLEAN: "true or false",
    NUMERIC: "a number",
    STRING: "text, in quotes",
    TIME: 'a date, "2026-12-31" say',
}
_TIMES = pl.Datetime("us")
_FLOAT = pl.Float64()
_LARGEST = 2**64


@dataclass(frozen=True)
class Value:
    """A part of a condition.

    Args:
        expr: its values, one per item.
        kind: of the values, or of what is in the lists.
        dtype: of the values, or of what is in the lists.
        shown: how messages call it.
        at: where in the text it begins.
        is_list: whether each item has a list.
        is_literal: whether it is written out in the text; then `literal` is what is written.
    """

    expr: pl.Expr
    kind: str
    dtype: pl.DataType
    shown: str
    at: int
    is_list: bool = False
    is_literal: bool = False
    literal: Any = None


def of_column(name: str, dtype: pl.DataType, at: int) -> Value:
    """A column's values: NaN as null, categories as text, dates as moments of the column's own time zone."""
    shown = f"{name!r} ({dtype})"
    expr, inner, is_list = pl.col(name), dtype, False
    if isinstance(dtype, pl.List | pl.Array):
        expr, is_list = (expr.arr.to_list() if isinstance(dtype, pl.Array) else expr), True
        inner = dtype.inner if isinstance(dtype.inner, pl.DataType) else dtype.inner()
        if isinstance(dtype, pl.Array) and len(dtype.shape) > 1:
            inner = pl.Struct([])  # an array of arrays: nothing to compare with
    kind = _kind_of(inner)
    plain = {STRING: pl.String(), TIME: _TIMES}.get(kind, _FLOAT if inner.is_decimal() else inner)
    if kind == OTHER or plain == inner:
        return Value(_without_nan(expr, inner, is_list), kind, inner, shown, at, is_list)
    if is_list:
        return Value(expr.list.eval(_plain(pl.element(), inner, plain)), kind, plain, shown, at, is_list)
    return Value(_plain(expr, inner, plain), kind, plain, shown, at)


def _without_nan(expr: pl.Expr, dtype: pl.DataType, is_list: bool) -> pl.Expr:
    return expr.fill_nan(None) if dtype.is_float() and not is_list else expr


def _plain(expr: pl.Expr, dtype: pl.DataType, plain: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        expr = expr.dt.replace_time_zone(None)
    return expr.cast(plain)


def _kind_of(dtype: pl.DataType) -> str:
    if dtype == pl.Boolean:
        return BOOLEAN
    if dtype.is_numeric():
        return NUMERIC
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return STRING
    return TIME if dtype in (pl.Date, pl.Datetime) else OTHER


def of_literal(token: Token, source: Source) -> Value:
    """The value that a number or text token spells."""
    if token.kind == TEXT:
        shown = f"the text {token.value[:40]!r}"
        return Value(pl.lit(token.value), STRING, pl.String(), shown, token.at, is_literal=True, literal=token.value)
    assert token.kind == NUMBER
    number = int(token.value) if token.value.lstrip("-").replace("_", "").isdigit() else float(token.value)
    if isinstance(number, int) and abs(number) >= _LARGEST:
        number = float(number)
    if not math.isfinite(number):
        raise source.error(f"{token.value!r} is too large a number", "Use a smaller one", token.at)
    shown = f"the number {token.value}"
    return Value(pl.lit(number), NUMERIC, _FLOAT, shown, token.at, is_literal=True, literal=number)


def of_constant(constant: bool | None, at: int) -> Value:
    """True, false or null."""
    if constant is None:
        return Value(pl.lit(None), NULL, pl.Null(), "null", at, is_literal=True)
    shown = str(constant).lower()
    return Value(pl.lit(constant), BOOLEAN, pl.Boolean(), shown, at, is_literal=True, literal=constant)


def truth(expr: pl.Expr, at: int) -> Value:
    """The outcome of a comparison."""
    return Value(expr, BOOLEAN, pl.Boolean(), "the outcome of a comparison", at)


def computed(expr: pl.Expr, kind: str, at: int) -> Value:
    """A number or text that was computed."""
    dtype = _FLOAT if kind == NUMERIC else pl.String()
    return Value(expr.fill_nan(None) if kind == NUMERIC else expr, kind, dtype, f"a computed {kind}", at)


def need(value: Value, kind: str, source: Source, what: str) -> pl.Expr:
    """The values, which must be of this kind.

    Raises:
        SettingError: they are of another, with what `what` needs.
    """
    if value.is_list or value.kind != kind:
        advice = "Write a comparison, such as `stock > 0`" if kind == BOOLEAN else f"Give {_ARTICLES[kind]}"
        wanted = _ARTICLES[kind].split(",")[0]
        raise source.error(f"{what} needs {wanted}, not {_named(value)}", advice, value.at)
    return value.expr


def number(value: Value, source: Source, what: str) -> pl.Expr:
    """The values as 64-bit floats, which arithmetic works in: no small whole number overflows."""
    return need(value, NUMERIC, source, what).cast(pl.Float64)


def compared(left: Value, sign: str, right: Value, source: Source) -> pl.Expr:
    """The comparison; null where one side is.

    Raises:
        SettingError: the two sides cannot be compared, or not by size.
    """
    for value in (left, right):
        if value.kind == NULL:
            raise source.error(f"nothing is {sign} null", "Write `is null` or `is not null`", value.at)
        if value.is_list:
            raise source.error(f"{value.shown} holds lists, which `{sign}` cannot compare", "Use `contains`", value.at)
    left, right = _as_time(left, right, source), _as_time(right, left, source)
    if left.kind != right.kind or left.kind == OTHER:
        at = right if left.kind != OTHER else left
        raise source.error(f"`{sign}` cannot compare {_named(left)} with {_named(right)}", _advice(left), at.at)
    if left.kind == BOOLEAN and sign not in ("==", "!="):
        raise source.error(f"true and false have no order, so `{sign}` means nothing", "Use == or !=", left.at)
    signs = {"==": left.expr == right.expr, "!=": left.expr != right.expr, "<": left.expr < right.expr,
             "<=": left.expr <= right.expr, ">": left.expr > right.expr, ">=": left.expr >= right.expr}  # fmt: skip
    return signs[sign]


def _named(value: Value) -> str:
    return f"{value.shown}, a list," if value.is_list and value.is_literal else value.shown


def _advice(left: Value) -> str:
    if left.kind == OTHER:
        return "Leave the column out, or ask whether it `is null`"
    return f"Compare it with {_ARTICLES[left.kind]}"


def _as_time(value: Value, other: Value, source: Source) -> Value:
    """A text that is compared with dates, as the moment that it spells."""
    if other.kind != TIME or value.kind != STRING or not value.is_literal:
        return value
    moment = _moment(value, source)
    return Value(pl.lit(moment, dtype=_TIMES), TIME, _TIMES, value.shown, value.at, is_literal=True, literal=moment)


def _moment(value: Value, source: Source) -> datetime.datetime:
    try:
        moment = datetime.datetime.fromisoformat(value.literal)
    except ValueError:
        raise source.error(
            f"{value.shown} is no date", "Write one as 2026-12-31 or 2026-12-31 18:00", value.at
        ) from None
    if moment.tzinfo is not None:
        raise source.error(f"{value.shown} has a time zone", "Give the time as the column's own zone has it", value.at)
    return moment


def is_among(item: Value, values: Sequence[Value], source: Source) -> pl.Expr:
    """Whether the item's value is one of these literals; null where it is null.

    Raises:
        SettingError: one of them is no literal of the item's kind.
    """
    if item.is_list or item.kind in (OTHER, NULL):
        raise source.error(f"`in [...]` cannot look up {_named(item)}", "Give a column of single values", item.at)
    values = [_as_time(value, item, source) for value in values]
    for value in values:
        if not value.is_literal or value.kind != item.kind:
            problem = f"the list for {item.shown} holds {_named(value)}"
            raise source.error(problem, f"Put in {_ARTICLES[item.kind]}", value.at)
    wanted = [value.literal for value in values]
    if item.kind == NUMERIC and item.dtype.is_integer():
        wanted = [int(one) for one in wanted if one == int(one)]  # a whole number is no other
    series = pl.Series("", wanted, dtype=item.dtype, strict=False).drop_nulls()  # nulls: out of the dtype's range
    expr = item.expr.cast(_FLOAT) if item.is_literal and item.kind == NUMERIC else item.expr
    return expr.is_in(pl.lit(series).implode())


def contains(container: Value, item: Value, source: Source) -> pl.Expr:
    """Whether the item's list, or text, holds this; null where either is null.

    Raises:
        SettingError: it is neither list nor text, or cannot hold such a thing.
    """
    item = _as_time(item, container, source) if container.is_list else item
    if not container.is_list:
        if container.kind != STRING:
            raise source.error(f"{_named(container)} holds neither lists nor text", "Compare it with ==", container.at)
        return container.expr.str.contains(need(item, STRING, source, "looking into a text"), literal=True)
    if item.is_list or item.kind != container.kind or item.kind == OTHER:
        advice = _advice(container).replace("Compare it with", "Look for")
        raise source.error(f"the lists of {container.shown} cannot hold {_named(item)}", advice, item.at)
    inside, wanted = container.expr, item.expr
    if item.kind == NUMERIC:  # one dtype for both, and the widest: a list of Int8 may be asked for 300
        inside, wanted = _both_wide(container, item)
    found = inside.list.contains(wanted)
    return found if item.is_literal else pl.when(wanted.is_not_null()).then(found)


def _both_wide(container: Value, item: Value) -> tuple[pl.Expr, pl.Expr]:
    is_whole = container.dtype.is_integer() and (
        isinstance(item.literal, int) if item.is_literal else item.dtype.is_integer()
    )
    dtype: pl.DataType = pl.Int128() if is_whole else _FLOAT
    if container.dtype == pl.Float32 and item.is_literal:
        dtype = pl.Float32()  # so that 0.1 is found among 32-bit floats
    return container.expr.cast(pl.List(dtype)), item.expr.cast(dtype)


def dtypes_of(columns: Mapping[str, Any]) -> dict[str, pl.DataType]:
    """The columns' dtypes, all as instances."""
    return {name: dtype if isinstance(dtype, pl.DataType) else dtype() for name, dtype in columns.items()}
