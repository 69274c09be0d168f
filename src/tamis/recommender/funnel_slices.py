"""The parts of users and items that a funnel looks at one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.data.dataset import Dataset
from tamis.errors import SettingError, UnknownColumnError
from tamis.evaluation.metrics import AccuracyMetric
from tamis.recommender.catalogue import Catalogue
from tamis.recommender.funnel_losses import SERVED, reached
from tamis.recommender.funnel_tables import SERVING, Draws, ends, share_per_user, values_among
from tamis.recommender.funnel_trace import FUNNEL, NUM_SEEN, POPULARITY, RETRIEVAL, Trace
from tamis.recommender.held_out_queries import HeldOutQueries
from tamis.recommender.query_columns import sources_of
from tamis.schema import Tags

if TYPE_CHECKING:
    from tamis.recommender.recommender import Recommender

NEW_BELOW = 5  # items met, below which a user is new
_SHARE = 0.2  # of users that are heavy, of items that are the head
_MOST_VALUES = 12  # of a column; the others are taken together, numbers by quartile
OTHERS, NO_VALUE = "(others)", "(none)"


def slice_table(
    trace: Trace,
    columns: dict[str, pl.Series],
    metrics: Sequence[AccuracyMetric],
    draws: Draws,
) -> pl.DataFrame:
    """One row per value of each column and metric, measured as if the value's items were all that is relevant.

    Args:
        trace: the way of the relevant items.
        columns: [relevant items] by name, the value of each.
        metrics: what to measure.
        draws: for the intervals.
    """
    rows = []
    for name, values in columns.items():
        for value in values.unique().sort().to_list():
            rows += _rows(trace, {"slice": name, "value": value}, (values == value).to_numpy(), metrics, draws)
    return pl.DataFrame(rows, infer_schema_length=None)


def _rows(
    trace: Trace, head: dict[str, str], chosen: NDArray[np.bool_], metrics: Sequence[AccuracyMetric], draws: Draws
) -> list[dict[str, object]]:
    stages, query = reached(trace), trace.query[chosen]
    ranks = {name: trace.ranks(name) for name in SERVING if name in trace.systems}
    values = values_among(metrics, trace.query, ranks, chosen)
    drawn = draws.of({**values, "recall": share_per_user(query, stages["retrieved"][chosen])})
    counts = {
        "users": len(np.unique(query)),
        "items": int(chosen.sum()),
        "retrieved": int(stages["retrieved"][chosen].sum()),
        SERVED: int(stages[SERVED][chosen].sum()),
    }
    return [
        {
            **head,
            **counts,
            **ends(drawn.mean("recall"), "recall"),
            "metric": metric.name,
            POPULARITY: drawn.mean((POPULARITY, metric.name)).value,
            RETRIEVAL: drawn.mean((RETRIEVAL, metric.name)).value,
            **ends(drawn.mean((FUNNEL, metric.name)), FUNNEL),
            **ends(drawn.difference((FUNNEL, metric.name), (RETRIEVAL, metric.name)), "lift"),
        }
        for metric in metrics
    ]


def usual_columns(catalogue: Catalogue, asked: HeldOutQueries, trace: Trace) -> dict[str, pl.Series]:
    """The kind of each relevant item's user, by how many items they met, and its own, by how often it was taken."""
    return {"users": _by_history(trace), "items": _by_popularity(catalogue, asked.item)}


def named_columns(
    recommender: Recommender, held_out: Dataset, asked: HeldOutQueries, names: Sequence[str]
) -> dict[str, pl.Series]:
    """By name, the value of each relevant item: of its user, of itself, or of its row.

    Columns of items, in the catalogue or made into item features, are the item's own. Other columns of the held-out
    data belong to the request, and have the value of the user's first row.

    Raises:
        UnknownColumnError: neither the held-out data nor the items have the column.
        SettingError: a column of lists.
    """
    of_items = {
        raw
        for name, made_of in sources_of(recommender.workflow).items()
        for raw in made_of
        if recommender.workflow.output_schema[name].has_tag(Tags.ITEM)
    }
    shown = recommender.catalogue.columns
    columns = {}
    for name in names:
        if name in shown.columns:
            values = shown[name].gather(pl.Series(asked.item).replace(-1, None))
        elif name not in held_out.schema:
            known = [*held_out.column_names, *shown.columns]
            raise UnknownColumnError(name, known, where="funnel: slices")
        else:
            rows = asked.item_rows if name in of_items else asked.rows[asked.query]
            values = held_out.scan().select(name).collect(engine="streaming")[name].gather(rows)
        columns[name] = as_values(values)
    return columns


def _by_history(trace: Trace) -> pl.Series:
    num_seen = trace.requests[NUM_SEEN].to_numpy()
    heavy = max(int(np.quantile(num_seen, 1 - _SHARE, method="higher")), NEW_BELOW)
    names = [f"new: fewer than {NEW_BELOW} items", "in between", f"heavy: {heavy} items and more"]
    kind = np.where(num_seen < NEW_BELOW, 0, np.where(num_seen >= heavy, 2, 1))
    return _ordered(names).gather(kind[trace.query])


def _by_popularity(catalogue: Catalogue, items: NDArray[np.int64]) -> pl.Series:
    order = catalogue.by_popularity()
    is_head = np.zeros(len(catalogue), np.bool_)
    is_head[order[: max(round(_SHARE * len(order)), 1)]] = True
    names = [f"head: the most popular {_SHARE:.0%}", "tail", "outside the catalogue"]
    kind = np.where(items < 0, 2, np.where(is_head[np.maximum(items, 0)], 0, 1))
    return _ordered(names).gather(kind)


def _ordered(names: Sequence[str]) -> pl.Series:
    """Texts that sort in this order."""
    return pl.Series(names, dtype=pl.Enum(names))


def as_values(column: pl.Series) -> pl.Series:
    """A column as few texts: its most frequent values, or ranges of a quarter of the rows each.

    Raises:
        SettingError: it holds lists.
    """
    if column.dtype.is_nested():
        raise SettingError(
            f"funnel: slices: {column.name!r} holds lists, so a row has no one value. Give a column of single values."
        )
    is_ordered = column.dtype.is_numeric() or column.dtype.is_temporal()
    if is_ordered and column.n_unique() > _MOST_VALUES:
        return _quarters(column)
    frequent = column.drop_nulls().value_counts(sort=True).head(_MOST_VALUES)[column.name].sort()
    texts, kept = column.cast(pl.String), frequent.cast(pl.String).to_list()
    names = [*dict.fromkeys([*kept, OTHERS, NO_VALUE])]
    value = pl.when(texts.is_null()).then(pl.lit(NO_VALUE)).when(texts.is_in(kept)).then(texts)
    return pl.select(value.otherwise(pl.lit(OTHERS)).cast(pl.Enum(names))).to_series()


def _quarters(column: pl.Series) -> pl.Series:
    """Ranges with about as many rows each, named by their ends."""
    numbers = column.to_physical().cast(pl.Float64).fill_nan(None)
    cuts = np.unique(np.quantile(numbers.drop_nulls().to_numpy(), [0.25, 0.5, 0.75]))
    part = np.searchsorted(cuts, numbers.fill_null(0).to_numpy(), side="left")
    table = pl.DataFrame({"value": column, "part": pl.Series(part)}).filter(numbers.is_not_null())
    spans = table.group_by("part").agg(low=pl.col("value").min(), high=pl.col("value").max()).sort("part")
    names = spans.select(pl.format("{}: {} to {}", pl.int_range(1, pl.len() + 1), "low", "high")).to_series()
    number = pl.Series(np.searchsorted(spans["part"].to_numpy(), part)).zip_with(
        numbers.is_not_null(), pl.Series([len(names)] * len(column))
    )
    return _ordered([*names, NO_VALUE]).gather(number)
