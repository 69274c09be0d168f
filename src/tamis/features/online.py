"""A workflow for requests: plain Python values of one row in, plain Python values out, in microseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias, overload

from tamis.errors import DataError, SettingError, UnknownColumnError
from tamis.features.fitting import Fitted
from tamis.features.node import Node
from tamis.features.plan import Plan, plan_of
from tamis.features.table_store import Tables, mapped_tables, only_one, write_tables
from tamis.features.values import Read, reader
from tamis.schema import Schema

Row: TypeAlias = Mapping[str, Any]


class OnlineWorkflow:
    """Rows as `Workflow.transform` would make them, one at a time; `Workflow.online` gives it.

    Any number of threads may use it at once. Training rows get what any other rows get, and no row is left out: row
    filters are for choosing what to learn from, and columns that only they read are not asked for.
    """

    def __init__(self, plan: Plan, input_schema: Schema, output_schema: Schema) -> None:
        self.input_schema, self.output_schema = input_schema, output_schema
        self.slow_columns = plan.slow_columns
        self._num_inputs, self._calls = plan.num_inputs, plan.calls
        self._readers: list[tuple[int, str, Read]] = [
            (place, name, reader(input_schema[name])) for name, place in plan.inputs.items()
        ]
        self._names = list(plan.outputs)
        self._pick = _getter(list(plan.outputs.values()))

    @overload
    def transform(self, rows: Row) -> dict[str, Any]: ...
    @overload
    def transform(self, rows: Sequence[Row]) -> list[dict[str, Any]]: ...
    def transform(self, rows: Row | Sequence[Row]) -> dict[str, Any] | list[dict[str, Any]]:
        """The columns that come out for a row, or for each row of a list: codes `int`, numbers `float`, lists `list`.

        None, and NaN in a column without floats, stand for a missing value; keys that no op reads are ignored.

        Raises:
            UnknownColumnError: a row lacks a column.
            DataError: a value does not fit its column.
            SettingError: something that is no row.
        """
        if isinstance(rows, dict):
            return self._one(rows)
        if isinstance(rows, Mapping):
            return self._one(rows)
        if not isinstance(rows, list | tuple):
            raise SettingError(f"Workflow.online: a {type(rows).__name__} is no row. Give a dict, or a list of dicts.")
        return [self._one(row) for row in rows]

    def _one(self, row: Row) -> dict[str, Any]:
        slots: list[Any] = [None] * self._num_inputs
        try:
            for place, name, read in self._readers:
                slots[place] = read(row[name])
        except (KeyError, TypeError) as error:
            raise self._wrong(row) from error
        try:
            for call in self._calls:
                slots.append(call(slots))
        except UnicodeEncodeError as error:
            raise self._wrong(row) from error
        return dict(zip(self._names, self._pick(slots), strict=True))

    def _wrong(self, row: Any) -> Exception:
        """What is wrong with a row that could not be used."""
        if not isinstance(row, Mapping):
            return SettingError(f"Workflow.online: a {type(row).__name__} is no row. Give a dict, or a list of dicts.")
        for _, name, _ in self._readers:
            if name not in row:
                return UnknownColumnError(name, row, where="Workflow.online")
        for _, name, _ in self._readers:
            if _has_no_bytes(row[name]):
                got = f"the column {name!r} got {row[name]!r}"
                return DataError(f"Workflow.online: {got}, which is no valid Unicode. Repair it first.")
        raise  # not the row's fault, so the error that is being handled is

    def __repr__(self) -> str:
        slow = f", through Polars: {', '.join(self.slow_columns)}" if self.slow_columns else ""
        return f"OnlineWorkflow({len(self._readers)} columns in, {len(self._names)} out{slow})"


def online(node: Node, fitted: Fitted, output_schema: Schema, folder: str | Path | None) -> OnlineWorkflow:
    """The workflow for requests, with its tables in memory or, with a folder, in files that processes share."""
    if folder is None:
        plan = plan_of(node, fitted, Tables())
    else:
        place = Path(folder).expanduser().absolute()
        with only_one(place):
            tables = Tables(mapped_tables(place))
            plan = plan_of(node, fitted, tables)
            if tables.has_built or not place.is_dir():
                write_tables(place, tables)
                plan = plan_of(node, fitted, Tables(mapped_tables(place)))
    return OnlineWorkflow(plan, fitted.input_schema.select_by_name(list(plan.inputs)), output_schema)


def _getter(places: list[int]) -> Any:
    if len(places) > 1:
        return itemgetter(*places)
    return lambda slots: [slots[place] for place in places]


def _has_no_bytes(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_has_no_bytes(one) for one in value)
    return isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value)
