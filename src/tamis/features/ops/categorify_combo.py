"""Combinations of values to codes, most frequent first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tamis.errors import SettingError
from tamis.features.code_space import cardinality_of, placed, placed_online
from tamis.features.crossing import crossed, crossed_online
from tamis.features.grouped import added_up, keys_in, keys_of, made_of, need_keys, position
from tamis.features.lookup import NULL, OOV
from tamis.features.ops.categorify_limits import (
    Limits,
    check_names,
    check_settings,
    code_dtype,
    described,
    in_table,
    most_frequent,
    need_room,
)
from tamis.features.ops.op import Column, GroupOp, Learned, Online, Unit, polars_dtype
from tamis.features.statistics import Ask, Grouped
from tamis.features.table_store import Tables
from tamis.schema import ColumnSchema, Schema, Tags


@dataclass(frozen=True, eq=False)
class CategorifyCombo(GroupOp):
    """What `Categorify(encode_type="combo")` is: `[["a", "b"]]` becomes one column of codes, `a_b`.

    The settings are those of Categorify.
    """

    freq_threshold: int | Mapping[str, int] = 0
    max_size: int | Mapping[str, int] = 0
    num_buckets: int | Mapping[str, int] = 1
    vocabs: None = None
    dtype: str = "int32"
    name_sep: str = "_"
    single_table: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", code_dtype(self))
        object.__setattr__(self, "num_buckets", 1 if self.num_buckets is None else self.num_buckets)
        if self.vocabs is not None:
            raise SettingError("Categorify: vocabs cannot be given for combinations. Leave it out.")
        check_settings(self)

    def check(self, columns: Schema) -> None:
        """Refuse lists, dtypes that have no codes, and settings for columns that are not there."""
        need_keys(self, columns)
        check_names((self.freq_threshold, self.max_size, self.num_buckets), columns, self.name_sep)

    def learn(self, columns: Sequence[Column]) -> Mapping[str, Ask]:
        """How often each combination comes."""
        return {"counts": Grouped(keys_of(columns), {}, {"count": pl.len().cast(pl.Int64)})}

    def merge(self, parts: Sequence[Learned]) -> Learned:
        """Add the counts of equal combinations."""
        return {"counts": added_up([part["counts"] for part in parts])}

    def finish(self, unit: Unit, found: Learned) -> Learned:
        """The combinations in the order of their codes, and what it takes to use them."""
        limits = Limits.of(self, unit)
        learned = {**limits.chosen(_known(found["counts"])), **limits.as_learned(), "columns": list(unit.columns)}
        need_room(unit.name, cardinality_of(learned), self.dtype)
        return learned

    def finish_all(self, units: Mapping[str, Learned]) -> Mapping[str, Learned]:
        """A place for each vocabulary where they share a table."""
        return in_table(self, units)

    def update(self, learned: Learned, unit: Unit, found: Learned) -> Learned:
        """The vocabulary with new combinations at its end."""
        grown = {**learned, **Limits.of(self, unit).grown(learned, _known(found["counts"]), unit)}
        need_room(unit.name, cardinality_of(grown), self.dtype)
        return grown

    def apply(self, columns: Sequence[Column], learned: Learned) -> pl.Expr:
        """The codes."""
        num_buckets = learned["num_buckets"]
        at = position(columns, learned["vocabulary"])
        unknown = pl.lit(OOV, dtype=pl.Int32) if num_buckets == 1 else crossed(columns, num_buckets) + OOV
        is_null = pl.all_horizontal(key.is_null() for key in keys_of(columns).values())
        codes = pl.when(at.is_not_null()).then(at.cast(pl.Int32) + (OOV + num_buckets)).otherwise(unknown)
        codes = placed(pl.when(is_null).then(pl.lit(NULL, dtype=pl.Int32)).otherwise(codes), learned)
        return codes if self.dtype == "int32" else codes.cast(polars_dtype(self.dtype))

    def describe(self, columns: Sequence[ColumnSchema], learned: Learned) -> ColumnSchema:
        """Categorical, with the domain of the codes."""
        name = self.name_sep.join(column.name for column in columns)
        return described(made_of(columns, name, self.dtype, Tags.CATEGORICAL), learned, name)

    def online(self, columns: Sequence[ColumnSchema], learned: Learned, tables: Tables) -> Online | None:
        """The code, out of a table."""
        num_buckets = learned["num_buckets"]
        find = tables.positions(*keys_in(learned["vocabulary"]).get_columns())
        cross = crossed_online(columns, num_buckets, tables)

        def code(*values: Any) -> int:
            if all(value is None or value != value for value in values):
                return NULL
            at = find(*values)
            return OOV + cross(*values) if at is None else OOV + num_buckets + at

        return placed_online(code, learned)


def _known(counts: pl.DataFrame) -> pl.DataFrame:
    """The combinations that are not null in all parts, most frequent first."""
    return most_frequent(counts.filter(~pl.all_horizontal(pl.exclude("count").is_null())))
