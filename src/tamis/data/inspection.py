"""A first look at a table: what each column holds, what it seems to mean, and what looks wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import polars as pl

from tamis.data.column_report import ColumnReport, report_of
from tamis.data.column_scan import ColumnScan, slim
from tamis.data.dataset import Dataset
from tamis.data.proposals import Proposal, propose
from tamis.data.sketches import DistinctCount, RowSample
from tamis.data.suspicions import Finding, findings_of
from tamis.errors import DataError, SettingError
from tamis.progress import progress
from tamis.schema import Schema

_ROWS_AT_ONCE = 131_072


@dataclass(frozen=True)
class Inspection:
    """What a table holds; `schema` has the tags that it had or that are proposed, to be corrected by hand."""

    source: str
    num_rows: int
    num_sampled: int
    columns: tuple[ColumnReport, ...]
    findings: tuple[Finding, ...]
    schema: Schema

    def __getitem__(self, name: str) -> ColumnReport:
        return {column.name: column for column in self.columns}[self.schema[name].name]

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON holds it; dates and what else it does not know become texts."""
        content = {**asdict(replace(self, schema=Schema())), "schema": self.schema.to_dict()}
        plain: dict[str, Any] = _plain(content)
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    is_finite = not isinstance(value, float) or abs(value) < float("inf")  # NaN is not smaller either
    return value if isinstance(value, str | int | float | None) and is_finite else str(value)


def inspect(
    dataset: Dataset, *, num_rows: int | None = None, seed: int = 0, now: datetime | None = None, verbose: bool = True
) -> Inspection:
    """Look through a dataset once, in bounded memory, and propose the tags of its columns.

    Args:
        dataset: any rows; tags that its schema has already stay.
        num_rows: look at the first rows only; by default at all.
        seed: of the sample of 50,000 rows that quantiles and leaks are judged by.
        now: what times are compared with to find those in the future; by default the clock's.
        verbose: whether to draw a progress bar.

    Raises:
        DataError: no rows, or rows that cannot be read.
        SettingError: `num_rows` is below 1.
    """
    if num_rows is not None and num_rows < 1:
        raise SettingError(f"inspect: num_rows is {num_rows}, but must be at least 1. Give a larger one.")
    schema = dataset.schema
    looked_at = dataset if num_rows is None else dataset.map(lambda rows: rows.head(num_rows), schema)
    scans, sample, rows = _look(looked_at, RowSample(seed=seed), verbose)
    if not any(scan.rows for scan in scans.values()):
        raise DataError("inspect: the dataset has no rows. Check the path and the filters before it.")
    reports = [report_of(name, scan, sample) for name, scan in scans.items()]
    proposals = propose(reports, schema)
    tagged = [_with_proposal(report, proposals[report.name]) for report in reports]
    described = Schema(schema[report.name].with_tags(proposals[report.name].tags) for report in tagged)
    findings = findings_of(tagged, described, sample, num_distinct_rows=rows.estimate, now=now)
    return Inspection(dataset.source, tagged[0].num_rows, len(sample), tuple(tagged), tuple(findings), described)


def _look(
    dataset: Dataset, sample: RowSample, verbose: bool
) -> tuple[dict[str, ColumnScan], pl.DataFrame, DistinctCount]:
    """One pass: every column, a sample of rows, and how many rows differ."""
    scans: dict[str, ColumnScan] = {}
    distinct_rows = DistinctCount(65_536)
    with progress("Inspecting", dataset.rows_at_hand(), verbose=verbose) as advance:
        for batch in dataset.batches(_ROWS_AT_ONCE):
            for column in batch.iter_columns():
                scans.setdefault(column.name, ColumnScan(column.dtype)).add(column)
            sample.add(slim(batch))
            distinct_rows.add(batch.hash_rows(seed=0).to_numpy())
            advance(len(batch))
    return scans, sample.rows, distinct_rows


def _with_proposal(report: ColumnReport, proposal: Proposal) -> ColumnReport:
    return replace(report, tags=tuple(sorted(proposal.tags)), reason=proposal.reason)
