"""What someone had before: an entity's last values, for models of sequences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from tamis.errors import SettingError
from tamis.features.grouped import need_keys
from tamis.features.log_lookup import LOG, EventLog, Numbers, known, log_of, need_time
from tamis.features.lookup import kind_of, plain_values
from tamis.features.ops.event_log import EventLogOp
from tamis.features.ops.op import Column, Learned, Online, Unit
from tamis.features.statistics import Ask
from tamis.features.table_store import Tables
from tamis.schema import ColumnSchema, Schema, Tags

_OF_WHOM = frozenset({Tags.USER, Tags.ITEM, Tags.SESSION, Tags.CONTEXT})
_NOT_OF_A_HISTORY = _OF_WHOM | {
    *(Tags.ID, Tags.USER_ID, Tags.ITEM_ID, Tags.SESSION_ID, Tags.TIME),
    *(Tags.TARGET, Tags.REGRESSION, Tags.CLASSIFICATION, Tags.BINARY, Tags.MULTI_CLASS),
    *(Tags.BINARY_CLASSIFICATION, Tags.MULTI_CLASS_CLASSIFICATION),
}


@dataclass(frozen=True)
class HistorySequence(EventLogOp):
    """The entity's last values strictly before the row's own time, oldest first.

    `["item_id"] >> HistorySequence("user_id", "timestamp", length=20)` gives `item_id_history`: the last items of the
    training rows that the user had before; an empty list where there were none, or the user or the time is not known.
    Values of one moment stand in ascending order. Put it after Categorify and the history shares the domain, and so the
    embedding table, of its column. Missing values are no events. A row at request time sees all training rows, and
    those that `Workflow.update` adds.

    Args:
        entity: the column, or columns together, that values belong to.
        time: a date, a datetime or whole numbers.
        length: values that stay, the latest.

    Raises:
        SettingError: the time column holds no moments, a column holds lists, or the length is below 1.
    """

    entity: str | Sequence[str]
    time: str
    length: int = 20

    def __post_init__(self) -> None:
        if not isinstance(self.entity, str):
            object.__setattr__(self, "entity", tuple(self.entity))
        if not self.entity:
            raise SettingError("HistorySequence: entity is empty. Name a column, or several that are one together.")
        if not isinstance(self.length, int) or isinstance(self.length, bool) or self.length < 1:
            raise SettingError(f"HistorySequence: length is {self.length!r}. Choose 1 or more.")

    @property
    def reads(self) -> tuple[str, ...]:
        """The entity and the time."""
        return (*((self.entity,) if isinstance(self.entity, str) else self.entity), self.time)

    def check(self, columns: Schema) -> None:
        """Refuse lists, and what cannot be put in order."""
        for column in columns:
            if column.is_list:
                raise SettingError(f"HistorySequence: the column {column.name!r} holds lists already. Leave it out.")
            if kind_of(column.dtype) == "other":
                raise SettingError(
                    f"HistorySequence: the column {column.name!r} holds {column.dtype}, which has no order. "
                    "Cast it to numbers, text or dates."
                )

    def learn(self, columns: Sequence[Column]) -> Mapping[str, Ask]:
        """Who had what when."""
        values, entity, time = self._parts(columns)
        need_time(self, time)
        need_keys(self, [column.schema for column in entity])
        plain = {f"value_{i}": plain_values(column.values, column.schema.dtype) for i, column in enumerate(values)}
        return {LOG: log_of(entity, time, **plain)}

    def finish(self, unit: Unit, found: Learned) -> Learned:
        """The rows of which is known who, when and what; of a group, any of it."""
        log = known(found[LOG])
        names = _values_in(log)
        has_gaps = all(log[name].null_count() for name in names)
        return {LOG: log.filter(pl.any_horizontal(pl.col(names).is_not_null())) if has_gaps else log}

    def apply(self, columns: Sequence[Column], learned: Learned) -> Sequence[pl.Expr]:
        """A list for each column of the group."""
        _, entity, time = self._parts(columns)
        values = learned[LOG].select(_values_in(learned[LOG]))
        dtype = pl.Struct({name: pl.List(inner) for name, inner in values.schema.items()})
        cut = partial(_histories, values=values, length=self.length)
        histories = EventLog(learned[LOG]).expr(entity, time, cut, dtype)
        return [histories.struct.field(name) for name in values.columns]

    def describe(self, columns: Sequence[ColumnSchema], learned: Learned) -> Sequence[ColumnSchema]:
        """Lists in a sequence, of whom the entity is, with the values' domain."""
        number = len(columns) - len(self.reads)
        of_whom = _OF_WHOM.intersection(*(column.tags for column in columns[number:-1]))
        described = []
        for i, column in enumerate(columns[:number]):
            tags = (column.tags - _NOT_OF_A_HISTORY) | of_whom | {Tags.LIST, Tags.SEQUENCE}
            history = replace(column, name=f"{column.name}_history", tags=tags)
            history = history.with_dtype(learned[LOG].schema[f"value_{i}"], is_list=True)
            described.append(history.with_properties({"value_count": {"min": 0, "max": self.length}}))
        return described

    def online(self, columns: Sequence[ColumnSchema], learned: Learned, tables: Tables) -> Online | None:
        """The same, out of tables."""
        number, log, length = len(columns) - len(self.reads), learned[LOG], self.length
        values = [log[name] for name in _values_in(log)]
        cuts = [None if one.null_count() else tables.slices(one) for one in values]
        found = [cut for cut in cuts if cut is not None]
        if len(found) < len(cuts):
            return None
        before = EventLog(log).before(tables)

        def histories(*row: Any) -> tuple[list[Any], ...]:
            start, stop, _ = before(*row[number:])
            return tuple(cut(max(start, stop - length), stop) for cut in found)

        return histories if len(found) > 1 else lambda *row: histories(*row)[0]

    def _parts(self, columns: Sequence[Column]) -> tuple[Sequence[Column], Sequence[Column], Column]:
        """The group's columns, the entity's, and the time."""
        number = len(columns) - len(self.reads)
        return columns[:number], columns[number:-1], columns[-1]


def _values_in(log: pl.DataFrame) -> list[str]:
    return [name for name in log.columns if name.startswith("value_")]


def _histories(
    log: EventLog, start: Numbers, stop: Numbers, times: Numbers, values: pl.DataFrame, length: int
) -> pl.Series:
    """A struct of each column's list."""
    return pl.DataFrame(_lists(values, np.maximum(start, stop - length), stop)).to_struct()


def _lists(values: pl.DataFrame, start: Numbers, stop: Numbers) -> Iterator[pl.Series]:
    """Of each column, the values from a start to before a stop, a list for each pair of these."""
    offsets = np.concatenate([[0], np.cumsum(stop - start)]).astype(np.int64)
    places = np.repeat(start - offsets[:-1], stop - start) + np.arange(offsets[-1])
    for column in values.get_columns():
        lists = pa.LargeListArray.from_arrays(pa.array(offsets), column.gather(places).to_arrow())
        yield pl.Series(column.name, lists, dtype=pl.List(column.dtype))
