"""Raw item columns that people want to see beside an id: titles, brands."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tamis.data.dataset import Dataset
from tamis.errors import DataError, SettingError, UnknownColumnError
from tamis.features.lookup import kind_of


def one_row_per_item(items: Dataset, item_id: str, dtype: pl.DataType) -> pl.DataFrame:
    """The first row of each item, its id in the dtype that recommended ids have.

    Raises:
        UnknownColumnError: there is no id column.
        DataError: the ids are of another kind, text for numbers say.
    """
    if item_id not in items.schema:
        raise UnknownColumnError(item_id, items.column_names, where="Recommender: items")
    found = items.schema[item_id].dtype
    if kind_of(found) != kind_of(str(dtype).lower()):
        raise DataError(
            f"Recommender: items: {item_id!r} holds {found}, but {str(dtype).lower()} in the interactions. Cast one to "
            "the other."
        )
    frame = items.compute().with_columns(pl.col(item_id).cast(dtype, strict=False))
    return frame.unique(item_id, keep="first", maintain_order=True)


def with_columns(found: pl.DataFrame, items: pl.DataFrame | None, item_id: str, show: Sequence[str]) -> pl.DataFrame:
    """Recommended rows with columns of their items; null where an item has no row.

    Raises:
        SettingError: there are no items, or a column would be there twice.
        UnknownColumnError: the items do not have the column.
    """
    if items is None:
        raise SettingError("recommend: there are no item columns to show. Give `items` when building it.")
    for name in show:
        if name not in items.columns:
            raise UnknownColumnError(name, items.columns, where="recommend: show")
        if name in found.columns:
            raise SettingError(f"recommend: show: there is a column {name!r} in every answer. Leave it out.")
    return found.join(items.select(item_id, *show), on=item_id, how="left", maintain_order="left")
