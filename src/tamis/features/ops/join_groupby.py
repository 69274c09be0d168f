"""What the training rows with the same value say about other columns: counts, sums, means, ..."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tamis.errors import SettingError
from tamis.features.grouped import gathered, in_order, keys_in, keys_of, need_keys, number, position, statistic_of
from tamis.features.ops.op import Column, GroupOp, Learned, Online, Unit
from tamis.features.statistics import Ask, Grouped
from tamis.features.table_store import Tables
from tamis.schema import ColumnSchema, Schema

_STATS = ("count", "sum", "mean", "std", "var", "min", "max")


@dataclass(frozen=True)
class JoinGroupby(GroupOp):
    """Statistics of the training rows with the same value, for each group of columns.

    `[["a", "b"]] >> JoinGroupby(["price"], ["count", "mean"])` gives `a_b_count` (int32) and `a_b_price_mean`
    (float32). Null is a value like others. The count is of rows; the others leave out nulls and NaN, and are null where
    nothing is left, but for the sum, which is 0. `std` and `var` divide by the number less one, so they are null for a
    single one. A value that the training rows do not have has the count and sum 0, and null for the others. Sums of
    fractions may differ in their last digits from one fit to the next, as threads add up in any order.

    Args:
        cont_cols: columns of numbers, which are needed for learning alone.
        stats: some of count, sum, mean, std, var, min, max.
        name_sep: what joins the names.

    Raises:
        SettingError: a statistic is not known or has no column; a column holds no numbers.
        DataError: a column holds lists or values that cannot be told apart.
    """

    cont_cols: str | Sequence[str] | None = None
    stats: str | Sequence[str] = ("count",)
    name_sep: str = "_"

    def __post_init__(self) -> None:
        for name in ("cont_cols", "stats"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(dict.fromkeys(value or ())))
        for stat in self.stats:
            if stat not in _STATS:
                raise SettingError(f"JoinGroupby: there is no statistic {stat!r}. Choose of {', '.join(_STATS)}.")
        if not self.stats or (set(self.stats) - {"count"} and not self.cont_cols):
            missing = "cont_cols" if self.stats else "stats"
            raise SettingError(f"JoinGroupby: {missing} is empty, so there is nothing to compute. Name some.")

    @property
    def learns_from(self) -> tuple[str, ...]:
        """The columns of numbers."""
        return tuple(self.cont_cols or ())

    def check(self, columns: Schema) -> None:
        """Refuse lists and values that cannot be told apart."""
        need_keys(self, columns)

    def learn(self, columns: Sequence[Column]) -> Mapping[str, Ask]:
        """For each group the number of rows, and of each column what its statistics are made of."""
        size = len(columns) - len(self.learns_from)
        aggregates = {"count": pl.len().cast(pl.Int64)}
        for i in range(len(self.learns_from)):
            aggregates |= {f"{what}_{i}": made(pl.col(f"value_{i}")) for what, made in self._needed().items()}
        values = {f"value_{i}": number(column, self) for i, column in enumerate(columns[size:])}
        return {"groups": Grouped(keys_of(columns[:size]), values, aggregates)}

    def merge(self, parts: Sequence[Learned]) -> Learned:
        """Counts and sums add up; so do squared deviations, each part's moved from its own mean to the common one."""
        frames: list[pl.DataFrame] = [part["groups"] for part in parts]
        if len(frames) == 1:
            return {"groups": frames[0]}
        keys = keys_in(frames[0]).columns
        together = {name: _merged(name) for name in frames[0].columns if name not in keys}
        return {"groups": pl.concat(frames, how="vertical_relaxed").group_by(keys).agg(**together)}

    def finish(self, unit: Unit, found: Learned) -> Learned:
        """The statistics as they come out, in the order of the groups' keys."""
        groups = in_order(found["groups"])
        return {"groups": groups.select(keys_in(groups).columns + [expr.alias(n) for n, expr in self._made().items()])}

    def apply(self, columns: Sequence[Column], learned: Learned) -> Sequence[pl.Expr]:
        """The statistics of each row's group."""
        groups: pl.DataFrame = learned["groups"]
        at = position(columns, groups)
        found = {name: gathered(at, groups[name]) for name in self._made()}
        return [expr.fill_null(0) if _is_total(name) else expr for name, expr in found.items()]

    def describe(self, columns: Sequence[ColumnSchema], learned: Learned) -> Sequence[ColumnSchema]:
        """A continuous column for each statistic."""
        group = columns[: len(keys_in(learned["groups"]).columns)]
        described = []
        for name in self._made():
            stat, _, i = name.partition("_")
            parts = [column.name for column in group] + ([self.learns_from[int(i)]] if i else []) + [stat]
            described.append(statistic_of(group, self.name_sep.join(parts), learned["groups"].schema[name]))
        return described

    def online(self, columns: Sequence[ColumnSchema], learned: Learned, tables: Tables) -> Online | None:
        """The same, out of a table for each statistic."""
        groups: pl.DataFrame = learned["groups"]
        find = tables.positions(*keys_in(groups).get_columns())
        read = [_reader(name, groups[name], tables) for name in self._made()]
        if len(read) == 1:
            return lambda *values: read[0](find(*values))

        def look_up(*values: Any) -> tuple[Any, ...]:
            at = find(*values)
            return tuple(one(at) for one in read)

        return look_up

    def _needed(self) -> dict[str, Callable[[pl.Expr], pl.Expr]]:
        """What to ask of a column for its statistics."""
        asked: dict[str, Callable[[pl.Expr], pl.Expr]] = {}
        if {"sum", "mean", "std", "var"} & set(self.stats):
            asked |= {"n": lambda x: x.count().cast(pl.Int64), "sum": lambda x: x.sum()}
        if {"std", "var"} & set(self.stats):
            asked |= {"squares": lambda x: x.var(ddof=0).fill_null(0.0) * x.count()}
        return asked | {name: getattr(pl.Expr, name) for name in ("min", "max") if name in self.stats}

    def _made(self) -> dict[str, pl.Expr]:
        """What comes out, by `count` or statistic and column, over what was asked."""
        made = {"count": pl.col("count").cast(pl.Int32)} if "count" in self.stats else {}
        for i in range(len(self.learns_from)):
            n, var = pl.col(f"n_{i}"), pl.col(f"squares_{i}") / (pl.col(f"n_{i}") - 1)
            exprs = {
                "sum": pl.col(f"sum_{i}"),
                "mean": pl.col(f"sum_{i}") / n,
                "std": pl.when(n > 1).then(var.sqrt()),
                "var": pl.when(n > 1).then(var),
                "min": pl.col(f"min_{i}"),
                "max": pl.col(f"max_{i}"),
            }
            made |= {f"{s}_{i}": exprs[s].cast(pl.Float32).fill_nan(None) for s in self.stats if s != "count"}
        return made


def _merged(name: str) -> pl.Expr:
    what, _, i = name.partition("_")
    column = pl.col(name)
    if what in ("min", "max"):
        return column.min() if what == "min" else column.max()
    if what != "squares":
        return column.sum()
    # Source: Chan, Golub and LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances, 1979.
    n, total = pl.col(f"n_{i}"), pl.col(f"sum_{i}")
    moved = n * (total / n - total.sum() / n.sum()) ** 2
    return column.sum() + pl.when(n > 0).then(moved).sum()


def _is_total(name: str) -> bool:
    return name.startswith(("count", "sum"))


def _reader(name: str, values: pl.Series, tables: Tables) -> Callable[[int | None], Any]:
    """From a position to its value, and to that of unknown groups."""
    unknown = 0.0 if name.startswith("sum") else 0 if name == "count" else None
    if values.dtype.is_integer():
        counts = tables.numbers(values)
        return lambda at: unknown if at is None else counts[at]
    numbers = tables.numbers(values.fill_null(float("nan")))

    def read(at: int | None) -> float | None:
        if at is None:
            return unknown
        value: float = numbers[at]
        return value if value == value else unknown

    return read
