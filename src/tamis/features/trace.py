"""A function of a frame to the Polars expression that it means."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import polars as pl

from tamis.errors import SettingError


class TracedColumn(pl.Expr):
    """A column that also knows some of pandas' words."""

    def __init__(self, name: str) -> None:
        self._pyexpr = pl.col(name)._pyexpr

    def isin(self, values: Iterable[Any]) -> pl.Expr:
        """Whether the value is one of these."""
        return self.is_in(list(values))

    def isna(self) -> pl.Expr:
        """Whether the value is null."""
        return self.is_null()

    def notna(self) -> pl.Expr:
        """Whether the value is not null."""
        return self.is_not_null()

    isnull, notnull = isna, notna


class TracedFrame:
    """Stands in for a frame while a function is traced; remembers the rows it was asked to keep."""

    def __init__(self, kept: pl.Expr | None = None) -> None:
        self._kept = kept

    def __getitem__(self, key: str | pl.Expr) -> Any:
        if isinstance(key, pl.Expr):
            return TracedFrame(key if self._kept is None else self._kept & key)
        return TracedColumn(key)

    def __getattr__(self, name: str) -> TracedColumn:
        if name.startswith("_"):
            raise AttributeError(name)
        return TracedColumn(name)

    def filter(self, condition: pl.Expr) -> TracedFrame:
        """The same as `df[condition]`."""
        return TracedFrame(condition if self._kept is None else self._kept & condition)


def traced(function: pl.Expr | Callable[[Any], Any], *, where: str) -> pl.Expr:
    """The expression that a function of a frame returns; an expression comes back as it is.

    Raises:
        SettingError: the function fails on the stand-in, returns something else, or a condition over several rows.
    """
    if isinstance(function, pl.Expr):
        return _need_row_by_row(function, where)
    if not callable(function):
        raise SettingError(f"{where}: {function!r} is neither an expression nor a function. Give one of the two.")
    try:
        result = function(TracedFrame())
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SettingError(
            f"{where}: the function cannot be turned into an expression ({reason}). "
            "Use comparisons of columns with &, | and ~, or give a Polars expression."
        ) from error
    result = getattr(result, "_kept", result) if isinstance(result, TracedFrame) else result
    if not isinstance(result, pl.Expr):
        raise SettingError(
            f"{where}: the function returned {result!r}, not an expression over columns. "
            'Return a condition such as df["click"] == 1.'
        )
    return _need_row_by_row(result, where)


def _need_row_by_row(expr: pl.Expr, where: str) -> pl.Expr:
    if _is_row_by_row(expr):
        return expr
    raise SettingError(
        f"{where}: the condition looks at more than one row ({expr}), so a row alone would be judged differently. "
        "Compute the number to compare with first."
    )


def _is_row_by_row(expr: pl.Expr) -> bool:
    if expr.meta.is_literal() or ("element()" in str(expr) and not expr.meta.root_names()):
        return True  # a constant; or what happens inside each row's own list
    try:
        separable = expr.meta.is_row_separable()  # tells of the outermost step only
    except pl.exceptions.PolarsError:  # it cannot say without the columns' dtypes
        separable = True
    return separable and all(_is_row_by_row(part) for part in expr.meta.pop())
