"""Values to codes, most frequent first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl

from tamis.errors import DataError, SettingError, UnknownColumnError
from tamis.features.lookup import OOV, encoding, kind_of, plain_values
from tamis.features.ops.op import Column, ColumnOp, Learned, Unit, number_dtype, polars_dtype
from tamis.features.statistics import Counts
from tamis.schema import ColumnSchema, Schema, Tags

_DTYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


@dataclass(frozen=True, eq=False)
class Categorify(ColumnOp):
    """Turn values into codes: 0 padding, 1 null, 2.. unknown values, then the values learned, most frequent first.

    Equal counts go by value, ascending. NaN counts as null. Columns of a nested list (`[["a", "b"]] >> Categorify()`)
    share one vocabulary and one domain. Of list columns the leaves are encoded. The settings that take a number also
    take a dict by column (for a group: by the names joined with `_`, or by one of its columns).

    Args:
        freq_threshold: values seen less often than this are unknown; 0 keeps all.
        max_size: the largest cardinality to allow, codes for padding, null and unknown included; 0 is no limit. The
            most frequent values stay. At `num_buckets + 2` none do, which is pure hashing.
        num_buckets: unknown values are spread over so many codes, by a hash that is the same on every machine.
        vocabs: by column, values to use in this order instead of learning them.
        dtype: of the codes.

    Raises:
        SettingError: a setting is out of its range, or two exclude each other.
        DataError: a column holds values that cannot be told apart safely (fractions as decimals, structs, bytes).
    """

    joint: ClassVar[bool] = True

    freq_threshold: int | Mapping[str, int] = 0
    max_size: int | Mapping[str, int] = 0
    num_buckets: int | Mapping[str, int] = 1
    vocabs: Mapping[str, Any] | None = None
    dtype: str = "int32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", number_dtype(self, self.dtype, _DTYPES))
        object.__setattr__(self, "num_buckets", 1 if self.num_buckets is None else self.num_buckets)
        if self.vocabs is not None:
            vocabs = {name: _vocabulary(name, values) for name, values in self.vocabs.items()}
            object.__setattr__(self, "vocabs", vocabs)
        for name, least in (("freq_threshold", 0), ("max_size", 0), ("num_buckets", 1)):
            setting = getattr(self, name)
            for value in setting.values() if isinstance(setting, Mapping) else [setting]:
                if not isinstance(value, int) or isinstance(value, bool) or value < least:
                    raise SettingError(f"Categorify: {name}={value!r} is not a whole number of at least {least}.")

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
        for setting in (self.freq_threshold, self.max_size, self.num_buckets, self.vocabs):
            for name in setting if isinstance(setting, Mapping) else ():
                # A group's own name cannot be known here; the names joined with "_" begin with a column's.
                if name not in columns and not any(name.startswith(f"{known}_") for known in columns.column_names):
                    raise UnknownColumnError(name, columns.column_names, where="Categorify")

    def learn(self, column: Column) -> Mapping[str, pl.Expr | Counts]:
        """How often each value comes."""
        if self.vocabs and column.name in self.vocabs:
            return {}
        return {"counts": Counts(plain_values(column.values, column.schema.dtype))}

    def merge(self, parts: Sequence[Learned]) -> Learned:
        """Add the counts of equal values."""
        frames = [part["counts"] for part in parts if "counts" in part]
        if len(frames) <= 1:
            return {"counts": frames[0]} if frames else {}
        if len({kind_of(frame["value"].dtype) for frame in frames}) > 1:
            both = " and ".join(sorted({str(frame["value"].dtype) for frame in frames}))
            raise DataError(f"Categorify: a group holds both {both}. Cast its columns to one type.")
        together = pl.concat(frames, how="vertical_relaxed")
        return {"counts": together.group_by("value").agg(pl.col("count").sum())}

    def finish(self, unit: Unit, found: Learned) -> Learned:
        """The vocabulary in the order of its codes, and what it takes to use it."""
        num_buckets, vocabulary = self._setting("num_buckets", unit, 1), self._given(unit)
        if vocabulary is None:
            vocabulary = self._choose(unit, found["counts"], num_buckets)
        learned = {"vocabulary": vocabulary, "num_buckets": num_buckets, "domain": unit.name}
        _need_room(unit, OOV + num_buckets + len(vocabulary), self.dtype)
        limits = {name: self._setting(name, unit, 0) for name in ("freq_threshold", "max_size")}
        return {**learned, **{name: value for name, value in limits.items() if value}}

    def apply(self, column: Column, learned: Learned) -> pl.Expr:
        """The codes."""
        codes = encoding(column.values, learned["vocabulary"]["value"], learned["num_buckets"])
        return codes if self.dtype == "int32" else codes.cast(polars_dtype(self.dtype))

    def describe(self, column: ColumnSchema, learned: Learned) -> ColumnSchema:
        """Categorical, with the domain of the codes."""
        cardinality = OOV + learned["num_buckets"] + len(learned["vocabulary"])
        limits = {name: learned[name] for name in ("freq_threshold", "max_size") if name in learned}
        if learned["num_buckets"] > 1:
            limits["num_buckets"] = learned["num_buckets"]
        described = column.with_dtype(self.dtype).with_tags(Tags.CATEGORICAL).with_properties(limits)
        return described.with_domain(cardinality - 1, name=learned["domain"])

    def _choose(self, unit: Unit, counts: pl.DataFrame, num_buckets: int) -> pl.DataFrame:
        threshold, max_size = self._setting("freq_threshold", unit, 0), self._setting("max_size", unit, 0)
        if threshold and max_size:
            raise SettingError(
                f"Categorify: {unit.name!r} has freq_threshold={threshold} and max_size={max_size}. Give one of them."
            )
        if max_size and max_size < num_buckets + 2:
            raise SettingError(
                f"Categorify: max_size={max_size} of {unit.name!r} leaves no room for padding, null and {num_buckets} "
                f"codes of unknown values. Give at least {num_buckets + 2}."
            )
        kept = counts.filter(pl.col("count") >= threshold).sort(["count", "value"], descending=[True, False])
        return kept.head(max_size - OOV - num_buckets) if max_size else kept

    def _given(self, unit: Unit) -> pl.DataFrame | None:
        given = self._setting("vocabs", unit, None)
        if given is None:
            return None
        if self._setting("freq_threshold", unit, 0) or self._setting("max_size", unit, 0):
            raise SettingError(
                f"Categorify: {unit.name!r} has a given vocabulary, which freq_threshold and max_size cannot cut. "
                "Shorten the vocabulary itself."
            )
        return pl.DataFrame({"value": given, "count": pl.Series([None] * len(given), dtype=pl.Int64)})

    def _setting(self, name: str, unit: Unit, default: Any) -> Any:
        setting = getattr(self, name)
        if setting is None or not isinstance(setting, Mapping):
            return default if setting is None else setting
        found = [setting[key] for key in dict.fromkeys((unit.name, *unit.columns)) if key in setting]
        if len(found) > 1:
            raise SettingError(f"Categorify: {name} is given twice for the group {unit.name!r}. Give it once.")
        return found[0] if found else default


def _vocabulary(name: str, values: Iterable[Any]) -> pl.Series:
    series = pl.Series("value", values)
    if kind_of(series.dtype) == "other":
        raise SettingError(f"Categorify: the vocabulary of {name!r} holds {series.dtype}. Give numbers, text or dates.")
    series = series.cast(pl.String) if kind_of(series.dtype) == "text" else series
    if series.null_count() or series.n_unique() < len(series):
        wrong = "nulls" if series.null_count() else "a value twice"
        raise SettingError(
            f"Categorify: the vocabulary of {name!r} holds {wrong}. Give each value once, without nulls."
        )
    return series


def _need_room(unit: Unit, cardinality: int, dtype: str) -> None:
    bits = int(dtype.lstrip("uint")) - (not dtype.startswith("u"))
    if cardinality > 2 ** min(bits, 31):
        raise SettingError(
            f"Categorify: {unit.name!r} has {cardinality:,} codes, too many for {dtype}. "
            "Give a wider dtype or a max_size."
        )
