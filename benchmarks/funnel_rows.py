"""Rows for a ranker that orders what retrieval finds: a slate for each positive among its own request's candidates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis import ColumnSchema, Dataset, Recommender, Tags, ranking_rows
from tamis.recommender.ranking_data import candidates_of

REQUEST, TARGET = "request", "taken"
_AT_ONCE = 4096

Rows = NDArray[np.int64]


def slates(
    positives: Dataset,
    recommender: Recommender,
    path: str | Path,
    *,
    num_negatives: int,
    had: Callable[[pl.DataFrame], pl.Series] | None = None,
    seed: int = 0,
) -> Dataset:
    """Rows of `ranking_rows` in which each positive is a request of its own, whose features were those of its moment.

    Positives that are not among their candidates are left out. The ranker will never see such items, but learns from
    them that what retrieval holds for unlikely is what people take.

    Args:
        positives: encoded, one row a request, later than what the recommender knows.
        recommender: fitted on what came before.
        path: the folder to write.
        num_negatives: of each slate.
        had: lists of item codes that a request must not find besides what the recommender knows as seen.
        seed: of the draws.
    """
    frame = positives.compute()
    pools = _pools(frame, recommender, had)
    catalogue = recommender.catalogue.features
    taken = _rows_of(catalogue[recommender.item_id], frame[recommender.item_id])
    found = np.flatnonzero((pools == taken[:, None]).any(axis=1) & (taken >= 0))
    pools, frame = pools[found], frame[found].with_columns(pl.int_range(len(found), dtype=pl.Int32).alias(REQUEST))
    schema = positives.schema - positives.schema.select_by_tag(Tags.USER_ID)
    user = positives.schema.select_by_tag(Tags.USER_ID).first
    schema = schema + replace(user, tags=user.tags - {Tags.USER_ID, Tags.ID})
    schema = schema + ColumnSchema(REQUEST, "int32", frozenset({Tags.USER_ID}))
    assert schema.select_by_tag(Tags.USER_ID).column_names == [REQUEST]  # else all of a user's positives share one pool
    return ranking_rows(
        Dataset(frame, schema=schema),
        lambda rows: pools[rows[REQUEST].to_numpy()],
        path,
        items=Dataset(catalogue, schema=recommender.workflow.output_schema.select(catalogue.columns)),
        trained_on=None,
        num_negatives=num_negatives,
        target=TARGET,
        seed=seed,
        verbose=False,
    )


def _pools(frame: pl.DataFrame, recommender: Recommender, had: Callable[[pl.DataFrame], pl.Series] | None) -> Rows:
    find = candidates_of(recommender)
    code_rows = recommender.catalogue.features[recommender.item_id]
    parts = []
    for start in range(0, len(frame), _AT_ONCE):
        block = frame[start : start + _AT_ONCE]
        pool = find(block)
        if had is not None:
            lists = had(block)
            number = np.repeat(np.arange(len(block)), lists.list.len().to_numpy())
            items = _rows_of(code_rows, lists.explode(empty_as_null=False))
            barred = number * len(code_rows) + items
            pairs = np.arange(len(block))[:, None] * len(code_rows) + pool
            pool = np.where(np.isin(pairs, barred), -1, pool)
        parts.append(pool)
    width = max(part.shape[1] for part in parts)
    return np.concatenate([np.pad(p, ((0, 0), (0, width - p.shape[1])), constant_values=-1) for p in parts])


def _rows_of(codes: pl.Series, asked: pl.Series) -> Rows:
    place: Any = np.full(int(max(codes.max(), asked.max() or 0)) + 1, -1, np.int64)  # type: ignore[arg-type, type-var]
    place[codes.to_numpy()] = np.arange(len(codes))
    found: Rows = place[asked.to_numpy()]
    return found
