"""How often someone was seen lately."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from tamis.errors import SettingError
from tamis.features.grouped import joined, need_keys, statistic_of
from tamis.features.log_lookup import LOG, PER_SECOND, EventLog, Numbers, log_of, need_time
from tamis.features.lookup import kind_of
from tamis.features.ops.event_log import EventLogOp
from tamis.features.ops.op import Column, Learned, Online
from tamis.features.statistics import Ask
from tamis.features.table_store import Tables
from tamis.schema import ColumnSchema, Schema

_DAY = 86_400
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": _DAY, "w": 7 * _DAY}
_LONGEST = 2**63 - 1


@dataclass(frozen=True)
class RollingCount(EventLogOp):
    """The number of training rows of the same entity in a time before the row's own.

    `["user_id"] >> RollingCount("timestamp", ["1d", "7d"])` gives `user_id_count_1d` and `user_id_count_7d` (int32).
    A row at t counts those from t - window on, up to but not including t; 0 where the entity or the time is not known.
    A group, `[["user_id", "item_id"]]`, is one entity. No row looks ahead; `Workflow.update` adds later rows.

    Args:
        time: a date, a datetime or whole numbers.
        windows: such as `"30s"`, `"15m"`, `"6h"`, `"7d"`, `"2w"`; for whole numbers a length in their own unit.

    Raises:
        SettingError: the time column holds no moments, or a window does not fit it.
        DataError: an entity column holds lists or values that cannot be told apart.
    """

    time: str
    windows: str | int | Sequence[str | int] = ("1d", "7d", "30d")

    def __post_init__(self) -> None:
        windows = (self.windows,) if isinstance(self.windows, str | int) else tuple(self.windows)
        object.__setattr__(self, "windows", windows)
        if not windows:
            raise SettingError('RollingCount: windows is empty. Give one or several, such as "7d".')
        for window in windows:
            if not _is_length(window):
                raise SettingError(
                    f"RollingCount: the window {window!r} is no length of time. "
                    'Give one such as "6h" or "7d", or for whole numbers a positive one.'
                )

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
        for window in self._windows:
            _need_fitting(window, time.schema)
        return {LOG: log_of(entity, time)}

    def apply(self, columns: Sequence[Column], learned: Learned) -> Sequence[pl.Expr]:
        """The counts, a column for each window."""
        *entity, time = columns
        log = EventLog(learned[LOG])
        steps = {str(window): _steps(window, log.dtype) for window in self._windows}
        counts = log.expr(entity, time, partial(_counts, steps=steps), pl.Struct(dict.fromkeys(steps, pl.Int32)))
        return [counts.struct.field(name) for name in steps]

    def describe(self, columns: Sequence[ColumnSchema], learned: Learned) -> Sequence[ColumnSchema]:
        """Continuous columns."""
        name = joined(columns[:-1])
        return [statistic_of(columns[:-1], f"{name}_count_{window}", "int32") for window in self._windows]

    def online(self, columns: Sequence[ColumnSchema], learned: Learned, tables: Tables) -> Online | None:
        """The same, out of tables."""
        log = EventLog(learned[LOG])
        before, times = log.before(tables), tables.numbers(log.times)
        steps = [_steps(window, log.dtype) for window in self._windows]

        def counts(*values: Any) -> tuple[int, ...]:
            start, stop, time = before(*values)
            return tuple(stop - bisect_left(times, time - step, start, stop) for step in steps)

        return counts if len(steps) > 1 else lambda *values: counts(*values)[0]

    @property
    def _windows(self) -> Sequence[str | int]:
        assert isinstance(self.windows, tuple)
        return self.windows


def _counts(log: EventLog, start: Numbers, stop: Numbers, times: Numbers, steps: Mapping[str, int]) -> pl.Series:
    """A struct of the counts of all windows."""
    least = np.iinfo(times.dtype).min
    counts = []
    for name, step in steps.items():
        first = np.where(times < least + step, least, times - times.dtype.type(step))
        counts.append(pl.Series(name, (stop - log.first_from(start, stop, first)).astype(np.int32)))
    return pl.DataFrame(counts).to_struct()


def _is_length(window: object) -> bool:
    if isinstance(window, str):
        found = re.fullmatch(r"(\d+)[smhdw]", window)
        return found is not None and int(found[1]) > 0
    return isinstance(window, int) and not isinstance(window, bool) and window > 0


def _need_fitting(window: str | int, time: ColumnSchema) -> None:
    """Refuse a window that is no length in the time column."""
    is_number = kind_of(time.dtype) == "number"
    if isinstance(window, str) and not is_number:
        if time.dtype != "date" or _length(window) % _DAY == 0:
            return
        instead = 'Give whole days, such as "7d"'
    elif is_number == isinstance(window, int):
        return
    else:
        instead = "Give a number" if is_number else 'Give one such as "7d"'
    raise SettingError(
        f"RollingCount: the window {window!r} does not fit the time column {time.name!r}, which holds {time.dtype}. "
        f"{instead}."
    )


def _length(window: str) -> int:
    """A window's seconds."""
    return int(window[:-1]) * _SECONDS[window[-1]]


def _steps(window: str | int, dtype: pl.DataType) -> int:
    """A window in the log's whole numbers."""
    if isinstance(window, int):
        return min(window, _LONGEST)
    seconds = _length(window)
    steps = seconds * PER_SECOND[dtype.time_unit] if isinstance(dtype, pl.Datetime) else seconds // _DAY
    return min(steps, _LONGEST)
