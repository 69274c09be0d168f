"""How long ago someone was last seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tamis.features.grouped import joined, need_keys, statistic_of
from tamis.features.log_lookup import LOG, PER_SECOND, EventLog, Numbers, log_of, need_time
from tamis.features.ops.event_log import EventLogOp
from tamis.features.ops.op import Column, Learned, Online
from tamis.features.rounding import float32
from tamis.features.statistics import Ask
from tamis.features.table_store import Tables
from tamis.schema import ColumnSchema, Schema


@dataclass(frozen=True)
class Recency(EventLogOp):
    """The time since the last training row of the same entity strictly before the row's own time.

    `["user_id"] >> Recency("timestamp")` gives `user_id_recency` (float32): seconds for dates and datetimes, the
    column's own unit for whole numbers; null where there is no earlier row, or the entity or the time is not known. A
    group, `[["user_id", "item_id"]]`, is one entity. Rows at the same moment do not see each other, and no row looks
    ahead; `Workflow.update` adds later rows.

    Raises:
        SettingError: the time column holds no moments.
        DataError: an entity column holds lists or values that cannot be told apart.
    """

    time: str

    @property
    def reads(self) -> tuple[str, ...]:
        """The time."""
        return (self.time,)

    def check(self, columns: Schema) -> None:
        """Refuse lists and values that cannot be told apart."""
        need_keys(self, columns)

    def learn(self, columns: Sequence[Column]) -> Mapping[str, Ask]:
        """Who was there when."""
        *entity, time = columns
        need_time(self, time)
        return {LOG: log_of(entity, time)}

    def apply(self, columns: Sequence[Column], learned: Learned) -> pl.Expr:
        """The time since the last event."""
        *entity, time = columns
        return EventLog(learned[LOG]).expr(entity, time, _since_last, pl.Float32)

    def describe(self, columns: Sequence[ColumnSchema], learned: Learned) -> ColumnSchema:
        """A continuous column."""
        return statistic_of(columns[:-1], f"{joined(columns[:-1])}_recency", "float32")

    def online(self, columns: Sequence[ColumnSchema], learned: Learned, tables: Tables) -> Online | None:
        """The same, out of tables."""
        log = EventLog(learned[LOG])
        before, times, (factor, divisor) = log.before(tables), tables.numbers(log.times), _to_seconds(log.dtype)

        def since_last(*values: Any) -> float | None:
            start, stop, time = before(*values)
            return float32(float(time - times[stop - 1]) * factor / divisor) if stop > start else None

        return since_last


def _since_last(log: EventLog, start: Numbers, stop: Numbers, times: Numbers) -> pl.Series:
    seen = stop > start
    factor, divisor = _to_seconds(log.dtype)
    passed = np.zeros(len(seen))
    # As unsigned numbers, since the first and the last moment of 64 bits are further apart than 63 bits can say.
    passed[seen] = times[seen].view(np.uint64) - log.times[stop[seen] - 1].view(np.uint64)
    return pl.Series(passed * factor / divisor).cast(pl.Float32).set(pl.Series(~seen), None)


def _to_seconds(dtype: pl.DataType) -> tuple[float, float]:
    """What to multiply and to divide by; whole numbers stay in their unit."""
    if isinstance(dtype, pl.Datetime):
        return 1.0, float(PER_SECOND[dtype.time_unit])
    return (86_400.0, 1.0) if dtype == pl.Date else (1.0, 1.0)
