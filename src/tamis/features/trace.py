"""A function of columns or of a frame to the Polars expression that it means."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import polars as pl

from tamis.data.dtypes import polars_dtype
from tamis.errors import SettingError
from tamis.schema import ColumnSchema

COLUMN = "__tamis_column"  # the field of the column itself in what `traced_value` gives
Make = Callable[[str], pl.Expr]


class TracedColumn(pl.Expr):
    """A column that also knows some of pandas' words."""

    def __init__(self, expr: pl.Expr) -> None:
        self._pyexpr = expr._pyexpr

    def isin(self, values: Iterable[Any]) -> pl.Expr:
        """Whether the value is one of these."""
        return self.is_in(list(values))

    def isna(self) -> pl.Expr:
        """Whether the value is null."""
        return self.is_null()

    def notna(self) -> pl.Expr:
        """Whether the value is not null."""
        return self.is_not_null()

    def fillna(self, value: Any) -> pl.Expr:
        """The value, or another one in the place of null."""
        return self.fill_null(value)

    def astype(self, dtype: Any) -> pl.Expr:
        """The value as another type: Python's, Polars', or a name such as `"int32"`."""
        return self.cast(given_dtype(dtype, "astype")[1])

    isnull, notnull = isna, notna


class TracedFrame:
    """Stands in for a frame while a function is traced; remembers the rows it was asked to keep."""

    def __init__(self, kept: pl.Expr | None = None, make: Make = pl.col, asked: dict[str, None] | None = None) -> None:
        self._kept, self._make = kept, make
        self._asked = {} if asked is None else asked  # the columns that were asked for

    def __getitem__(self, key: str | pl.Expr) -> Any:
        if isinstance(key, pl.Expr):
            return self.filter(key)
        self._asked[key] = None
        return TracedColumn(self._make(key))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def filter(self, condition: pl.Expr) -> TracedFrame:
        """The same as `df[condition]`."""
        kept = condition if self._kept is None else self._kept & condition
        return TracedFrame(kept, self._make, self._asked)


def traced(function: pl.Expr | Callable[[Any], Any], *, where: str) -> pl.Expr:
    """The expression that a function of a frame returns; an expression comes back as it is.

    Raises:
        SettingError: the function fails on the stand-in, returns something else, or a condition over several rows.
    """
    if isinstance(function, pl.Expr):
        return _need_row_by_row(function, where)
    if not callable(function):
        raise SettingError(f"{where}: {function!r} is neither an expression nor a function. Give one of the two.")
    advice = "Use comparisons of columns with &, | and ~, or give a Polars expression."
    result = _called(function, TracedFrame(), where=where, advice=advice)
    result = getattr(result, "_kept", result) if isinstance(result, TracedFrame) else result
    if not isinstance(result, pl.Expr):
        raise SettingError(
            f"{where}: the function returned {result!r}, not an expression over columns. "
            'Return a condition such as df["click"] == 1.'
        )
    return _need_row_by_row(result, where)


def traced_value(function: Callable[..., Any], *, where: str) -> tuple[pl.Expr, tuple[str, ...]]:
    """The expression that a function of a column, or of a column and a frame, returns, and the columns of the frame.

    It is one over fields: `COLUMN`, and the columns that the function took from the frame. The function is called
    twice: only an expression over columns can be asked whether it goes row by row.

    Raises:
        SettingError: the function fails on the stand-in, returns something else, or looks at several rows.
    """
    if not callable(function) or isinstance(function, type | pl.Expr):
        raise SettingError(f"{where}: {function!r} is not a function. Give one from a column to an expression.")
    results: list[pl.Expr] = []
    asked: dict[str, None] = {}
    for make in (pl.col, pl.field):
        frame = TracedFrame(make=make, asked=asked)
        given = (TracedColumn(make(COLUMN)), frame)[: _number_of_arguments(function, where)]
        advice = "Use arithmetic, Polars' own methods of expressions and pl.when."
        result = _called(function, *given, where=where, advice=advice)
        if not isinstance(result, pl.Expr):
            raise SettingError(f"{where}: the function returned {result!r}, not an expression. Return one: col * 2.")
        results.append(result)
    _need_row_by_row(results[0], where, "result")
    return results[1], tuple(asked)


def given_dtype(dtype: Any, where: str) -> tuple[str, pl.DataType]:
    """A type as one writes it, Python's, Polars' or a name such as `"int32"`: its plain name, and what it is.

    Raises:
        SettingError: it is none.
    """
    name = ColumnSchema("", dtype).dtype
    found = polars_dtype(name)
    if found is None:
        raise SettingError(f"{where}: {dtype!r} is no type. Give one such as int32, float32, boolean or string.")
    return name, found


def _called(function: Callable[..., Any], *arguments: Any, where: str, advice: str) -> Any:
    try:
        return function(*arguments)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SettingError(f"{where}: the function cannot be turned into an expression ({reason}). {advice}") from error


def _number_of_arguments(function: Callable[..., Any], where: str) -> int:
    """1 for a function of a column, 2 for one of a column and a frame."""
    parameters = inspect.signature(function).parameters.values()
    needed = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(needed) not in (1, 2):
        raise SettingError(f"{where}: the function takes {len(needed)} arguments. Give one of (col) or of (col, df).")
    return len(needed)


def _need_row_by_row(expr: pl.Expr, where: str, what: str = "condition") -> pl.Expr:
    if _is_row_by_row(expr):
        return expr
    way_out = "Compute the number to compare with first." if what == "condition" else "Learn it with an op instead."
    raise SettingError(
        f"{where}: the {what} looks at more than one row ({expr}), so a row alone would be "
        f"{'judged' if what == 'condition' else 'computed'} differently. {way_out}"
    )


def _is_row_by_row(expr: pl.Expr) -> bool:
    if expr.meta.is_literal() or ("element()" in str(expr) and not expr.meta.root_names()):
        return True  # a constant; or what happens inside each row's own list
    try:
        separable = expr.meta.is_row_separable()  # tells of the outermost step only
    except pl.exceptions.PolarsError:  # it cannot say without the columns' dtypes
        separable = True
    return separable and all(_is_row_by_row(part) for part in expr.meta.pop())
