"""What looks wrong in an inspected table, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import polars as pl

from tamis.data.column_report import ColumnReport
from tamis.data.leaks import single_column_power
from tamis.data.moments import as_datetime, unit_of
from tamis.schema import ColumnSchema, Schema, Tags

LEAK = 0.99  # the AUC or R squared of one column alone from which on it is no feature but the answer
_MANY_ROWS = 100
_FEW_IDS = 20
_ROWS_PER_ID = 50


@dataclass(frozen=True)
class Finding:
    """Something that looks wrong; `column` is None where it is about the rows."""

    kind: str
    column: str | None
    message: str
    advice: str


def findings_of(
    reports: Sequence[ColumnReport],
    schema: Schema,
    sample: pl.DataFrame,
    *,
    num_distinct_rows: int,
    now: datetime | None = None,
) -> list[Finding]:
    """Everything that looks wrong, in the order of the columns; what is about the rows comes last."""
    now = _moment(now, None) or datetime.now(UTC)
    has_both_sides = bool(schema.select_by_tag(Tags.USER_ID)) and bool(schema.select_by_tag(Tags.ITEM_ID))
    found: list[Finding] = []
    for report in reports:
        found += _emptiness(report)
        found += _ids(report, schema[report.name], has_both_sides)
        found += _texts(report, schema[report.name], sample)
        found += _times(report, schema[report.name], sample, now)
        found += _leaks(report, schema, sample)
    return found + list(_duplicates(reports, num_distinct_rows))


def _emptiness(report: ColumnReport) -> Iterator[Finding]:
    name = report.name
    if report.num_nans:
        yield Finding(
            "nan",
            name,
            f"{report.num_nans:,} values are NaN, which is no null: means and models become NaN.",
            "Put FillMissing first, which fills both.",
        )
    if report.num_nulls == report.num_rows:
        yield Finding("all_null", name, "all rows are null.", "Leave the column out, or look why it was not filled.")
    elif report.num_distinct == 1 and report.num_rows > 1 and not report.is_list:
        yield from _constant(report)
    elif report.null_share > 0.95:
        yield Finding(
            "mostly_null",
            name,
            f"{report.null_share:.1%} of the rows are null.",
            "Leave it out, or use FillMissing(add_binary_cols=True), which keeps who had a value.",
        )


def _constant(report: ColumnReport) -> Iterator[Finding]:
    value = report.top[0][0] if report.top else report.minimum
    value = f"{value[:60]}..." if isinstance(value, str) and len(value) > 63 else value
    if report.num_nulls:
        message = f"the only value is {value!r}; {report.null_share:.1%} of the rows are null."
        yield Finding("constant", report.name, message, "Keep only whether there is a value.")
    else:
        message = f"all rows hold {value!r}, so it tells nothing."
        yield Finding("constant", report.name, message, "Leave the column out.")


def _ids(report: ColumnReport, column: ColumnSchema, has_both_sides: bool) -> Iterator[Finding]:
    if not column.has_tag(Tags.ID):
        return
    if report.dtype.startswith("float"):
        yield Finding(
            "fractional_id",
            report.name,
            f"the ids are {report.dtype}, which loses large ones beyond 2**53.",
            "Cast it to whole numbers where the file is written; nulls may stay.",
        )
    if 1 < report.num_distinct < _FEW_IDS and report.num_values > _ROWS_PER_ID * report.num_distinct:
        yield Finding(
            "few_ids",
            report.name,
            f"an id of only {report.num_distinct} different values in {report.num_values:,} rows.",
            "If it is a kind of something, tag it CATEGORICAL instead of ID; if not, the export was cut.",
        )
    all_differ = report.num_distinct >= 0.99 * report.num_rows and report.num_rows >= _MANY_ROWS
    is_side = column.has_tag(Tags.USER_ID) or column.has_tag(Tags.ITEM_ID)
    if all_differ and has_both_sides and is_side and not report.is_list:
        yield Finding(
            "unique_id",
            report.name,
            "every row of this log has an id of its own, so nobody has a history.",
            "Check that it names the user or item and not the row.",
        )


def _texts(report: ColumnReport, column: ColumnSchema, sample: pl.DataFrame) -> Iterator[Finding]:
    if report.dtype != "string" or report.is_list or report.num_values < _MANY_ROWS:
        return
    drawn = sample[report.name].drop_nulls()
    if column.has_tag(Tags.ID):
        return
    if len(drawn) and drawn.cast(pl.Float64, strict=False).null_count() == 0:
        yield Finding(
            "numbers_as_text",
            report.name,
            f"the texts are numbers, such as {drawn[0]!r}.",
            "If they are amounts, cast them where the file is written; codes such as zip codes are right as texts.",
        )
    if report.num_distinct > 0.9 * report.num_values:
        yield Finding(
            "near_unique_text",
            report.name,
            f"{report.num_distinct:,} different texts in {report.num_values:,} rows: as categories nothing repeats.",
            "Use TextEmbedding or HashBucket, or leave it out.",
        )


def _times(report: ColumnReport, column: ColumnSchema, sample: pl.DataFrame, now: datetime) -> Iterator[Finding]:
    if not column.has_tag(Tags.TIME) or report.maximum is None or report.is_list:
        return
    unit = unit_of(report.quantiles["50%"])
    if unit is not None:
        units = [unit_of(value) for value in sample[report.name].drop_nulls().to_list()]
        others = sorted({other for other in units if other not in (None, unit)}, key=str)
        if others:
            yield Finding(
                "mixed_units",
                report.name,
                f"most times are in {unit} since 1970, {sum(one == others[0] for one in units):,} of "
                f"{len(units):,} sampled ones in {others[0]}.",
                "Bring all to one unit first: order and splits by time are wrong otherwise.",
            )
            return
    yield from _range(report, _moment(report.minimum, unit), _moment(report.maximum, unit), now)


def _range(report: ColumnReport, first: datetime | None, last: datetime | None, now: datetime) -> Iterator[Finding]:
    if last is not None and last > now + timedelta(days=1):
        yield Finding(
            "future",
            report.name,
            f"the latest time is {last:%Y-%m-%d %H:%M}, in the future.",
            "Check the unit and the time zone, and drop such rows: a split by time puts them all into the test part.",
        )
    if first is not None and first.year < 1990:
        yield Finding(
            "early",
            report.name,
            f"the earliest time is {first:%Y-%m-%d}: a 0 may stand for a missing one.",
            "Make such values null, or filter the rows.",
        )


def _moment(value: Any, unit: str | None) -> datetime | None:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    if unit is None or not isinstance(value, int | float):
        return None
    try:
        return as_datetime(value, unit)
    except OverflowError:
        return None


def _leaks(report: ColumnReport, schema: Schema, sample: pl.DataFrame) -> Iterator[Finding]:
    targets = schema.select_by_tag(Tags.TARGET).column_names
    if report.name in targets or report.is_list or (report.num_distinct < 2 and not report.num_nulls):
        return
    for target in targets:
        rows = sample.filter(pl.col(target).is_not_null())
        power = single_column_power(rows[report.name], rows[target]) if len(rows) else None
        if power is not None and power >= LEAK:
            is_binary = rows[target].n_unique() == 2 or not rows[target].dtype.is_numeric()
            yield Finding(
                "leak",
                report.name,
                f"alone it predicts {target!r} almost perfectly ({'AUC' if is_binary else 'R squared'} {power:.4f} on "
                f"one half of {len(rows):,} sampled rows, of the target's mean per value learned on the other half).",
                "If it is known only after the event, leave it out or tag it TARGET: a model would learn nothing else.",
            )


def _duplicates(reports: Sequence[ColumnReport], num_distinct_rows: int) -> Iterator[Finding]:
    rows = reports[0].num_rows
    twice = 1 - num_distinct_rows / rows
    if twice > 0.02:
        yield Finding(
            "duplicates",
            None,
            f"about {twice:.1%} of the rows repeat another one in every column.",
            "If a row is one event, drop them: dataset.map(lambda rows: rows.unique(maintain_order=True), "
            "dataset.schema).",
        )
