"""Values to buckets, without learning them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from tamis.errors import DataError, SettingError
from tamis.features.crossing import hashed, hashed_online
from tamis.features.lookup import OOV, kind_of
from tamis.features.ops.op import Column, ColumnOp, Learned, Online
from tamis.features.table_store import Tables
from tamis.schema import ColumnSchema, Schema, Tags


@dataclass(frozen=True)
class HashBucket(ColumnOp):
    """Spread values over `num_buckets` codes, 0 to `num_buckets - 1`, by a hash that is the same on every machine.

    It is the hash of Categorify's unknown values: equal values always share a bucket, different ones may. Nulls and
    NaN stay null: put `FillMissing` first. In lists the towers take code 0 for padding; where that matters,
    `Categorify(max_size=num_buckets + 2, num_buckets=num_buckets)` hashes around it.

    Args:
        num_buckets: at least 1, or a dict of them by column.

    Raises:
        SettingError: num_buckets is out of its range, or lacks a column.
        DataError: a column holds values that cannot be told apart safely (decimals, structs, bytes).
    """

    by_column: ClassVar[tuple[str, ...]] = ("num_buckets",)

    num_buckets: int | Mapping[str, int]

    def __post_init__(self) -> None:
        given = self.num_buckets
        for number in given.values() if isinstance(given, Mapping) else [given]:
            if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number < 2**31:
                raise SettingError(f"HashBucket: num_buckets={number!r} is not a whole number from 1 to 2**31 - 1.")

    def check(self, columns: Schema) -> None:
        """Refuse dtypes that have no stable hash, and columns without a number of buckets."""
        for column in columns:
            if kind_of(column.dtype) == "other":
                raise DataError(
                    f"HashBucket: the column {column.name!r} holds {column.dtype}, which has no stable hash. "
                    "Cast it to whole numbers, text or a date first."
                )
            if isinstance(self.num_buckets, Mapping) and column.name not in self.num_buckets:
                raise SettingError(f"HashBucket: there is no number for {column.name!r}. Add it to num_buckets.")

    def apply(self, column: Column, learned: Learned) -> pl.Expr:
        """The buckets, int32."""
        code = hashed(column, self._of(column.name))
        return pl.when(code >= OOV).then(code - OOV)

    def online(self, column: ColumnSchema, learned: Learned, tables: Tables) -> Online:
        """The bucket."""
        code = hashed_online(column, self._of(column.name), tables)
        return lambda value: None if value is None or value != value else code(value) - OOV

    def describe(self, column: ColumnSchema, learned: Learned) -> ColumnSchema:
        """Categorical, with a domain of the buckets."""
        described = column.with_dtype("int32").with_tags(Tags.CATEGORICAL)
        return described.with_domain(self._of(column.name) - 1)

    def _of(self, name: str) -> int:
        return self.num_buckets[name] if isinstance(self.num_buckets, Mapping) else self.num_buckets
