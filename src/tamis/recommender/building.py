"""What a recommender learns of encoded interactions: the users, the items, and who met what when."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tamis.data.dataset import Dataset
from tamis.errors import DataError, SchemaError, UnknownColumnError
from tamis.features.workflow import Workflow
from tamis.recommender.audience import Audience
from tamis.recommender.catalogue import Catalogue, item_columns
from tamis.recommender.id_rows import row_of_code, rows_of_codes
from tamis.recommender.interactions import Interactions
from tamis.schema import Schema

_COUNT, _ROW = "__count", "__row"


def id_column(schema: Schema, tag: str, what: str) -> str:
    """The one column with this id tag.

    Raises:
        SchemaError: none or several.
    """
    found = schema.select_by_tag(tag).column_names
    if len(found) != 1:
        raise SchemaError(
            f"Recommender: the workflow makes {len(found)} {what} id columns {found}, but one is needed to ask by. Tag "
            f"one with TagAs{what.capitalize()}ID."
        )
    return found[0]


def in_time(interactions: Dataset, time: str | None) -> pl.LazyFrame:
    """The rows, oldest first.

    Raises:
        UnknownColumnError: there is no such time column.
        DataError: a row has no time.
    """
    if time is None:
        return interactions.scan()
    if time not in interactions.schema:
        raise UnknownColumnError(time, interactions.column_names, where="Recommender: time")
    missing = interactions.scan().select(pl.col(time).is_null().sum()).collect(engine="streaming").item()
    if missing:
        raise DataError(f"Recommender: {missing:,} interactions have no {time!r}. Drop them or fill it first.")
    return interactions.scan().sort(time, maintain_order=True)


def build_audience(rows: pl.LazyFrame, workflow: Workflow, user_id: str, columns: Iterable[str]) -> Audience:
    """Each user with the features of the latest row.

    Raises:
        DataError: no user has a raw id.
    """
    names = list(dict.fromkeys([user_id, *columns]))
    users = latest_rows(rows.select(names), user_id).collect(engine="streaming").sort(user_id)
    ids = workflow.decode(user_id, users[user_id])
    known = ids.is_not_null()
    if not known.any():
        raise DataError("Recommender: no user of the data has a raw id. Give the encoded rows that were trained on.")
    return Audience(ids.filter(known), users.filter(known))


def build_catalogue(
    rows: pl.LazyFrame, workflow: Workflow, item_id: str, columns: Iterable[str], items: Dataset | None
) -> Catalogue:
    """Each item with the features of the latest row, how many rows it has, and its raw columns.

    Raises:
        DataError: no item has a raw id; what `item_columns` refuses.
    """
    names = list(dict.fromkeys([item_id, *columns]))
    counts = rows.group_by(item_id).agg(pl.len().cast(pl.Int64).alias(_COUNT))
    found = latest_rows(rows.select(names), item_id).join(counts, on=item_id).collect(engine="streaming").sort(item_id)
    ids = workflow.decode(item_id, found[item_id])
    known = ids.is_not_null()
    if not known.any():
        raise DataError("Recommender: no item of the data has a raw id. Give the encoded rows that were trained on.")
    found, ids = found.filter(known), ids.filter(known)
    shown = pl.DataFrame() if items is None else item_columns(items, item_id, ids)
    return Catalogue(ids, found.drop(_COUNT), shown, found[_COUNT].to_numpy().copy())


def build_interactions(
    rows: pl.LazyFrame, audience: Audience, catalogue: Catalogue, user_id: str, item_id: str, time: str | None
) -> Interactions:
    """The pairs of known users and items, oldest first. Codes of unknown ids stand for many, so they say nothing."""
    names = [user_id, item_id, *([] if time is None else [time])]
    frame = rows.select(names).collect(engine="streaming")
    users = rows_of_codes(row_of_code(audience.features[user_id].to_numpy()), frame[user_id].to_numpy())
    items = rows_of_codes(row_of_code(catalogue.features[item_id].to_numpy()), frame[item_id].to_numpy())
    known = (users >= 0) & (items >= 0)
    times = None if time is None else frame[time].filter(pl.Series(known))
    return Interactions(users[known], items[known], times)


def latest_rows(rows: pl.LazyFrame, id_column: str) -> pl.LazyFrame:
    """The last row of each id, in order of appearance; memory grows with the ids, not the rows."""
    numbered = rows.with_row_index(_ROW)
    last = numbered.group_by(id_column).agg(pl.col(_ROW).max()).select(_ROW)
    return numbered.join(last, on=_ROW, how="semi", maintain_order="left").sort(_ROW).drop(_ROW)


def popularity(catalogue: Catalogue) -> NDArray[np.float32]:
    """Each item's share of the training rows: [items]."""
    return catalogue.shares()
