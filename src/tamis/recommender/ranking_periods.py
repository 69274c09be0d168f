"""Whether the rows that a ranker is to learn from are of a time of their own."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tamis.data.dataset import Dataset
from tamis.data.split import known_column
from tamis.errors import DataError
from tamis.recommender.ranking_columns import WHERE, RankingColumns, check_codes


def check_positives(positives: Dataset, columns: RankingColumns) -> None:
    """Refuse positives in which nothing happened.

    Raises:
        DataError: rows whose targets are all 0.
    """
    given = [name for name in columns.targets if name in positives.schema]
    if not given:
        return
    nothing = pl.all_horizontal((pl.col(name).cast(pl.Float64) <= 0).fill_null(True) for name in given)
    count = positives.filter(nothing).num_rows
    if count:
        raise DataError(
            f"{WHERE}: {count:,} positives have 0 in {', '.join(map(repr, given))}. Filter them out, and give the rows "
            "that were shown as `impressions`."
        )


def check_periods(positives: Dataset, trained_on: Dataset, columns: RankingColumns) -> None:
    """Refuse positives that the retrieval stage has learned by heart. Memory grows with the positives.

    Raises:
        UnknownColumnError: `trained_on` lacks the user or the item id.
        DataError: it has no codes; where a time is known in both, any event in common; else all pairs in common.
    """
    pair = [known_column(trained_on, name, f"{WHERE}: trained_on") for name in (columns.user, columns.item)]
    check_codes(trained_on, pair, "trained_on")
    is_timed = columns.time is not None and columns.time in trained_on.schema
    key = [*pair, columns.time] if columns.time is not None and is_timed else pair
    common, total = _common(positives, trained_on, key)
    if (common and is_timed) or (common and common == total):
        what = "events (user, item, time)" if is_timed else "pairs of user and item"
        raise DataError(
            f"{WHERE}: retrieval was trained on {common:,} of the {total:,} {what} that the ranker is to learn from, "
            "so it finds them too easily. Train retrieval on an earlier period than these positives "
            "(tamis.split_by_time), and on all of it at the end."
        )


def _common(positives: Dataset, trained_on: Dataset, key: Sequence[str]) -> tuple[int, int]:
    wanted = positives.scan().select(key).unique()
    dtypes = positives.scan().select(key).collect_schema()
    before = trained_on.scan().select(key).cast(dtypes).join(wanted, on=key, how="semi").unique()
    counts = [Dataset(rows.select(pl.len())).compute().item() for rows in (before, wanted)]
    return counts[0], counts[1]
