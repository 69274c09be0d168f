"""Values to codes, most frequent first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from tamis.data.dataset import Dataset
from tamis.errors import DataError, SettingError
from tamis.features.code_space import cardinality_of, placed, placed_online
from tamis.features.codes import codes
from tamis.features.frames import collect
from tamis.features.lookup import encoding, kind_of, plain_values
from tamis.features.ops.categorify_combo import CategorifyCombo
from tamis.features.ops.categorify_limits import (
    Limits,
    check_names,
    check_settings,
    code_dtype,
    described,
    in_table,
    need_room,
    setting,
)
from tamis.features.ops.op import Column, ColumnOp, Learned, Online, Unit, polars_dtype
from tamis.features.statistics import Counts, most_frequent_first
from tamis.features.table_store import Tables
from tamis.schema import ColumnSchema, Schema, Tags


@dataclass(frozen=True, eq=False)
class Categorify(ColumnOp):
    """Turn values into codes: 0 padding, 1 null, 2.. unknown values, then the values learned, most frequent first.

    Equal counts go by value, ascending. NaN counts as null. Columns of a nested list (`[["a", "b"]] >> Categorify()`)
    share one vocabulary and one domain. Of list columns the leaves are encoded. The settings that take a number also
    take a dict by column (for a group: by the names joined with `_`, or by one of its columns).

    `Workflow.update` keeps every code and gives the values of new rows the next ones, most frequent first. Where there
    is a `freq_threshold`, old and new rows count together; a vocabulary that was given does not grow.

    Args:
        freq_threshold: values seen less often than this are unknown; 0 keeps all.
        max_size: the largest cardinality to allow, codes for padding, null and unknown included; 0 is no limit. The
            most frequent values stay. At `num_buckets + 2` none do, which is pure hashing.
        num_buckets: unknown values are spread over so many codes, by a hash that is the same on every machine.
        vocabs: by column, values to use in this order instead of learning them; or a parquet file of them, in the
            column of that name, or `value`, or its only one.
        dtype: of the codes.
        encode_type: `"joint"` as above, or `"combo"`: a nested list becomes one column `a_b`, whose values are the
            combinations of values: null where all parts are null, ties by the parts' values in turn, null first.
        name_sep: joins the names of a combination.
        single_table: all columns share one domain, and so one embedding table. Code 0 is padding for all; each
            column's null, unknown values and vocabulary follow those of the columns before it. What `Workflow.update`
            adds comes at the end of the whole table.

    Raises:
        SettingError: a setting is out of its range, or two exclude each other.
        DataError: a column holds values that cannot be told apart safely (fractions as decimals, structs, bytes).
    """

    by_column: ClassVar[tuple[str, ...]] = ("freq_threshold", "max_size", "num_buckets", "vocabs")

    joint: ClassVar[bool] = True

    freq_threshold: int | Mapping[str, int] = 0
    max_size: int | Mapping[str, int] = 0
    num_buckets: int | Mapping[str, int] = 1
    vocabs: Mapping[str, Any] | None = None
    dtype: str = "int32"
    encode_type: str = field(default="joint", kw_only=True)
    name_sep: str = field(default="_", kw_only=True)
    single_table: bool = field(default=False, kw_only=True)

    def __new__(cls, *args: Any, **settings: Any) -> Any:
        """A CategorifyCombo where combinations are to be encoded: an op over groups in the place of columns."""
        if cls is Categorify and settings.get("encode_type") == "combo":
            names = ("freq_threshold", "max_size", "num_buckets", "vocabs", "dtype")
            others = {name: value for name, value in settings.items() if name != "encode_type"}
            return CategorifyCombo(**dict(zip(names, args, strict=False)), **others)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        if self.encode_type != "joint":
            raise SettingError(f"Categorify: encode_type={self.encode_type!r} is unknown. Choose joint or combo.")
        object.__setattr__(self, "dtype", code_dtype(self))
        object.__setattr__(self, "num_buckets", 1 if self.num_buckets is None else self.num_buckets)
        if self.vocabs is not None:
            vocabs = {name: _vocabulary(name, values) for name, values in self.vocabs.items()}
            object.__setattr__(self, "vocabs", vocabs)
        check_settings(self)

    def check(self, columns: Schema) -> None:
        """Refuse dtypes that have no codes, and settings for columns that are not there."""
        for column in columns:
            if kind_of(column.dtype) == "other":
                raise DataError(
                    f"Categorify: the column {column.name!r} holds {column.dtype}, which has no stable codes. "
                    "Cast it to whole numbers, text or a date first."
                )
        for name, given in (self.vocabs or {}).items():
            if name in columns and kind_of(given.dtype) != kind_of(columns[name].dtype):
                raise SettingError(
                    f"Categorify: the vocabulary of {name!r} holds {str(given.dtype).lower()}, the column "
                    f"{columns[name].dtype}. Cast one of them."
                )
        check_names((self.freq_threshold, self.max_size, self.num_buckets, self.vocabs), columns)

    def learn(self, column: Column) -> Mapping[str, pl.Expr | Counts]:
        """How often each value comes."""
        if self.vocabs and column.name in self.vocabs:
            return {}
        return {"counts": Counts(plain_values(column.values, column.schema.dtype), most_frequent_first=True)}

    def merge(self, parts: Sequence[Learned]) -> Learned:
        """Add the counts of equal values."""
        frames = [part["counts"] for part in parts if "counts" in part]
        if len(frames) <= 1:
            return {"counts": frames[0]} if frames else {}
        if len({kind_of(frame["value"].dtype) for frame in frames}) > 1:
            both = " and ".join(sorted({str(frame["value"].dtype) for frame in frames}))
            raise DataError(f"Categorify: a group holds both {both}. Cast its columns to one type.")
        frames = _of_one_dtype(frames)
        together = pl.concat([frame.lazy() for frame in frames], how="vertical_relaxed")
        counts = most_frequent_first(together.group_by("value").agg(pl.col("count").sum()))
        return {"counts": collect(counts, sum(len(frame) for frame in frames))}

    def finish(self, unit: Unit, found: Learned) -> Learned:
        """The vocabulary in the order of its codes, and what it takes to use it."""
        given, limits = setting(self, "vocabs", unit), Limits.of(self, unit)
        if given is None:
            chosen = limits.chosen(found["counts"])
        else:
            if limits.freq_threshold or limits.max_size:
                raise SettingError(
                    f"Categorify: {unit.name!r} has a given vocabulary, which freq_threshold and max_size cannot cut. "
                    "Shorten the vocabulary itself."
                )
            chosen = {
                "vocabulary": pl.DataFrame({"value": given, "count": pl.Series([None] * len(given), dtype=pl.Int64)})
            }
        return self._checked(unit, {**chosen, **limits.as_learned(), "domain": unit.name})

    def finish_all(self, units: Mapping[str, Learned]) -> Mapping[str, Learned]:
        """A place for each vocabulary where they share a table."""
        return in_table(self, units)

    def update(self, learned: Learned, unit: Unit, found: Learned) -> Learned:
        """The vocabulary with new values at its end."""
        if setting(self, "vocabs", unit) is not None:
            return learned
        return self._checked(unit, {**learned, **Limits.of(self, unit).grown(learned, found["counts"], unit)})

    def apply(self, column: Column, learned: Learned) -> pl.Expr:
        """The codes."""
        codes = placed(encoding(column.values, learned["vocabulary"]["value"], learned["num_buckets"]), learned)
        return codes if self.dtype == "int32" else codes.cast(polars_dtype(self.dtype))

    def online(self, column: ColumnSchema, learned: Learned, tables: Tables) -> Online | None:
        """The code, out of a table."""
        vocabulary: pl.Series = learned["vocabulary"]["value"]
        if vocabulary.dtype.is_temporal() and str(vocabulary.dtype).lower() != column.dtype:
            return None  # of another unit or zone: let Polars convert
        code = codes(vocabulary, learned["num_buckets"], tables, of_floats=column.dtype.startswith("float"))
        return placed_online(code, learned)

    def describe(self, column: ColumnSchema, learned: Learned) -> ColumnSchema:
        """Categorical, with the domain of the codes."""
        return described(column.with_dtype(self.dtype).with_tags(Tags.CATEGORICAL), learned, learned["domain"])

    def _checked(self, unit: Unit, learned: Learned) -> Learned:
        need_room(unit.name, cardinality_of(learned), self.dtype)
        return learned


def _vocabulary(name: str, values: Iterable[Any] | Path) -> pl.Series:
    series = _read_vocabulary(name, values) if isinstance(values, str | Path) else pl.Series("value", values)
    if kind_of(series.dtype) == "other":
        raise SettingError(f"Categorify: the vocabulary of {name!r} holds {series.dtype}. Give numbers, text or dates.")
    series = series.cast(pl.String) if kind_of(series.dtype) == "text" else series
    if series.null_count() or series.n_unique() < len(series):
        wrong = "nulls" if series.null_count() else "a value twice"
        raise SettingError(
            f"Categorify: the vocabulary of {name!r} holds {wrong}. Give each value once, without nulls."
        )
    return series


def _read_vocabulary(name: str, file: str | Path) -> pl.Series:
    data = Dataset(file)
    names = data.schema.column_names
    found = next((one for one in (name, "value") if one in names), names[0] if len(names) == 1 else None)
    if found is None:
        raise SettingError(
            f"Categorify: the vocabulary of {name!r} in {file} has the columns {', '.join(map(repr, names))}. "
            f"Call the one with the values {name!r}."
        )
    return data.select(found).compute()[found].alias("value")


def _of_one_dtype(frames: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """Counts whose values can stand in one column: int64 and uint64 meet in the one that holds all of them."""
    found = {frame["value"].dtype for frame in frames}
    if pl.UInt64 not in found or all(dtype.is_unsigned_integer() or dtype.is_float() for dtype in found):
        return frames
    least = min((frame["value"].min() or 0) for frame in frames if len(frame))
    wanted = pl.UInt64 if least >= 0 else pl.Int64  # type: ignore[operator]
    try:
        return [frame.with_columns(pl.col("value").cast(wanted)) for frame in frames]
    except pl.exceptions.InvalidOperationError as error:
        raise DataError(
            "Categorify: a group holds whole numbers below 0 in one column and above the range of int64 in another. "
            "Encode them apart."
        ) from error
