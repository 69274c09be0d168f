"""One row per id: the features of users or items out of interaction data."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from tamis.data.dataset import Dataset
from tamis.errors import SchemaError
from tamis.schema import Tags

_ROW = "__row"


def unique_rows_by_features(
    dataset: Dataset, features_tag: str | Iterable[str] = Tags.ITEM, id_tag: str = Tags.ITEM_ID
) -> Dataset:
    """The columns with `features_tag`, first row per id, in order of first appearance.

    Raises:
        SchemaError: no column carries the id's tag.
    """
    ids = dataset.schema.select_by_tag(id_tag)
    if not len(ids):
        raise SchemaError(
            f"unique_rows_by_features: no column is tagged {str(id_tag)!r}. Tag the id column, for example with "
            "TagAsItemID or TagAsUserID."
        )
    schema = ids + dataset.schema.select_by_tag(features_tag)
    return dataset.map(lambda rows: first_rows(rows.select(schema.column_names), ids.first.name), schema)


def first_rows(rows: pl.LazyFrame, id_column: str) -> pl.LazyFrame:
    """The first row of each id, in order of appearance.

    Two streaming passes: which row is each id's first, then these rows; so memory grows with the ids, not the rows.
    """
    numbered = rows.with_row_index(_ROW)
    first = numbered.group_by(id_column).agg(pl.col(_ROW).min()).select(_ROW)
    return numbered.join(first, on=_ROW, how="semi", maintain_order="left").sort(_ROW).drop(_ROW)
