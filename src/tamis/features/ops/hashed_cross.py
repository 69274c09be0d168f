"""Combinations of values to buckets, without learning them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from tamis.errors import SettingError
from tamis.features.crossing import crossed, crossed_online
from tamis.features.grouped import made_of, need_keys
from tamis.features.ops.op import Column, GroupOp, Learned, Online
from tamis.features.statistics import Ask
from tamis.features.table_store import Tables
from tamis.schema import ColumnSchema, Schema, Tags

_SIGN = "_X_"


@dataclass(frozen=True)
class HashedCross(GroupOp):
    """Spread the combinations of a group's values over `num_buckets` codes, 0 to `num_buckets - 1`.

    `[["a", "b"]] >> HashedCross(1000)` gives the column `a_X_b`. The hash is the same on every machine. The order of
    the columns counts, and null is a value like others.

    Args:
        num_buckets: at least 1, or a dict by what comes out (`{"a_X_b": 1000}`, also `{("a", "b"): 1000}`).

    Raises:
        SettingError: num_buckets is out of its range, or lacks a group; a column is in no group.
        DataError: a column holds lists or values that cannot be told apart.
    """

    by_column: ClassVar[tuple[str, ...]] = ("num_buckets",)

    num_buckets: int | Mapping[str, int]

    def __post_init__(self) -> None:
        given = self.num_buckets
        if isinstance(given, Mapping):
            named = {key if isinstance(key, str) else _SIGN.join(key): number for key, number in given.items()}
            object.__setattr__(self, "num_buckets", named)
        for number in given.values() if isinstance(given, Mapping) else [given]:
            if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number < 2**31:
                raise SettingError(f"HashedCross: num_buckets={number!r} is not a whole number from 1 to 2**31 - 1.")

    def check(self, columns: Schema) -> None:
        """Refuse lists and values that have no stable hash."""
        need_keys(self, columns)

    def learn(self, columns: Sequence[Column]) -> Mapping[str, Ask]:
        """Nothing; but a lone column has nothing to be combined with."""
        if len(columns) == 1:
            raise SettingError(
                f"HashedCross: {columns[0].name!r} is alone. Put the columns to combine into an inner list, as in "
                '[["a", "b"]] >> HashedCross(...), or use HashBucket.'
            )
        self._of(_SIGN.join(column.name for column in columns))
        return {}

    def apply(self, columns: Sequence[Column], learned: Learned) -> pl.Expr:
        """The buckets, int32."""
        return crossed(columns, self._of(_SIGN.join(column.name for column in columns)))

    def describe(self, columns: Sequence[ColumnSchema], learned: Learned) -> ColumnSchema:
        """Categorical, with a domain of the buckets."""
        name = _SIGN.join(column.name for column in columns)
        return made_of(columns, name, "int32", Tags.CATEGORICAL).with_domain(self._of(name) - 1)

    def online(self, columns: Sequence[ColumnSchema], learned: Learned, tables: Tables) -> Online | None:
        """The same in plain Python."""
        return crossed_online(columns, self._of(_SIGN.join(column.name for column in columns)), tables)

    def _of(self, name: str) -> int:
        if not isinstance(self.num_buckets, Mapping):
            return self.num_buckets
        if name not in self.num_buckets:
            raise SettingError(f"HashedCross: there is no number for {name!r}. Add it to num_buckets.")
        return self.num_buckets[name]
