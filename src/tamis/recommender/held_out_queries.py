"""Held-out interactions as requests with the items that each should find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tamis.data.dataset import Dataset
from tamis.errors import DataError, UnknownColumnError
from tamis.features.workflow import Workflow
from tamis.recommender.filters import SeenItems
from tamis.recommender.id_rows import Rows
from tamis.recommender.queries import Queries
from tamis.recommender.query_columns import sources_of
from tamis.schema import Tags

if TYPE_CHECKING:
    from tamis.recommender.recommender import Recommender

_QUERY, _ROW, _ITEM, _ID = "__query", "__row", "__item", "__id"


@dataclass(frozen=True)
class HeldOutQueries:
    """One request per user, as the user's first held-out row would have made it.

    Args:
        ids: [n] raw user ids, in order of appearance.
        queries: the requests.
        query: [m] which request each relevant item belongs to.
        item: [m] its row in the catalogue; -1 for items that the catalogue does not hold. Distinct within a request.
        item_ids: [m] the raw id of each relevant item.
        rows: [n] the row of the held-out data that each request was made of, for slices by its columns.
        item_rows: [m] the first row of the held-out data that each relevant item comes from.
        num_rows: held-out rows that count.
        num_unknown_rows: of these, rows of users that are not known and have no features; without `keep_unknown`
            they make no request.
        num_seen_items: items that their user had met before and that are therefore not relevant.
    """

    ids: pl.Series
    queries: Queries
    query: Rows
    item: Rows
    item_ids: pl.Series
    rows: Rows
    item_rows: Rows
    num_rows: int
    num_unknown_rows: int
    num_seen_items: int

    def __len__(self) -> int:
        return len(self.queries)


def held_out_queries(
    recommender: Recommender,
    held_out: Dataset,
    *,
    exclude_seen: bool = True,
    keep_unknown: bool = False,
    where: str = "evaluate",
) -> HeldOutQueries:
    """The requests of held-out data. Where seen items are filtered, those that a user had met before are not relevant.

    Known users have the features that are stored, others those of their first held-out row, if it has all of them. The
    context is that of the first row; columns that it lacks come from the recommender's defaults.

    Args:
        recommender: fitted.
        held_out: raw later interactions. Rows count that the workflow's filters keep and, where the workflow hands on a
            target that is no amount, for which the first such target is 1.
        exclude_seen: see `Recommender.evaluate`.
        keep_unknown: true makes requests of users too that are not known and have no features.
        where: who asks, for messages.

    Raises:
        UnknownColumnError: there is no user or item column.
        DataError: no row is left.
    """
    made_of = sources_of(recommender.workflow)
    user, item = (_raw_id(made_of, name, held_out, where) for name in (recommender.user_id, recommender.item_id))
    frame = _counting(recommender, held_out).filter(pl.col(user).is_not_null())
    columns = set(recommender.raw_user_columns) - {user}
    has_features = bool(columns) and columns <= {*frame.columns}
    known = recommender.audience.rows_of(_ids(frame[user], recommender.audience.ids)) >= 0
    asked = frame if has_features or keep_unknown else frame.filter(pl.Series(known))
    first = asked.unique(user, keep="first", maintain_order=True)
    queries = _queries(recommender, first, user, with_features=has_features)
    pairs = _pairs(recommender, asked, first, user, item)
    leaves_out_seen = exclude_seen and any(isinstance(one, SeenItems) for one in recommender.filters)
    is_new = _unseen(pairs, queries) if leaves_out_seen else np.ones(len(pairs), np.bool_)
    relevant = pairs.filter(pl.Series(is_new))
    if not len(relevant):
        missing = (recommender.workflow.input_schema - held_out.schema).column_names
        note = f" It has no {', '.join(missing)}, so a filter by these keeps no row." if missing else ""
        raise DataError(
            f"{where}: of {len(frame):,} positive held-out rows none is a known user's unseen item. Check that the "
            f"data is later than the training data and holds its users.{note}"
        )
    kept = np.unique(relevant[_QUERY].to_numpy())
    place = np.full(len(first), -1, np.int64)
    place[kept] = np.arange(len(kept))
    return HeldOutQueries(
        ids=first[user].gather(kept),
        queries=queries.select(kept),
        query=place[relevant[_QUERY].to_numpy()],
        item=relevant[_ITEM].to_numpy().astype(np.int64),
        item_ids=relevant[_ID],
        rows=first[_ROW].to_numpy().astype(np.int64)[kept],
        item_rows=relevant[_ROW].to_numpy().astype(np.int64),
        num_rows=len(frame),
        num_unknown_rows=int((~known).sum()) if not has_features else 0,
        num_seen_items=int((~is_new).sum()),
    )


def _counting(recommender: Recommender, held_out: Dataset) -> pl.DataFrame:
    """The held-out rows that count, with their numbers."""
    rows, frame = _positives(recommender, held_out), held_out.compute()
    frame = frame[rows.to_list()] if len(rows) < len(frame) else frame
    return frame.with_columns(rows.alias(_ROW))


def _raw_id(made_of: dict[str, set[str]], encoded: str, held_out: Dataset, where: str) -> str:
    """The raw column behind an encoded id."""
    raw = encoded if encoded in made_of[encoded] else next(iter(sorted(made_of[encoded])))
    if raw not in held_out.schema:
        raise UnknownColumnError(raw, held_out.column_names, where=where)
    return raw


def _positives(recommender: Recommender, held_out: Dataset) -> pl.Series:
    """Numbers of the rows that count. Held-out interactions need not carry the features of users and items."""
    workflow = recommender.workflow
    empty = [
        pl.lit(None, dtype=pl.List(pl.Null) if column.is_list else pl.Null).alias(column.name)
        for column in workflow.input_schema - held_out.schema
    ]
    filled = Dataset(held_out.scan().with_columns(empty)) if empty else held_out
    rows, target = workflow.kept_rows(filled), positive_target(workflow)
    if target is None:
        return rows
    outcome = workflow.transform(filled).scan().select(pl.col(target) == 1).collect(engine="streaming").to_series()
    return rows.filter(outcome.fill_null(False))


def positive_target(workflow: Workflow) -> str | None:
    """The outcome that makes a row a positive: the first target that is not an amount; None where all rows are."""
    targets = [c.name for c in workflow.output_schema.select_by_tag(Tags.TARGET) if not c.has_tag(Tags.REGRESSION)]
    return targets[0] if targets else None


def _ids(given: pl.Series, ids: pl.Series) -> pl.Series:
    return given.cast(ids.dtype, strict=False)


def _queries(recommender: Recommender, first: pl.DataFrame, user: str, *, with_features: bool) -> Queries:
    context = first.select(name for name in recommender.raw_context_columns if name in first.columns)
    columns = recommender.raw_user_columns if with_features else ()
    given = first.select([*dict.fromkeys([user, *columns])]).rename({user: recommender.user_id})
    queries = recommender.queries(given, context if context.width else None)
    stored = recommender.queries(first[user], context if context.width else None)
    known = pl.Series(queries.users >= 0)
    features = queries.features.select(
        stored.features[name].zip_with(known, queries.features[name]) for name in queries.features.columns
    )
    return Queries(queries.users, features, queries.has_features, queries.seen)


def _pairs(recommender: Recommender, asked: pl.DataFrame, first: pl.DataFrame, user: str, item: str) -> pl.DataFrame:
    """Of each distinct pair the request's number, the item's row and raw id, and the number of its first row."""
    numbered = first.select(user).with_row_index(_QUERY)
    found = asked.select(user, item, _ROW).unique([user, item], keep="first", maintain_order=True)
    found = found.join(numbered, on=user, how="left", maintain_order="left")
    rows = recommender.catalogue.rows_of(_ids(found[item], recommender.catalogue.ids))
    return found.select(_QUERY, _ROW, pl.Series(_ITEM, rows), pl.col(item).alias(_ID))


def _unseen(pairs: pl.DataFrame, queries: Queries) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    seen = pl.DataFrame(
        {
            _QUERY: np.repeat(np.arange(len(queries)), [len(items) for items in queries.seen]),
            _ITEM: np.concatenate([*queries.seen, np.zeros(0, np.int64)]),
        }
    )
    met = pairs.join(
        seen.with_columns(pl.col(_QUERY).cast(pairs.schema[_QUERY]), met=True),
        on=[_QUERY, _ITEM],
        how="left",
        maintain_order="left",
    )
    return met["met"].is_null().to_numpy()
