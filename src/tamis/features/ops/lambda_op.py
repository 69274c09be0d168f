"""Any function of a column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import polars as pl

from tamis.data.reading import first_line
from tamis.errors import SettingError
from tamis.features.ops.op import Column, GroupOp, Learned
from tamis.features.trace import COLUMN, given_dtype, traced_value
from tamis.features.values import polars_type
from tamis.schema import ColumnSchema

T = TypeVar("T")
_RESULT = "__tamis_result"
_NO_LONGER_KNOWN = ("domain", "value_count", "stats", "width")


@dataclass(frozen=True, eq=False)
class LambdaOp(GroupOp):
    """Put a function of each column in its place: `["price"] >> LambdaOp(lambda col: col.log1p() * 2)`.

    The function goes from a Polars expression to a Polars expression. It is called here, twice, and never on rows: what
    it returned is what runs, and what is saved. A function of two arguments also gets a stand-in for the frame:
    `lambda col, df: col / df["total"]`. After an op, the function alone is enough: `node >> (lambda col: col * 2)`.
    List columns come as lists. The domain is forgotten; the tags stay.

    Args:
        f: the function. It must make a row's value of that row alone.
        dependency: columns that `df` may be asked for; those that the function does ask for are found anyway. They
            come from the selection, where they pass unchanged, or else from the input.
        label: a name for the op, where the graph is shown.
        dtype: what to cast the result to, or its values where it is a list; by default it stays what it is.
        tags: to add.
        properties: to add.

    Raises:
        SettingError: the function does not give an expression, or one over several rows, or does not fit the column.
    """

    f: Callable[..., pl.Expr]
    dependency: str | Sequence[str] | None = ()
    label: str | None = None
    dtype: Any = None
    tags: str | Sequence[str] | None = ()
    properties: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        expr, found = _as_expression(self.f)
        object.__setattr__(self, "f", expr)
        given = (self.dependency,) if isinstance(self.dependency, str) else tuple(self.dependency or ())
        object.__setattr__(self, "dependency", tuple(dict.fromkeys((*given, *found))))
        if self.dtype is not None:
            object.__setattr__(self, "dtype", given_dtype(self.dtype, "LambdaOp")[0])
        tags = (self.tags,) if isinstance(self.tags, str) else self.tags or ()
        object.__setattr__(self, "tags", tuple(sorted(str(tag) for tag in tags)))

    @property
    def reads(self) -> tuple[str, ...]:
        """What the function takes from the frame."""
        return tuple(self.dependency or ())

    def apply(self, columns: Sequence[Column], learned: Learned) -> Sequence[pl.Expr]:
        """What the function gives for each column of the group."""
        schemas = [column.schema for column in columns]
        own, beside = self._parted(columns)
        return [
            self._result({COLUMN: column.values, **{c.name: c.values for c in beside}}, self._dtype(i, schemas))
            for i, column in enumerate(own)
        ]

    def describe(self, columns: Sequence[ColumnSchema], learned: Learned) -> Sequence[ColumnSchema]:
        """The columns with the dtype that comes out, the tags and the properties; what was known of the values goes."""
        return [self._described(column, self._dtype(i, columns)) for i, column in enumerate(self._parted(columns)[0])]

    def _parted(self, columns: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
        own = len(columns) - len(self.reads)
        return columns[:own], columns[own:]

    def _result(self, values: Mapping[str, pl.Expr], dtype: pl.DataType | None) -> pl.Expr:
        """The function's expression over these values: the fields of a struct made for it."""
        fields = pl.struct(value.alias(name) for name, value in values.items())
        assert isinstance(self.f, pl.Expr)
        result = fields.struct.with_fields(self.f.alias(_RESULT)).struct.field(_RESULT)
        return result if self.dtype is None or dtype is None else result.cast(dtype)

    def _dtype(self, i: int, columns: Sequence[ColumnSchema]) -> pl.DataType | None:
        """What comes out for the i-th column; None where the schema does not tell the types of what comes in."""
        own, beside = self._parted(columns)
        types = {name: polars_type(c) for name, c in [(COLUMN, own[i]), *((c.name, c) for c in beside)]}
        known = {name: dtype for name, dtype in types.items() if dtype is not None}
        if len(known) < len(types):
            return None if self.dtype is None else given_dtype(self.dtype, "LambdaOp")[1]
        try:
            result = self._result({name: pl.col(name) for name in known}, None)
            found = pl.DataFrame(schema=known).select(result.alias(_RESULT)).schema[_RESULT]
        except pl.exceptions.PolarsError as error:
            raise SettingError(
                f"LambdaOp: the function does not fit the column {own[i].name!r}, which holds {_holds(own[i])} "
                f"({first_line(error)}). Leave it out or change the function."
            ) from error
        if self.dtype is None:
            return found
        wanted = given_dtype(self.dtype, "LambdaOp")[1]
        return pl.List(wanted) if isinstance(found, pl.List) else wanted

    def _described(self, column: ColumnSchema, dtype: pl.DataType | None) -> ColumnSchema:
        kept = {name: value for name, value in column.properties.items() if name not in _NO_LONGER_KNOWN}
        plain = replace(column, properties=kept)
        typed = plain if dtype is None else plain.with_dtype(dtype, is_list=False)
        return typed.with_tags(self.tags or ()).with_properties(self.properties or {})


def _as_expression(f: Callable[..., pl.Expr] | pl.Expr) -> tuple[pl.Expr, tuple[str, ...]]:
    """The function's expression, which is already one where a saved op is read."""
    if isinstance(f, pl.Expr) and not f.meta.root_names():
        return f, ()
    return traced_value(f, where="LambdaOp")  # type: ignore[arg-type]  # it refuses what is no function


def _holds(column: ColumnSchema) -> str:
    return f"lists of {column.dtype}" if column.is_list else column.dtype
