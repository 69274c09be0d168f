"""Held-out rows as questions: one query each, what its list should hold and what it leaves out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from tamis.data.dataset import Dataset
from tamis.errors import SchemaError
from tamis.evaluation.pairs import Pairs
from tamis.models.item_table import ItemTable
from tamis.schema import Schema, Tags

_QUERY = "__query"


@dataclass(frozen=True)
class HeldOut:
    """Queries in order, and per query the catalogue positions that are relevant and that are left out."""

    dataset: Dataset
    relevant: Pairs
    excluded: Pairs | None

    @classmethod
    def from_dataset(cls, rows: Dataset, exclude: Dataset | None, query: Schema, items: ItemTable) -> HeldOut:
        """One query per user id, with the features of its first row; without a user id column one per row.

        A held-out item that `exclude` holds for the same user is no longer relevant: the list may not show it.

        Raises:
            UnknownColumnError: a column is missing in the rows or in `exclude`.
            SchemaError: `exclude` without a user id column.
        """
        held_out = rows.select([*query.column_names, items.id_column]).compute()
        users = query.select_by_tag(Tags.USER_ID)
        if not len(users):
            if exclude is not None:
                raise SchemaError(
                    "evaluate: `exclude` is matched by user, but the query has no user id column. Tag one with "
                    "TagAsUserID, or leave `exclude` out."
                )
            positions = items.positions(held_out[items.id_column].to_numpy())
            numbers = np.arange(len(positions))
            return cls(Dataset(held_out), Pairs.from_arrays(numbers, positions, len(positions)), None)
        user = users.first.name
        queries = held_out.unique(user, keep="first", maintain_order=True)
        row_of = queries.select(user).with_row_index(_QUERY)
        wanted = held_out.select(user, items.id_column).unique()
        left_out = None
        if exclude is not None:
            columns = [pl.col(name).cast(held_out.schema[name]) for name in (user, items.id_column)]
            seen = (
                exclude.select([user, items.id_column]).scan().select(columns).join(row_of.lazy(), on=user, how="semi")
            )
            left_out = seen.unique().collect(engine="streaming")
            wanted = wanted.join(left_out, on=[user, items.id_column], how="anti")
        relevant = _pairs(wanted, row_of, user, items)
        return cls(Dataset(queries), relevant, None if left_out is None else _pairs(left_out, row_of, user, items))


def _pairs(rows: pl.DataFrame, row_of: pl.DataFrame, user: str, items: ItemTable) -> Pairs:
    numbered = rows.join(row_of, on=user, how="left")
    positions = items.positions(numbered[items.id_column].to_numpy())
    return Pairs.from_arrays(numbered[_QUERY].to_numpy(), positions, len(row_of))
