"""Whether data is like the data that a workflow was fitted on."""

from __future__ import annotations

from tamis.errors import DataError, UnknownColumnError
from tamis.features.fitting import Fitted
from tamis.features.lookup import kind_of
from tamis.schema import Schema


def check_columns(fitted: Fitted, schema: Schema, *, where: str) -> None:
    """Refuse data that lacks a column which `fit` read, or holds other values in it.

    Raises:
        UnknownColumnError: a column is missing; names the first op that reads it.
        DataError: a column holds another kind of values than in `fit`, or lists for single values.
    """
    for expected in fitted.input_schema:
        if expected.name not in schema:
            raise UnknownColumnError(expected.name, schema.column_names, where=fitted.readers[expected.name])
        found = schema[expected.name]
        check_kind(expected.name, found.dtype, expected.dtype, where)
        if _finer_kind(found.dtype) != _finer_kind(expected.dtype) and found.dtype != "null":
            raise _other_kind(expected.name, found.dtype, expected.dtype, where)
        if found.is_list != expected.is_list:
            forms = ("lists", "single values") if found.is_list else ("single values", "lists")
            raise DataError(
                f"Workflow.{where}: the column {found.name!r} holds {forms[0]} but held {forms[1]} in fit. "
                "Give it the same form."
            )


def check_kind(name: str, found: str, expected: str, where: str) -> None:
    """Refuse values that cannot be compared with those of `fit`: text for numbers, say.

    Raises:
        DataError: names both dtypes.
    """
    if kind_of(found) != kind_of(expected) and found != "null":
        raise _other_kind(name, found, expected, where)


def _finer_kind(dtype: str) -> str:
    """What `kind_of` puts together but expressions do not: times of different zones; decimals, structs and bytes."""
    return dtype.split("(")[0] if kind_of(dtype) == "other" else dtype.partition("time_zone=")[2]


def _other_kind(name: str, found: str, expected: str, where: str) -> DataError:
    return DataError(
        f"Workflow.{where}: the column {name!r} holds {found} but held {expected} in fit. Cast it to the same type."
    )
