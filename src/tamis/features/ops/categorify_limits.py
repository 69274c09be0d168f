"""Which values get a code: settings by column or group, what they leave in, what new rows add."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import polars as pl

from tamis.errors import DataError, SettingError, UnknownColumnError
from tamis.features.code_space import in_one_table, size_of
from tamis.features.lookup import OOV, positions
from tamis.features.ops.op import Learned, Unit, number_dtype
from tamis.schema import ColumnSchema, Schema

if TYPE_CHECKING:
    from tamis.features.ops.categorify import Categorify
    from tamis.features.ops.categorify_combo import CategorifyCombo

    Op: TypeAlias = Categorify | CategorifyCombo

_DTYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_LEAST = {"freq_threshold": 0, "max_size": 0, "num_buckets": 1}


@dataclass(frozen=True)
class Limits:
    """The settings that hold for one column or group; 0: no limit."""

    num_buckets: int
    freq_threshold: int
    max_size: int

    @classmethod
    def of(cls, op: Op, unit: Unit) -> Limits:
        """The op's settings for this unit.

        Raises:
            SettingError: they exclude each other, or leave no room.
        """
        limits = cls(
            setting(op, "num_buckets", unit) or 1,
            setting(op, "freq_threshold", unit) or 0,
            setting(op, "max_size", unit) or 0,
        )
        if limits.freq_threshold and limits.max_size:
            raise SettingError(
                f"Categorify: {unit.name!r} has freq_threshold={limits.freq_threshold} and "
                f"max_size={limits.max_size}. Give one of them."
            )
        if limits.max_size and limits.max_size < limits.num_buckets + 2:
            raise SettingError(
                f"Categorify: max_size={limits.max_size} of {unit.name!r} leaves no room for padding, null and "
                f"{limits.num_buckets} codes of unknown values. Give at least {limits.num_buckets + 2}."
            )
        return limits

    def chosen(self, counts: pl.DataFrame, num_known: int = 0) -> dict[str, pl.DataFrame]:
        """The `vocabulary` of counts, most frequent first, where so many values have codes already.

        `infrequent` values are kept where a threshold left them out, since more rows may lift them above it.
        """
        if self.freq_threshold:
            num_frequent = int((counts["count"] >= self.freq_threshold).sum())
            return {"vocabulary": counts.head(num_frequent), "infrequent": counts.slice(num_frequent)}
        if self.max_size:
            return {"vocabulary": counts.head(max(0, self.max_size - OOV - self.num_buckets - num_known))}
        return {"vocabulary": counts}

    def grown(self, learned: Learned, found: pl.DataFrame, unit: Unit) -> dict[str, pl.DataFrame]:
        """The same once new counts were found: values keep their place, new ones come after them.

        Raises:
            DataError: a new value does not fit the dtype of those learned.
        """
        old: pl.DataFrame = learned["vocabulary"]
        keys = [name for name in old.columns if name != "count"]
        at = found.select(positions([pl.col(name) for name in keys], old.select(keys))).to_series()
        is_known = at.is_not_null()
        added = pl.DataFrame({"at": at, "more": found["count"]}).filter(is_known)
        counts = old["count"].to_numpy().copy()
        counts[added["at"].to_numpy()] += added["more"].to_numpy()
        fresh = _of_dtypes(found.filter(~is_known), old.schema, unit)
        if "infrequent" in learned:
            both = pl.concat([fresh, learned["infrequent"]])
            fresh = both.group_by(keys).agg(pl.col("count").sum()).select(old.columns)
        chosen = self.chosen(most_frequent(fresh), len(old))
        known = old.with_columns(pl.Series("count", counts))
        return {**chosen, "vocabulary": pl.concat([known, chosen["vocabulary"]])}

    def as_learned(self) -> dict[str, int]:
        """What is kept of them."""
        limits = {"freq_threshold": self.freq_threshold, "max_size": self.max_size}
        return {"num_buckets": self.num_buckets, **{name: value for name, value in limits.items() if value}}


def most_frequent(counts: pl.DataFrame) -> pl.DataFrame:
    """Counts in the order of their codes: equal ones by value, ascending."""
    keys = [name for name in counts.columns if name != "count"]
    return counts.sort("count", *keys, descending=[True, *[False] * len(keys)])


def check_settings(op: Op) -> None:
    """Refuse numbers out of their range."""
    for name, least in _LEAST.items():
        given = getattr(op, name)
        for value in given.values() if isinstance(given, Mapping) else [given]:
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise SettingError(f"Categorify: {name}={value!r} is not a whole number of at least {least}.")


def check_names(settings: Iterable[Any], columns: Schema, name_sep: str = "_") -> None:
    """Refuse settings for columns that are not there."""
    for given in settings:
        for name in given if isinstance(given, Mapping) else ():
            # A group's own name cannot be known here; the names joined begin with a column's.
            if name not in columns and not any(name.startswith(f"{known}{name_sep}") for known in columns.column_names):
                raise UnknownColumnError(name, columns.column_names, where="Categorify")


def setting(op: Op, name: str, unit: Unit) -> Any:
    """What a setting says for a unit: a value for all, or that by its name or one of its columns; None: nothing."""
    given = getattr(op, name)
    if not isinstance(given, Mapping):
        return given
    separated = getattr(op, "name_sep", "_").join(unit.columns)
    found = [given[key] for key in dict.fromkeys((unit.name, separated, *unit.columns)) if key in given]
    if len(found) > 1:
        raise SettingError(f"Categorify: {name} is given twice for the group {unit.name!r}. Give it once.")
    return found[0] if found else None


def code_dtype(op: Op) -> str:
    """The op's dtype of codes as its plain name."""
    return number_dtype(op, op.dtype, _DTYPES)


def in_table(op: Op, units: Mapping[str, Learned]) -> Mapping[str, Learned]:
    """What the units learned, with a place for each vocabulary where they share a table."""
    if not op.single_table:
        return units
    units = in_one_table(units)
    for learned in units.values():
        need_room(learned["table"]["name"], size_of(learned), op.dtype)
    return units


def described(column: ColumnSchema, learned: Learned, domain: str) -> ColumnSchema:
    """A column of codes with its domain, and the settings that made it."""
    limits = {name: learned[name] for name in ("freq_threshold", "max_size") if name in learned}
    if learned["num_buckets"] > 1:
        limits["num_buckets"] = learned["num_buckets"]
    name = learned["table"]["name"] if "table" in learned else domain
    return column.with_properties(limits).with_domain(size_of(learned) - 1, name=name)


def need_room(name: str, cardinality: int, dtype: str) -> None:
    """Refuse more codes than the dtype holds."""
    bits = int(dtype.lstrip("uint")) - (not dtype.startswith("u"))
    if cardinality > 2 ** min(bits, 31):
        raise SettingError(
            f"Categorify: {name!r} has {cardinality:,} codes, too many for {dtype}. Give a wider dtype or a max_size."
        )


def _of_dtypes(found: pl.DataFrame, dtypes: pl.Schema, unit: Unit) -> pl.DataFrame:
    same = found.cast(dict(dtypes), strict=False)  # type: ignore[arg-type]
    for name in found.columns:
        is_lost = (same[name].cast(found.schema[name], strict=False).ne_missing(found[name])).arg_true()
        if len(is_lost):
            raise DataError(
                f"Categorify: {unit.name!r} has the new value {found[name][is_lost[0]]!r}, but holds "
                f"{str(dtypes[name]).lower()}. Cast it."
            )
    return same
