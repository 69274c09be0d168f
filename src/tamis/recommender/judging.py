"""What the lists that a recommender really serves are worth on held-out interactions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch

from tamis.data.dataset import Dataset
from tamis.errors import DataError, UnknownColumnError
from tamis.evaluation.catalogue import Pairs, judge_lists, judge_popularity
from tamis.evaluation.metrics import Metric, NDCGAt, RecallAt, resolve_metrics
from tamis.evaluation.top_k import check_k
from tamis.schema import Schema

if TYPE_CHECKING:
    from tamis.recommender.recommender import Recommender

_BLOCK = 8192
_ROW = "__row"  # no name that a user's column could have


def judge_recommender(
    recommender: Recommender, held_out: Dataset, *, metrics: Iterable[str | Metric] | None, exclude_seen: bool
) -> dict[str, float]:
    """See `Recommender.evaluate`."""
    resolved = resolve_metrics((RecallAt(10), NDCGAt(10)) if metrics is None else metrics)
    k = max(metric.k for metric in resolved)
    check_k(k, recommender.num_items, where="evaluate")
    user, item = recommender.user_id, recommender.item_id
    rows = _coded(recommender, held_out)
    known = rows.filter(pl.Series(recommender.knows(rows[user].to_numpy())))
    seen = recommender.seen.frame.cast({user: rows.schema[user], item: rows.schema[item]})
    wanted = known.unique(maintain_order=True)
    wanted = wanted.join(seen, on=[user, item], how="anti", maintain_order="left") if exclude_seen else wanted
    if not len(wanted):
        raise DataError(
            f"evaluate: of {len(rows):,} positive held-out rows none is a known user's unseen item. Check that the "
            f"data is later than the training data and holds its users.{_note_on(_missing(recommender, held_out))}"
        )
    users = wanted[user].unique(maintain_order=True)
    row_of = users.to_frame().with_row_index(_ROW)
    codes = recommender.popular[item].sort().to_numpy()
    relevant = _pairs(wanted, row_of, user, item, codes)
    excluded = _pairs(seen.join(row_of, on=user, how="semi"), row_of, user, item, codes) if exclude_seen else None
    counts = torch.tensor(recommender.popular.sort(item)["count"].to_numpy())
    lists = torch.from_numpy(_lists(recommender, users.to_numpy(), codes, k, exclude_seen))
    found = judge_lists(lists, relevant, len(codes), metrics=resolved, popularity=counts).values
    popular = judge_popularity(counts, relevant, metrics=resolved, excluded=excluded).values
    counted = {"num_users": float(len(users)), "num_unknown_rows": float(len(rows) - len(known))}
    return {**found, **{f"popularity_{name}": value for name, value in popular.items()}, **counted}


def _coded(recommender: Recommender, held_out: Dataset) -> pl.DataFrame:
    """User and item codes of the rows that the workflow's filters keep.

    Held-out interactions need not carry the features of users and items: these have no part in the codes.
    """
    user, item = recommender.user_id, recommender.item_id
    for name in (user, item):
        if name not in held_out.schema:
            raise UnknownColumnError(name, held_out.column_names, where="evaluate")
    empty = [
        pl.lit(None, dtype=pl.List(pl.Null) if column.is_list else pl.Null).alias(column.name)
        for column in _missing(recommender, held_out)
    ]
    filled = Dataset(held_out.scan().with_columns(empty)) if empty else held_out
    return recommender.workflow.transform(filled).scan().select(user, item).collect(engine="streaming")


def _missing(recommender: Recommender, held_out: Dataset) -> Schema:
    return recommender.workflow.input_schema - held_out.schema


def _note_on(missing: Schema) -> str:
    return f" It has no {', '.join(missing.column_names)}, so a filter by these keeps no row." if len(missing) else ""


def _lists(recommender: Recommender, users: Any, codes: Any, k: int, exclude_seen: bool) -> Any:
    blocks = [
        recommender.search(users[at : at + _BLOCK], k, exclude_seen=exclude_seen).ids
        for at in range(0, len(users), _BLOCK)
    ]
    found = np.concatenate(blocks)
    return np.where(found < 0, -1, np.searchsorted(codes, found))


def _pairs(rows: pl.DataFrame, row_of: pl.DataFrame, user: str, item: str, codes: Any) -> Pairs:
    numbered = rows.join(row_of, on=user, how="left", maintain_order="left")
    items = numbered[item].to_numpy()
    places = np.searchsorted(codes, items).clip(max=len(codes) - 1)
    positions = np.where(codes[places] == items, places, -1)
    return Pairs.from_arrays(numbered[_ROW].to_numpy(), positions, len(row_of))
