"""Whether what a model is judged on could be known from what it learned on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, TypeAlias

import polars as pl

from tamis.data.dataset import Dataset
from tamis.data.leaks import single_column_power
from tamis.data.moments import unit_of
from tamis.data.sketches import RowSample
from tamis.data.split import known_column, tagged_column
from tamis.data.suspicions import LEAK
from tamis.errors import DataError, SettingError, UnknownNameError
from tamis.schema import Tags

_WHERE = "check_no_leakage"
_SPLITS = ("time", "last", "user", "random")
_COUNT, _LATEST = "__count", "__latest"

_Part: TypeAlias = tuple[Dataset, str]  # with what to call it


def check_no_leakage(
    train: Dataset,
    *held_out: Dataset,
    split: str = "time",
    user: str | None = None,
    item: str | None = None,
    time: str | None = None,
) -> None:
    """Refuse parts of a dataset that give the answers away; says nothing where all is well.

    Looked for, in this order, between each part and those before it, and then in the columns of training:

    - an event that is in both: rows equal in user, item and time (the last where a time is known);
    - by `split`: with `"time"` a row that is not later than all rows of the part before (a moment may not be torn);
      with `"last"` a user's row that is earlier than that user's latest row in an earlier part (equal times are in the
      order of the file, so they may be torn); with `"user"` a user who is in both. `"random"` has no such rule: it
      leaks the future anyway;
    - a column that alone predicts a target almost perfectly, judged on 50,000 sampled rows of training;
    - a column tagged as time that is later than the row's own time: nobody could have known it then.

    A feature of counts over all of the data, the future included, cannot be seen here: compute those from training
    rows, as the ops of a workflow do.

    Args:
        train: what is learned from.
        held_out: the parts after it, in the order of time where there is one.
        split: how the parts were made: `"time"`, `"last"` (the last rows of each user), `"user"` or `"random"`.
        user: the user column; by default the one tagged `Tags.USER_ID`.
        item: the item column; by default the one tagged `Tags.ITEM_ID`.
        time: the time column; by default the one tagged `Tags.TIME`, which `"user"` and `"random"` do without.

    Raises:
        DataError: there is such an overlap or column; it says how many rows, and one of them.
        SettingError: nothing is held out.
        SchemaError: a column is neither tagged nor named.
        UnknownColumnError: a part lacks one of the columns.
        UnknownNameError: there is no such split.
    """
    if split not in _SPLITS:
        raise UnknownNameError(split, _SPLITS, where=_WHERE, what="split")
    if not held_out:
        raise SettingError(f"{_WHERE}: there is no held-out part to compare with. Give one after the training rows.")
    user = user or tagged_column(train, Tags.USER_ID, _WHERE, "user")
    item = item or tagged_column(train, Tags.ITEM_ID, _WHERE, "item")
    if split in ("time", "last") or time or train.schema.select_by_tag(Tags.TIME):
        time = time or tagged_column(train, Tags.TIME, _WHERE, "time")
    event = [user, item, *([time] if time else [])]
    parts = [train, *held_out]
    for part, name in [(part, name) for part in parts for name in event]:
        known_column(part, name, _WHERE)
    _check_parts(parts, split, event)
    _check_features(train, user, item, time)


def _check_parts(parts: Sequence[Dataset], split: str, event: Sequence[str]) -> None:
    named = [(part, "training" if i == 0 else f"held-out part {i}") for i, part in enumerate(parts)]
    for earlier, later in combinations(named, 2):
        _refuse_common(earlier, later, event[:1] if split == "user" else event)
        if split == "time":
            _refuse_earlier(earlier, later, event[2])
        if split == "last":
            _refuse_older(earlier, later, event[0], event[2])


def _refuse_common(earlier: _Part, later: _Part, columns: Sequence[str]) -> None:
    """Memory grows with the later part, which is the small one, not with training."""
    rows = earlier[0].scan().select(columns)
    wanted = _like(rows, later[0].scan().select(columns)).unique()
    common = rows.join(wanted, on=columns, how="semi").unique()
    found = _one(common.select(pl.len().alias(_COUNT), *(pl.col(name).sort_by(*columns).first() for name in columns)))
    count = found.pop(_COUNT)
    if count:
        what, advice = {
            1: ("users", "Split with split_by_user, which keeps the rows of a user together."),
            2: ("pairs", "Drop repetitions before splitting, or split with split_random, which keeps them together."),
            3: ("events", "Drop repetitions before splitting, or split with split_random, which keeps them together."),
        }[len(columns)]
        raise DataError(
            f"{_WHERE}: {count:,} {what} of {later[1]} are in {earlier[1]} too, such as {_shown(found)}. {advice}"
        )


def _refuse_earlier(earlier: _Part, later: _Part, time: str) -> None:
    last = _one(earlier[0].scan().select(pl.col(time).max()))[time]
    if last is None:
        return
    found = _one(later[0].scan().filter(pl.col(time) <= last).select(pl.len().alias(_COUNT), pl.col(time).min()))
    if found[_COUNT]:
        raise DataError(
            f"{_WHERE}: {found[_COUNT]:,} rows of {later[1]} are not later than {earlier[1]}, which goes to {time} = "
            f"{last}; the earliest is at {found[time]}. Split with split_by_time."
        )


def _refuse_older(earlier: _Part, later: _Part, user: str, time: str) -> None:
    latest = earlier[0].scan().group_by(user).agg(pl.col(time).max().alias(_LATEST))
    rows = _like(earlier[0].scan().select(user, time), later[0].scan().select(user, time))
    older = rows.join(latest, on=user).filter(pl.col(time) < pl.col(_LATEST))
    columns = [pl.col(name).sort_by(user, time).first() for name in (user, time, _LATEST)]
    found = _one(older.select(pl.len().alias(_COUNT), *columns))
    if found[_COUNT]:
        raise DataError(
            f"{_WHERE}: {found[_COUNT]:,} rows of {later[1]} are earlier than their user's latest row in {earlier[1]}, "
            f"such as {user} = {found[user]} at {time} = {found[time]}, with a row at {found[_LATEST]} in the other. "
            f"Split with leave_last_out(order={time!r})."
        )


def _check_features(train: Dataset, user: str, item: str, time: str | None) -> None:
    """One pass over single values of the training rows."""
    targets = train.schema.select_by_tag(Tags.TARGET).column_names
    others = [c.name for c in train.schema if not c.is_list and c.name not in (user, item, time, *targets)]
    if not targets and time is None:
        return
    sample = RowSample()
    for rows in train.select([*others, *targets, *([time] if time else [])]).batches():
        sample.add(rows)
    for name in others if len(sample.rows) else []:
        for target in targets:
            _refuse_answer(name, target, sample.rows.drop_nulls(target))
        if time and train.schema[name].has_tag(Tags.TIME):
            _refuse_future(name, time, sample.rows)


def _refuse_answer(name: str, target: str, rows: pl.DataFrame) -> None:
    power = single_column_power(rows[name], rows[target])
    if power is not None and power >= LEAK:
        raise DataError(
            f"{_WHERE}: {name!r} alone predicts {target!r} almost perfectly ({power:.4f} of 1 on half of {len(rows):,} "
            "sampled training rows). If it is known only after the event, leave it out or tag it TARGET."
        )


def _refuse_future(name: str, time: str, rows: pl.DataFrame) -> None:
    if not _can_compare(rows[name], rows[time]):
        return
    later = rows.filter(pl.col(name) > pl.col(time))
    if len(later):
        raise DataError(
            f"{_WHERE}: {name!r} is later than {time!r} in {len(later):,} of {len(rows):,} sampled training rows, such "
            f"as {later[name][0]} after {later[time][0]}, so it was not known then. Leave it out, or take the tag TIME "
            "off it if it is no moment that was recorded."
        )


def _can_compare(column: pl.Series, time: pl.Series) -> bool:
    """Whether both are moments in the same unit."""
    if column.dtype.is_temporal() or time.dtype.is_temporal():
        return column.dtype == time.dtype
    unit = unit_of(time.drop_nulls().median())
    return unit is not None and unit_of(column.drop_nulls().median()) == unit


def _like(wanted: pl.LazyFrame, rows: pl.LazyFrame) -> pl.LazyFrame:
    """The rows in the dtypes that they are compared in."""
    return rows.cast(wanted.collect_schema())


def _one(frame: pl.LazyFrame) -> dict[str, Any]:
    return Dataset(frame).compute().row(0, named=True)


def _shown(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in values.items())
