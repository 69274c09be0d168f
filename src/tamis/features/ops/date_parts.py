"""Moments to year, month, day, hour, minute and weekday."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tamis.errors import SettingError
from tamis.features.lookup import kind_of
from tamis.features.ops.op import Column, ColumnOp, Learned, Online
from tamis.features.rounding import float32
from tamis.features.table_store import Tables
from tamis.schema import ColumnSchema, Schema, Tags

_PARTS = ("year", "month", "day", "hour", "minute", "weekday")
_IN_A_DAY = ("hour", "minute")  # what a date does not have
_FIRST = {"month": 1, "day": 1, "hour": 0, "minute": 0, "weekday": 1}
_NUMBER = {"month": 12, "day": 31, "hour": 24, "minute": 60, "weekday": 7}
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY_OF_1970 = 719_162  # days before it since the year 1
_LAST_DAY = 90_000_000  # about the year 248,000: beyond it there are no dates


@dataclass(frozen=True)
class DateParts(ColumnOp):
    """Take moments apart: `ts` becomes `ts_year`, `ts_month`, ..., as codes or, where they come round, as cycles.

    Codes are int32, with 0 for null, as for padding in lists: month 1 to 12, day 1 to 31, weekday 1 (Monday) to 7,
    hour + 1, minute + 1; years are 2 for the first year of the training rows, 3 for the next, and 1 for any year that
    lies outside of theirs. A moment with a time zone has the parts of its local time. Dates have no hour and minute, so
    none come out.

    Args:
        parts: any of year, month, day, hour, minute, weekday.
        cyclic: give all but the year as `ts_hour_sin` and `ts_hour_cos` instead: a point on a circle, float32, so that
            23 h is beside 0 h. Null stays null there.
        unit: `"s"`, `"ms"`, `"us"` or `"ns"`, for columns of whole numbers since 1970, in UTC.

    Raises:
        SettingError: a part or a unit that is not known; a column without moments, or of whole numbers without a unit.
    """

    parts: Sequence[str] = _PARTS
    cyclic: bool = False
    unit: str | None = None

    def __post_init__(self) -> None:
        parts = (self.parts,) if isinstance(self.parts, str) else tuple(self.parts)
        object.__setattr__(self, "parts", parts)
        unknown = [part for part in parts if part not in _PARTS]
        if not parts or unknown or len(set(parts)) < len(parts):
            raise SettingError(f"DateParts: parts={list(parts)} should be some of {', '.join(_PARTS)}, each once.")
        if self.unit is not None and self.unit not in _PER_SECOND:
            raise SettingError(f"DateParts: unit={self.unit!r} is unknown. Choose one of {', '.join(_PER_SECOND)}.")

    def check(self, columns: Schema) -> None:
        """Refuse columns without moments."""
        for column in columns:
            is_number = column.dtype.startswith(("int", "uint"))
            if is_number and self.unit is None:
                raise SettingError(
                    f"DateParts: the column {column.name!r} holds {column.dtype}, but what its numbers count is not "
                    'known. Give unit="s" for seconds since 1970, or "ms", "us", "ns".'
                )
            if not is_number and kind_of(column.dtype) not in ("date", "datetime"):
                raise SettingError(
                    f"DateParts: the column {column.name!r} holds {column.dtype}, not moments. Cast it to a datetime."
                )
            if not self._parts_of(column):
                given = " and no ".join(self.parts)
                raise SettingError(
                    f"DateParts: the column {column.name!r} holds dates, which have no {given}. Cast it."
                )

    def learn(self, column: Column) -> Mapping[str, pl.Expr]:
        """The first and the last year."""
        if "year" not in self.parts:
            return {}
        year = self._part("year", column)
        return {"first": year.min(), "last": year.max()}

    def merge(self, parts: Sequence[Learned]) -> Learned:
        """The first and the last year of all parts."""
        seen = [part for part in parts if part.get("first") is not None]
        if not seen:
            return parts[0]
        return {"first": min(part["first"] for part in seen), "last": max(part["last"] for part in seen)}

    def apply(self, column: Column, learned: Learned) -> Sequence[pl.Expr]:
        """The parts in their order."""
        made: list[pl.Expr] = []
        for part in self._parts_of(column.schema):
            number = self._part(part, column)
            if part == "year":
                made.append(_year_code(number, learned["first"], learned["last"]))
            elif self.cyclic:
                angle = (number - _FIRST[part]).cast(pl.Float64) * (2 * math.pi / _NUMBER[part])
                made += [angle.sin().cast(pl.Float32), angle.cos().cast(pl.Float32)]
            else:
                made.append((number - (_FIRST[part] - 1)).fill_null(0))
        return made

    def online(self, column: ColumnSchema, learned: Learned, tables: Tables) -> Online:
        """The parts in their order."""
        is_number = self.unit is not None and column.dtype.startswith(("int", "uint"))
        parts, first, last = self._parts_of(column), learned.get("first"), learned.get("last")
        read = _parts_of_number(_PER_SECOND[self.unit]) if is_number and self.unit else _parts_of_moment
        finish = [self._finish(part, first, last) for part in parts]

        def take_apart(moment: Any) -> Any:
            found = read(moment)
            made = [one for part, end in zip(parts, finish, strict=True) for one in end(found.get(part))]
            return made[0] if len(made) == 1 else made

        return take_apart

    def _finish(self, part: str, first: int | None, last: int | None) -> Callable[[int | None], Sequence[Any]]:
        """From a part of a moment to the values that come out."""
        if part == "year":
            first, last = (0, -1) if first is None or last is None else (first, last)  # (0, -1): no year was seen
            return lambda n: (0 if n is None else n - (first - 2) if first <= n <= last else 1,)
        if not self.cyclic:
            return lambda n: (0 if n is None else n - (_FIRST[part] - 1),)
        angles = [i * (2 * math.pi / _NUMBER[part]) for i in range(_NUMBER[part])]
        waves = [(float32(math.sin(angle)), float32(math.cos(angle))) for angle in angles]
        return lambda n: (None, None) if n is None else waves[n - _FIRST[part]]

    def describe(self, column: ColumnSchema, learned: Learned) -> Sequence[ColumnSchema]:
        """Categorical codes with their domains, or continuous sines and cosines; a part is no time."""
        described: list[ColumnSchema] = []
        plain = ColumnSchema(column.name, tags=column.tags - {Tags.TIME}, is_list=column.is_list)
        for part in self._parts_of(column):
            named = plain.with_name(f"{column.name}_{part}")
            if self.cyclic and part != "year":
                cycle = named.with_dtype("float32").with_tags(Tags.CONTINUOUS)
                described += [cycle.with_name(f"{named.name}_{wave}") for wave in ("sin", "cos")]
            else:
                largest = _number_of_years(learned) + 1 if part == "year" else _NUMBER[part]
                described.append(named.with_dtype("int32").with_tags(Tags.CATEGORICAL).with_domain(largest))
        return described

    def _parts_of(self, column: ColumnSchema) -> list[str]:
        return [part for part in self.parts if column.dtype != "date" or part not in _IN_A_DAY]

    def _part(self, part: str, column: Column) -> pl.Expr:
        """A part of the moments as it is usually counted, int32; null where there is none."""
        if self.unit is None or not column.schema.dtype.startswith(("int", "uint")):
            number: pl.Expr = getattr(column.values.dt, part)()
        else:
            number = _part_of_number(part, column.values, _PER_SECOND[self.unit])
        return number.cast(pl.Int32)


def _parts_of_moment(moment: dt.date | None) -> dict[str, int]:
    """The parts of a date or a datetime, as they are usually counted; nothing of None."""
    if moment is None:
        return {}
    of_the_day = {"hour": moment.hour, "minute": moment.minute} if isinstance(moment, dt.datetime) else {}
    date = {"year": moment.year, "month": moment.month, "day": moment.day, "weekday": moment.isoweekday()}
    return date | of_the_day


def _parts_of_number(per_second: int) -> Callable[[int | None], dict[str, int]]:
    def parts(number: int | None) -> dict[str, int]:
        if number is None or not -(2**63) <= number < 2**63:
            return {}
        days, seconds = divmod(number // per_second, 86_400)
        if not -_LAST_DAY <= days <= _LAST_DAY:
            return {}
        # The calendar comes round every 400 years, weekdays too; Python's own dates end in the year 9999.
        rounds, day = divmod(days + _DAY_OF_1970, 146_097)
        found = _parts_of_moment(dt.date.fromordinal(day + 1))
        return {**found, "year": found["year"] + 400 * rounds, "hour": seconds // 3600, "minute": seconds // 60 % 60}

    return parts


def _part_of_number(part: str, values: pl.Expr, per_second: int) -> pl.Expr:
    """By whole-number arithmetic: a cast to a datetime could overflow."""
    seconds = values.cast(pl.Int64, strict=False) // per_second
    days = seconds // 86_400
    exists = days.is_between(-_LAST_DAY, _LAST_DAY)
    if part in _IN_A_DAY:
        of_the_day = seconds % 86_400
        return pl.when(exists).then(of_the_day // 3600 if part == "hour" else of_the_day // 60 % 60)
    date = pl.when(exists).then(days).cast(pl.Int32).cast(pl.Date)
    found: pl.Expr = getattr(date.dt, part)()
    return found


def _year_code(year: pl.Expr, first: int | None, last: int | None) -> pl.Expr:
    if first is None or last is None:  # no year was seen
        return pl.when(year.is_null()).then(0).otherwise(1).cast(pl.Int32)
    known = year.is_between(first, last)
    return pl.when(year.is_null()).then(0).when(known).then(year - (first - 2)).otherwise(1).cast(pl.Int32)


def _number_of_years(learned: Learned) -> int:
    return 0 if learned["first"] is None else learned["last"] - learned["first"] + 1
