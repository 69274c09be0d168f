"""What happened to someone before a moment: events by entity and time, searched for all rows at once."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.errors import DataError, SettingError
from tamis.features.hash_tables import key_function
from tamis.features.lookup import kind_of, plain_values, positions
from tamis.features.ops.op import Column, Learned, Op
from tamis.features.statistics import Log
from tamis.features.table_store import Tables

Numbers: TypeAlias = NDArray[Any]  # int64, or uint64 as times

LOG, TIME = "log", "time"  # what is learned, and its column that says when
PER_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}


def need_time(op: Op, time: Column) -> None:
    """Refuse a column that tells no moments.

    Raises:
        SettingError: names the op, the column and what it holds.
    """
    dtype = time.schema.dtype
    if time.schema.is_list or not (dtype.startswith(("int", "uint")) or kind_of(dtype) in ("date", "datetime")):
        held = f"lists of {dtype}" if time.schema.is_list else dtype
        raise SettingError(
            f"{type(op).__name__}: the time column {time.name!r} holds {held}. "
            "Give a date, a datetime or whole numbers."
        )


def log_of(group: Sequence[Column], time: Column, **values: pl.Expr) -> Log:
    """Asks for all rows, sorted by the group that is the entity, the time and the values."""
    keys = {f"key_{i}": plain_values(column.values, column.schema.dtype) for i, column in enumerate(group)}
    return Log({**keys, TIME: time.values, **values})


def together(parts: Sequence[Learned]) -> pl.DataFrame:
    """The rows of several logs as one log, in the types of the first.

    Raises:
        DataError: a later one has values that these cannot hold, moments of a finer unit say.
    """
    logs: list[pl.DataFrame] = [part[LOG] for part in parts]
    if len(logs) == 1:
        return logs[0]
    dtypes = logs[0].schema
    return pl.concat([logs[0], *(_of_dtypes(log, dtypes) for log in logs[1:])]).sort(logs[0].columns)


def _of_dtypes(log: pl.DataFrame, dtypes: pl.Schema) -> pl.DataFrame:
    same = log.cast(dict(dtypes), strict=False)  # type: ignore[arg-type]
    for name in log.columns:
        lost = same[name].cast(log.schema[name], strict=False).ne_missing(log[name]).arg_true()
        if len(lost):
            raise DataError(
                f"Workflow.update: {log[name][lost[0]]!r} does not fit into the {str(dtypes[name]).lower()} that the "
                "workflow was fitted on. Cast the column to that first."
            )
    return same


def keys_in(log: pl.DataFrame) -> list[str]:
    """The names of the columns that say who."""
    return [name for name in log.columns if name.startswith("key_")]


def known(log: pl.DataFrame) -> pl.DataFrame:
    """The events of which is known who and when."""
    needed = [*keys_in(log), TIME]
    return log.drop_nulls(needed) if any(log[name].null_count() for name in needed) else log


class EventLog:
    """A sorted log, ready to be searched. It must not have null as a time.

    `entities` has each entity once, `starts` where its events begin, and at the end where the last one's stop, and
    `times` the events' times as whole numbers.
    """

    def __init__(self, log: pl.DataFrame) -> None:
        self.log, self.dtype = log, log.schema[TIME]
        keys = keys_in(log)
        runs = log.lazy().group_by(keys, maintain_order=True).agg(pl.len().cast(pl.Int64).alias("length")).collect()
        self.entities = runs.select(keys)
        self.starts: Numbers = np.concatenate([[0], runs["length"].cum_sum().to_numpy()]).astype(np.int64)
        self.times = self.numbers(log[TIME])

    def expr(self, group: Sequence[Column], time: Column, answer: Callable[..., pl.Series], dtype: Any) -> pl.Expr:
        """`answer(log, start, stop, times)` for rows of these entities and times.

        The events of a row's entity strictly before its time lie from `start` to before `stop`. There are none where
        the entity is not in the log or the time is null.
        """

        def search(rows: pl.Series) -> pl.Series:
            times = rows.struct.field("time")
            times = times.fill_nan(None) if times.dtype.is_float() else times  # no moment is not the end of time
            start, stop = self._entity(rows.struct.field("entity"), times)
            wanted = self.numbers(times)
            return answer(self, start, self.first_from(start, stop, wanted), wanted).alias(rows.name)

        entity = positions([column.values for column in group], self.entities)
        rows = pl.struct(entity.alias("entity"), time.values.alias("time"))
        return rows.map_batches(search, return_dtype=dtype, is_elementwise=True)

    def before(self, tables: Tables) -> Callable[..., tuple[int, int, int]]:
        """From one row's entity and time to the start and stop of its earlier events, and the time as a number."""
        find = tables.positions(*self.entities.get_columns())
        starts, times, number = tables.numbers(self.starts), tables.numbers(self.times), key_function(self.dtype)

        def search(*values: Any) -> tuple[int, int, int]:
            *entity, moment = values
            if moment is None:
                return 0, 0, 0
            time = moment if number is None else number(moment)
            at = find(*entity)
            if at is None:
                return 0, 0, time
            start = starts[at]
            return start, bisect_left(times, time, start, starts[at + 1]), time

        return search

    def first_from(self, start: Numbers, stop: Numbers, wanted: Numbers) -> Numbers:
        """Of each of these stretches of the log, the first place whose time is not before the wanted one, or its stop.

        The stretches are halved for all rows at once.
        """
        at = start.copy()
        step = 1 << int((stop - start).max(initial=0)).bit_length()
        while step := step >> 1:
            further = at + step
            rows = np.flatnonzero(further <= stop)
            rows = rows[self.times[further[rows] - 1] < wanted[rows]]
            at[rows] = further[rows]
        return at

    def numbers(self, times: pl.Series) -> Numbers:
        """Times as whole numbers in the log's unit; something in the place of nulls.

        What is finer than the log is rounded up, so that the same events are before it.
        """
        own, other = self.dtype, times.dtype
        if isinstance(own, pl.Datetime) and isinstance(other, pl.Datetime) and own.time_unit != other.time_unit:
            numbers = times.to_physical().fill_null(0)
            up, down = PER_SECOND[own.time_unit], PER_SECOND[other.time_unit]
            if up < down:
                return -(-numbers.to_numpy() // (down // up))
            limit = (2**63 - 1) // (up // down)
            return numbers.clip(-limit, limit).to_numpy() * (up // down)
        return _whole(times.to_physical(), pl.UInt64 if own == pl.UInt64 else pl.Int64).to_numpy()

    def _entity(self, entities: pl.Series, times: pl.Series) -> tuple[Numbers, Numbers]:
        """Where the events of each row's entity start and stop; none where it is unknown, or the time."""
        rows = (entities.is_not_null() & times.is_not_null()).to_numpy()
        start, stop = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
        at = entities.fill_null(0).to_numpy()[rows]
        start[rows], stop[rows] = self.starts[at], self.starts[at + 1]
        return start, stop


def _whole(numbers: pl.Series, dtype: type[pl.DataType]) -> pl.Series:
    """The numbers rounded up, as the nearest that the dtype has."""
    cast = (numbers.ceil() if numbers.dtype.is_float() else numbers).cast(dtype, strict=False)
    beyond = cast.is_null() & numbers.is_not_null()
    if beyond.any():
        limits = (2**64 - 1, 0) if dtype == pl.UInt64 else (2**63 - 1, -(2**63))
        most, least = (pl.lit(limit, dtype) for limit in limits)
        cast = pl.select(pl.when(numbers > 0).then(most).otherwise(least)).to_series().zip_with(beyond, cast)
    return cast.fill_null(0)
