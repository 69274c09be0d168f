"""Which columns a ranker's training rows have, and where the values of each come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tamis.data.dataset import Dataset, check_ids
from tamis.data.split import known_column
from tamis.errors import DataError, SchemaError, SettingError
from tamis.recommender.id_rows import Rows, row_of_code, rows_of_codes
from tamis.schema import ColumnSchema, Schema, Tags

WHERE = "ranking_rows"


def id_columns(positives: Dataset) -> tuple[str, str]:
    """The columns of the user's and the item's code.

    Raises:
        SchemaError: one of them is not tagged.
    """
    found = {}
    for tag, op in ((Tags.USER_ID, "TagAsUserID"), (Tags.ITEM_ID, "TagAsItemID")):
        found[tag] = positives.schema.select_by_tag(tag).column_names
        if not found[tag]:
            raise SchemaError(f"{WHERE}: no column of the positives is tagged {tag!s}. Tag one with {op}.")
    return found[Tags.USER_ID][0], found[Tags.ITEM_ID][0]


def check_codes(dataset: Dataset, names: Sequence[str], what: str) -> None:
    """Refuse ids that are no codes.

    Raises:
        DataError: no rows, ids that are null or no whole numbers.
    """
    check_ids(dataset, names, where=f"{WHERE}: {what}")
    for name in names:
        if not dataset.schema[name].dtype.startswith(("int", "uint")):
            raise DataError(
                f"{WHERE}: {what}: the id column {name!r} holds {dataset.schema[name].dtype}. Give rows that the "
                "workflow encoded, with codes for ids."
            )


class FeatureTable:
    """Encoded features of items or of users, one row each, found by their code.

    Args:
        frame: a frame or Dataset that has the code's column.
        code: that column.
        name: what the caller calls the table.

    Raises:
        UnknownColumnError: there is no such column.
        DataError: no rows, codes that are null or fractional, or that come twice.
    """

    def __init__(self, frame: Any, code: str, name: str) -> None:
        dataset = Dataset(frame)
        known_column(dataset, code, f"{WHERE}: {name}")
        check_codes(dataset, [code], name)
        self.frame, self.schema, self.code = dataset.compute(), dataset.schema, code
        twice = self.frame[code].filter(self.frame[code].is_duplicated()).unique().sort()
        if len(twice):
            raise DataError(
                f"{WHERE}: {name} has {len(twice):,} values of {code!r} in more than one row, such as "
                f"{twice[0]}. Give one row each."
            )
        self._rows = row_of_code(self.frame[code].to_numpy())

    def __len__(self) -> int:
        return len(self.frame)

    def rows_of(self, codes: pl.Series) -> Rows:
        """The row of each code, -1 where there is none."""
        return rows_of_codes(self._rows, codes.to_numpy())


@dataclass(frozen=True)
class RankingColumns:
    """The columns by where they come from; `schema` describes all of them in their order."""

    user: str
    item: str
    context: tuple[str, ...]  # of the request, the user's code among them, where no table gives them
    targets: tuple[str, ...]
    weight: str | None
    time: str | None
    schema: Schema
    dtypes: pl.Schema

    def read(self, dataset: Dataset, name: str) -> Dataset:
        """What is needed of positives or impressions; targets and weights where they are there.

        Raises:
            UnknownColumnError: a column is missing.
            DataError: no rows, or ids with nulls or fractions.
        """
        needed = [known_column(dataset, column, f"{WHERE}: {name}") for column in (*self.context, self.item)]
        check_codes(dataset, [self.user, self.item], name)
        optional = [*self.targets, *([] if self.weight is None else [self.weight])]
        return dataset.select([*needed, *(column for column in optional if column in dataset.schema)])


def ranking_columns(
    positives: Dataset, items: FeatureTable, users: FeatureTable | None, *, target: str | None, weight: str | None
) -> RankingColumns:
    """Work out the columns.

    Raises:
        SchemaError: no target; an item column that `items` cannot give.
        SettingError: a weight column of a name that means something else.
    """
    schema = positives.schema
    user = positives.schema.select_by_tag(Tags.USER_ID).first.name
    targets = list(dict.fromkeys([*schema.select_by_tag(Tags.TARGET).column_names, *([target] if target else [])]))
    if not targets:
        raise SchemaError(f"{WHERE}: no column of the positives is tagged TARGET. Tag one, or name one with `target=`.")
    if weight in (user, items.code, *targets):
        raise SettingError(f"{WHERE}: weight is {weight!r}, which is an id or a target. Name another column.")
    tables = [table for table in (users, items) if table is not None]
    of_tables = {name for table in tables for name in table.schema.column_names}
    context = tuple(n for n in schema.column_names if n == user or n not in {*of_tables, *targets, weight})
    _check_context(context, schema)
    time = next((n for n in context if schema[n].has_tag(Tags.TIME)), None)
    described, dtypes = schema, dict(positives.scan().collect_schema())
    for table in tables:
        described = described + _described(table, schema)
        dtypes |= {n: dtype for n, dtype in table.frame.schema.items() if n not in context}
    for name in targets:
        described, dtypes[name] = described + _target(schema.get(name), name), dtypes.get(name, pl.Int8())
    if weight is not None:
        described, dtypes[weight] = described - weight + ColumnSchema(weight, "float32"), pl.Float32()
    dtypes = {name: dtypes[name] for name in described.column_names}
    return RankingColumns(user, items.code, context, tuple(targets), weight, time, described, pl.Schema(dtypes))


def _check_context(context: Sequence[str], schema: Schema) -> None:
    lacking = [name for name in context if schema[name].has_tag(Tags.ITEM)]
    if lacking:
        raise SchemaError(
            f"{WHERE}: the columns {lacking} are tagged ITEM, but `items` lacks them, so negatives would get those of "
            "the positive's item. Add them to `items`, or leave them out of the positives."
        )


def _described(table: FeatureTable, schema: Schema) -> Schema:
    """The table's columns, with the tags that the positives know them by where the table says nothing."""

    def column(own: ColumnSchema) -> ColumnSchema:
        there = schema.get(own.name)
        return own if there is None or own.tags else there.with_dtype(table.frame.schema[own.name], is_list=False)

    return Schema(column(own) for own in table.schema)


def _target(column: ColumnSchema | None, name: str) -> ColumnSchema:
    if column is None:
        return ColumnSchema(name, "int8", frozenset({Tags.TARGET, Tags.BINARY_CLASSIFICATION}))
    return column.with_tags(Tags.TARGET)
