"""What a ranker learns from: positives, candidates that were not taken, and what was shown in vain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from tamis.data.dataset import ROWS_PER_GROUP, Dataset
from tamis.errors import DataError, SettingError
from tamis.folders import new_folder
from tamis.progress import progress
from tamis.recommender.id_rows import Rows
from tamis.recommender.negative_draws import NegativeDraws, NegativeSettings
from tamis.recommender.queries import Queries
from tamis.recommender.ranking_columns import WHERE, FeatureTable, RankingColumns, id_columns, ranking_columns
from tamis.recommender.ranking_periods import check_periods, check_positives
from tamis.recommender.ranking_user_rows import FindCandidates, UserRows
from tamis.recommender.user_blocks import user_blocks

if TYPE_CHECKING:
    from tamis.recommender.recommender import Recommender

_ROWS_PER_BLOCK = 1_000_000  # interactions of a block of users, in memory at once
_ROWS_PER_FILE = 16 * ROWS_PER_GROUP


def ranking_rows(
    positives: Dataset,
    retrieval: Recommender | FindCandidates,
    path: str | Path,
    *,
    trained_on: Dataset | None,
    items: Any = None,
    users: Any = None,
    impressions: Dataset | None = None,
    num_negatives: int = 4,
    uniform: float = 0.0,
    popular: float = 0.0,
    target: str | None = None,
    weight: str | None = None,
    seed: int = 0,
    verbose: bool = True,
) -> Dataset:
    """Write the rows that a ranking model is trained on, out of what the retrieval stage finds.

    A ranker meets the retrieval stage's candidates, so its negatives are those: hard ones. Two periods keep the time
    right. A retrieval model finds the positives that it was trained on too easily, and its candidates for those users
    are not the ones that it will find tomorrow, so:

    1. train the retrieval stage on the first period alone (`trained_on`);
    2. make these rows of the positives of a later period, with that stage's candidates, and train the ranker on them;
    3. train the retrieval stage once more, on both periods, and serve it with this ranker.

    A row is a positive (its targets as they are), a sampled negative or an impression in vain (targets 0). Sampled
    negatives copy everything of the positive's request: user features, time, context; each item's features come from
    `items` in all rows, so that no difference between tables tells the classes apart. What the user took in either
    period, before or after, is never sampled as a negative; an impression of what the user took in the later period is
    left out. Positives that are equal in all but the item are one request, whose negatives are distinct. A row is there
    once: of the same user, context and item the largest targets count. Rows of items that `items` lacks, and of users
    that `users` lacks, are left out. The rows of a user stand together: positives, sampled negatives, impressions.

    Works on a block of users at a time in bounded memory; the same data and seed give the same rows.

    Args:
        positives: encoded interactions of the later period, in which users took items.
        retrieval: a fitted Recommender, whose sources and filters are asked, or a function that gives, for rows of
            users (the first of each in `positives`, without item and target), the items that retrieval finds, best
            first: [rows, width] row numbers of `items`, -1 where there are no more. Nothing of the later period may
            be known to it.
        path: the folder to write, as `Dataset.to_parquet` does.
        trained_on: encoded interactions that retrieval was trained on, with the user and item ids at least; `None`
            where they are not at hand: then the periods are not compared.
        items: a frame or Dataset of encoded item features, one row an item; by default the Recommender's catalogue.
        users: a frame or Dataset of encoded user features, one row a user; by default those of `positives`.
        impressions: encoded rows that were shown and not taken, with the columns of `positives`; their targets may be
            missing. It may be the whole log: rows of what the user took in the period drop out.
        num_negatives: sampled for each positive, fewer where the candidates have no more.
        uniform: share of the negatives drawn evenly from all items instead of the candidates.
        popular: share of them drawn by the number of rows in `trained_on`.
        target: what is predicted; by default the columns tagged TARGET. A column that is not there is made: 1 in
            positives.
        weight: a column of row weights to write: that of the row, where it has the column, else 1; times, for a
            sampled candidate, the number of candidates that it stands for, so that weighted losses are those over all
            candidates and predictions are chances in serving.
        seed: of the draws.
        verbose: whether to draw a progress bar.

    Returns: the written rows, by user, not shuffled.

    Raises:
        DataError: positives that retrieval was trained on: any where a time is tagged, all where none is, since a pair
            may come again; positives whose targets are all 0; impressions that were taken and are no positives;
            candidates that are no rows of `items`; ids with nulls, or twice in a table; no positive or no negative.
        SchemaError: no user id, item id or target; item columns that `items` lacks.
        UnknownColumnError: `impressions` or a table lacks a column.
        SettingError: shares or numbers out of their range.
    """
    settings = NegativeSettings(num_negatives, uniform, popular, seed)
    user_id, item_id = id_columns(positives)
    item_table = FeatureTable(_items(retrieval, items), item_id, "items")
    user_table = None if users is None else FeatureTable(users, user_id, "users")
    columns = ranking_columns(positives, item_table, user_table, target=target, weight=weight)
    tables = _tables(columns, positives, trained_on, impressions)
    counts = _counts(trained_on, item_table) if popular else None
    draws = NegativeDraws(settings, len(item_table), counts)
    find = retrieval if callable(retrieval) else candidates_of(retrieval)
    _write(UserRows(columns, item_table, user_table, find, draws), tables, path, verbose=verbose)
    return Dataset(path, schema=columns.schema)


def candidates_of(recommender: Recommender) -> FindCandidates:
    """What a recommender's first stage finds for encoded rows: for these users with these features and contexts."""
    user = recommender.user_id

    def find(rows: pl.DataFrame) -> Rows:
        users = recommender.audience.rows_of(recommender.workflow.decode(user, rows[user]))
        queries = Queries(users, rows, np.ones(len(rows), np.bool_), recommender.interactions.history(users))
        return recommender.candidates(queries, recommender.allowed(queries)).items

    return find


def _items(retrieval: Recommender | FindCandidates, items: Any) -> Any:
    if items is not None:
        return items
    if callable(retrieval):
        raise SettingError(
            f"{WHERE}: items is missing. Give the encoded features of the items that candidates are rows of."
        )
    return retrieval.catalogue.features


def _tables(
    columns: RankingColumns, positives: Dataset, trained_on: Dataset | None, impressions: Dataset | None
) -> dict[str, Dataset]:
    """What is needed of each, checked."""
    tables = {"positives": columns.read(positives, "positives")}
    check_positives(positives, columns)
    if trained_on is not None:
        check_periods(positives, trained_on, columns)
        tables["trained_on"] = trained_on.select([columns.user, columns.item])
    if impressions is not None:
        tables["impressions"] = columns.read(impressions, "impressions")
    return tables


def _counts(trained_on: Dataset | None, items: FeatureTable) -> Rows:
    """Rows of each item in what retrieval was trained on."""
    if trained_on is None:
        raise SettingError(f"{WHERE}: popular needs the rows to count. Give trained_on, or leave popular at 0.")
    counted = Dataset(trained_on.scan().group_by(items.code).len("__count")).compute()
    rows, counts = items.rows_of(counted[items.code]), counted["__count"].to_numpy()
    weights = np.bincount(rows[rows >= 0], counts[rows >= 0], len(items)).astype(np.int64)
    if not weights.sum():
        raise DataError(f"{WHERE}: trained_on has no item of items, so none is popular. Give rows in the same codes.")
    return weights


def _write(rows: UserRows, tables: Mapping[str, Dataset], path: str | Path, *, verbose: bool) -> None:
    num_rows = sum(table.num_rows for table in tables.values())
    asked = sum(table.num_rows for name, table in tables.items() if name != "trained_on")
    num_blocks = -(-num_rows // _ROWS_PER_BLOCK)
    with (
        user_blocks(tables, rows.columns.user, num_blocks) as blocks,
        new_folder(path) as folder,
        progress("Ranking rows", asked, verbose=verbose) as advance,
    ):
        files = _files(part for block in blocks for part in _advancing(rows.of_block(block), advance))
        totals = np.zeros(2, np.int64)
        for number, frame in enumerate(files):
            happened = frame.filter(pl.any_horizontal(pl.col(rows.columns.targets).cast(pl.Float64) > 0)).height
            totals += np.array([happened, frame.height - happened])
            frame.write_parquet(folder / f"part-{number:05d}.parquet", row_group_size=ROWS_PER_GROUP)
        _check_totals(*totals.tolist())
        rows.columns.schema.save(folder)


def _advancing(parts: Iterator[tuple[pl.DataFrame, int]], advance: Any) -> Iterator[pl.DataFrame]:
    for frame, made_of in parts:
        yield frame
        advance(made_of)


def _files(parts: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Frames put together to the length of a file."""
    waiting: list[pl.DataFrame] = []
    for part in parts:
        waiting.append(part)
        if sum(map(len, waiting)) >= _ROWS_PER_FILE:
            yield pl.concat(waiting)
            waiting = []
    if waiting:
        yield pl.concat(waiting)


def _check_totals(num_positives: int, num_negatives: int) -> None:
    if not num_positives:
        raise DataError(
            f"{WHERE}: no positive is of an item in `items` and a user in `users`. Give tables in the same codes."
        )
    if not num_negatives:
        raise DataError(
            f"{WHERE}: there is not one negative: candidates gave nothing that was not taken. Give more candidates, a "
            "share of uniform ones, or impressions."
        )
