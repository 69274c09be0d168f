"""The mean of a target over the earlier rows with the same value."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.errors import DataError
from tamis.features.grouped import need_keys, number
from tamis.features.log_lookup import LOG, TIME, EventLog, Numbers, log_of, need_time
from tamis.features.ops.event_log import EventLogOp
from tamis.features.ops.op import Column, Learned, Online, Unit, polars_dtype
from tamis.features.ops.target_settings import check_settings, described, given_mean, names_in, need_others
from tamis.features.rounding import rounder
from tamis.features.statistics import Ask
from tamis.features.table_store import Tables
from tamis.schema import ColumnSchema, Schema


@dataclass(frozen=True)
class TimedTargetEncoding(EventLogOp):
    """What `TargetEncoding(target, time="ts")` is: each row sees the training rows strictly before its own time.

    The settings are those of TargetEncoding, without folds.
    """

    target: str | Sequence[str]
    target_mean: float | Mapping[str, float] | None = None
    p_smooth: float = 20
    out_col: str | Sequence[str] | None = None
    out_dtype: str = "float32"
    time: str = ""

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def reads(self) -> tuple[str, ...]:
        """The time."""
        return (self.time,)

    @property
    def learns_from(self) -> tuple[str, ...]:
        """The targets."""
        return names_in(self.target)

    def check(self, columns: Schema) -> None:
        """Refuse lists and values that cannot be told apart."""
        need_keys(self, columns)

    def learn(self, columns: Sequence[Column]) -> Mapping[str, Ask]:
        """What the targets were, of whom and when."""
        *group, time = columns[: -len(self.learns_from)]
        need_others(group, self.learns_from)
        need_time(self, time)
        targets = columns[-len(self.learns_from) :]
        return {LOG: log_of(group, time, **{f"target_{i}": number(one, self) for i, one in enumerate(targets)})}

    def finish(self, unit: Unit, found: Learned) -> Learned:
        """The rows with a time."""
        log = found[LOG].filter(pl.col(TIME).is_not_null())
        for i, name in enumerate(self.learns_from):
            if not log[f"target_{i}"].count():
                raise DataError(f"TargetEncoding: the target {name!r} has no value but null and NaN. Check the column.")
        return {LOG: log}

    def apply(self, columns: Sequence[Column], learned: Learned) -> Sequence[pl.Expr]:
        """What the earlier rows say."""
        log, dtype = EventLog(learned[LOG]), polars_dtype(self.out_dtype)
        *group, time = columns
        exprs = []
        for i in range(len(self.learns_from)):
            mean = given_mean(self, i)
            encoded = partial(_encoded, past=_Past.of(log, i), mean=mean, p_smooth=self.p_smooth)
            known = log.expr(group, time, encoded, pl.Float64)
            exprs.append(pl.when(time.values.is_not_null()).then(known).otherwise(pl.lit(mean, pl.Float64)).cast(dtype))
        return exprs

    def describe(self, columns: Sequence[ColumnSchema], learned: Learned) -> Sequence[ColumnSchema]:
        """One continuous column for each target."""
        return described(self, columns[:-1])

    def online(self, columns: Sequence[ColumnSchema], learned: Learned, tables: Tables) -> Online | None:
        """The same, out of tables."""
        log = EventLog(learned[LOG])
        before, to_dtype = log.before(tables), rounder(self.out_dtype)
        encoders = [self._encoder(_Past.of(log, i), given_mean(self, i), tables) for i in range(len(self.learns_from))]

        def encode(*values: Any) -> tuple[float | None, ...]:
            found = [one(*before(*values), values[-1] is not None) for one in encoders]
            return tuple(None if value is None else to_dtype(value) for value in found)

        return encode if len(encoders) > 1 else lambda *values: encode(*values)[0]

    def _encoder(self, past: _Past, mean: float | None, tables: Tables) -> Callable[..., float | None]:
        sums, counts, times = tables.numbers(past.sums), tables.numbers(past.counts), tables.numbers(past.times)
        all_sums, all_counts = tables.numbers(past.all_sums), tables.numbers(past.all_counts)
        p_smooth = self.p_smooth

        def encode(start: int, stop: int, time: int, has_time: bool) -> float | None:
            overall = mean
            if overall is None and has_time:
                seen = bisect_left(times, time)
                overall = all_sums[seen] / all_counts[seen] if all_counts[seen] else None
            if overall is None:
                return None
            total, count = (sums[stop - 1], counts[stop - 1]) if stop > start else (0.0, 0)
            weight = count + p_smooth
            return (total + p_smooth * overall) / weight if weight > 0 else float(overall)

        return encode


@dataclass(frozen=True)
class _Past:
    """A target's sums and numbers up to each event: among those of its entity, and among all in the order of time."""

    sums: NDArray[np.float64]  # this event included
    counts: Numbers
    times: Numbers  # of all events, in order
    all_sums: NDArray[np.float64]  # of the events before this place
    all_counts: Numbers

    @classmethod
    def of(cls, log: EventLog, i: int) -> _Past:
        values = log.log[f"target_{i}"].fill_null(0.0)
        known = log.log[f"target_{i}"].is_not_null().cast(pl.Int64)
        run = np.repeat(np.arange(len(log.entities)), np.diff(log.starts))
        events = pl.DataFrame({"run": run, "value": values, "known": known})
        own = events.select(pl.col("value", "known").cum_sum().over("run"))
        order = np.argsort(log.times, kind="stable")
        return cls(
            own["value"].to_numpy(),
            own["known"].to_numpy(),
            log.times[order],
            np.concatenate([[0.0], np.cumsum(values.to_numpy()[order])]),
            np.concatenate([[0], np.cumsum(known.to_numpy()[order])]),
        )


def _encoded(
    log: EventLog, start: Numbers, stop: Numbers, times: Numbers, past: _Past, mean: float | None, p_smooth: float
) -> pl.Series:
    """The value of each row; NaN-free, null where nothing is known."""
    last = np.maximum(stop - 1, 0)
    has_any = stop > start
    sums = np.where(has_any, past.sums[last], 0.0)
    counts = np.where(has_any, past.counts[last], 0)
    if mean is None:
        seen = np.searchsorted(past.times, times)
        with np.errstate(invalid="ignore"):  # 0 / 0 where nothing came before
            overall = past.all_sums[seen] / past.all_counts[seen]
    else:
        overall = np.full(len(times), float(mean))
    weights = counts + p_smooth
    with np.errstate(invalid="ignore"):
        values = np.where(weights > 0, (sums + p_smooth * overall) / weights, overall)
    return pl.Series(values, nan_to_null=True)
