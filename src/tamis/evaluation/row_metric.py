"""What a metric of scores of single rows is: a query over them, so that it streams in bounded memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import polars as pl

SCORE, LABEL, GROUP = "score", "label", "group"


class RankingMetric(ABC):
    """A number about rows with a `score` (a probability, for binary targets) and a `label`.

    Rows also have a `group`, the query that they belong to, where the metric `needs_group`. One that `needs_binary`
    has no meaning for labels besides 0 and 1; one that `reads_order` alone takes scores of any scale.
    """

    short_name: ClassVar[str]
    needs_group: ClassVar[bool] = False
    needs_binary: ClassVar[bool] = False
    reads_order: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """What the value is called in a history or a table."""
        return self.short_name

    @abstractmethod
    def value(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """A query for one row: first the value, in a column of any name; null where it is not defined.

        Further columns are counts that say what the value is about, each reported as `<name>_<column>`.
        """


def counts_by(rows: pl.LazyFrame, *keys: str) -> pl.LazyFrame:
    """`positive` (sum of the labels), `negative` and `count` of the rows that agree in `keys`: ties become one row."""
    counted = rows.group_by(keys).agg(positive=pl.col(LABEL).cast(pl.Float64).sum(), count=pl.len().cast(pl.Float64))
    return counted.with_columns(negative=pl.col("count") - pl.col("positive"))
