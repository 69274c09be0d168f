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

_QUERY = "__query"


@dataclass(frozen=True)
class HeldOutQueries:
    """One request per user, as the user's first held-out row would have made it.

    Args:
        ids: [n] raw user ids, in order of appearance.
        queries: the requests.
        query: [m] which request each relevant item belongs to.
        item: [m] its row in the catalogue; -1 for items that the catalogue does not hold. Distinct within a request.
        rows: [n] the row of the held-out data that each request was made of, for slices by its columns.
        num_rows: held-out rows that the workflow's filters kept.
        num_unknown_rows: of these, rows of users that are not known and have no features; they make no request.
        num_seen_rows: of these, rows of items that the user had met before; they are not relevant.
    """

    ids: pl.Series
    queries: Queries
    query: Rows
    item: Rows
    rows: Rows
    num_rows: int
    num_unknown_rows: int
    num_seen_rows: int

    def __len__(self) -> int:
        return len(self.queries)


def held_out_queries(recommender: Recommender, held_out: Dataset, *, exclude_seen: bool = True) -> HeldOutQueries:
    """The requests of held-out data. Where seen items are filtered, those that a user had met before are not relevant.

    Known users have the features that are stored, others those of their first held-out row, if it has all of them. The
    context is that of the first row; columns that it lacks come from the recommender's defaults.

    Args:
        recommender: fitted.
        held_out: raw later interactions. Rows count that the workflow's filters keep and, where the workflow hands on a
            target that is no amount, for which the first such target is 1.
        exclude_seen: see `Recommender.evaluate`.

    Raises:
        UnknownColumnError: there is no user or item column.
        DataError: no row is left.
    """
    made_of = sources_of(recommender.workflow)
    user, item = (_raw_id(made_of, name, held_out) for name in (recommender.user_id, recommender.item_id))
    rows = _positives(recommender, held_out)
    frame = held_out.compute()[rows.to_list()] if len(rows) < held_out.num_rows else held_out.compute()
    frame = frame.with_columns(pl.Series("__row", rows)).filter(pl.col(user).is_not_null())
    columns = set(recommender.raw_user_columns) - {user}
    has_features = bool(columns) and columns <= {*frame.columns}
    known = recommender.audience.rows_of(_ids(frame[user], recommender.audience.ids)) >= 0
    asked = frame if has_features else frame.filter(pl.Series(known))
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
            f"evaluate: of {len(frame):,} positive held-out rows none is a known user's unseen item. Check that the "
            f"data is later than the training data and holds its users.{note}"
        )
    kept = np.unique(relevant[_QUERY].to_numpy())
    place = np.full(len(first), -1, np.int64)
    place[kept] = np.arange(len(kept))
    return HeldOutQueries(
        first[user].gather(kept),
        queries.select(kept),
        place[relevant[_QUERY].to_numpy()],
        relevant["item"].to_numpy().astype(np.int64),
        first["__row"].to_numpy().astype(np.int64)[kept],
        len(frame),
        len(frame) - len(asked),
        int((~is_new).sum()),
    )


def _raw_id(made_of: dict[str, set[str]], encoded: str, held_out: Dataset) -> str:
    """The raw column behind an encoded id."""
    raw = encoded if encoded in made_of[encoded] else next(iter(sorted(made_of[encoded])))
    if raw not in held_out.schema:
        raise UnknownColumnError(raw, held_out.column_names, where="evaluate")
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
    """Request number and item row of each distinct pair."""
    numbered = first.select(user).with_row_index(_QUERY)
    found = asked.select(user, item).unique(maintain_order=True)
    found = found.join(numbered, on=user, how="left", maintain_order="left")
    rows = recommender.catalogue.rows_of(_ids(found[item], recommender.catalogue.ids))
    return found.select(_QUERY, item=pl.Series(rows))


def _unseen(pairs: pl.DataFrame, queries: Queries) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    seen = pl.DataFrame(
        {
            _QUERY: np.repeat(np.arange(len(queries)), [len(items) for items in queries.seen]),
            "item": np.concatenate([*queries.seen, np.zeros(0, np.int64)]),
        }
    )
    met = pairs.join(
        seen.with_columns(pl.col(_QUERY).cast(pairs.schema[_QUERY]), met=True),
        on=[_QUERY, "item"],
        how="left",
        maintain_order="left",
    )
    return met["met"].is_null().to_numpy()
