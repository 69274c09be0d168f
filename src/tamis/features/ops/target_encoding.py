"""The mean of a target for each value, without a row ever seeing its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from tamis.errors import DataError, SettingError
from tamis.features.grouped import added_up, gathered, in_order, keys_in, keys_of, need_keys, number, position
from tamis.features.lookup import bucket
from tamis.features.ops.op import Column, GroupOp, Learned, Online, Unit, polars_dtype
from tamis.features.ops.target_settings import check_settings, described, given_mean, names_in, need_others
from tamis.features.ops.timed_target_encoding import TimedTargetEncoding
from tamis.features.rows import ROW
from tamis.features.statistics import Ask, Grouped
from tamis.features.table_store import Tables
from tamis.schema import ColumnSchema, Schema


@dataclass(frozen=True)
class TargetEncoding(GroupOp):
    """The mean of a target over the training rows with the same value, drawn to the overall mean where they are few.

    `(sum + p_smooth * mean) / (count + p_smooth)`, for each group of columns (`[["a", "b"], "c"] >>
    TargetEncoding("y")` has the pairs of a and b, and c). A value that the training rows do not have gets the mean;
    null is a value like others. Rows whose target is null or NaN are not counted.

    Training rows are dealt into `kfold` folds, by a hash of their number and the seed. What a training row gets comes
    from the rows of the other folds alone, the overall mean included; null where there are none and no `target_mean`.
    All other rows get what all training rows say.

    Args:
        target: one column, or several.
        target_mean: use this in the place of the mean; a dict where targets differ.
        kfold: 1 is without folds: a training row then sees its own target, which a model will learn by heart.
        fold_seed: another seed deals other folds.
        p_smooth: how many rows the overall mean counts for.
        out_col: the name that comes out, or one for each target; `TE_<columns joined with _>_<target>` by default.
        out_dtype: `"float32"` or `"float64"`.
        time: a column of moments. Then there are no folds: every row, of the training data or not, gets what the
            training rows strictly before its own time say, the overall mean included, and so does never look ahead;
            null where there are none and no `target_mean`, or where it has no time. `Workflow.update` adds later rows.

    Raises:
        SettingError: a setting is out of its range; a target is no number or is encoded by itself.
        DataError: a column holds lists or values that cannot be told apart; a target has no values.
    """

    target: str | Sequence[str]
    target_mean: float | Mapping[str, float] | None = None
    kfold: int = 3
    fold_seed: int = 42
    p_smooth: float = 20
    out_col: str | Sequence[str] | None = None
    out_dtype: str = "float32"
    time: None = field(default=None, kw_only=True)

    def __new__(cls, *args: Any, **settings: Any) -> Any:
        """A TimedTargetEncoding where rows see what came before them, in the place of folds."""
        if cls is TargetEncoding and settings.get("time") is not None:
            names = ("target", "target_mean", "kfold", "fold_seed", "p_smooth", "out_col", "out_dtype")
            given = {**dict(zip(names, args, strict=False)), **settings}
            return TimedTargetEncoding(**{k: v for k, v in given.items() if k not in ("kfold", "fold_seed")})
        return super().__new__(cls)

    def __post_init__(self) -> None:
        check_settings(self)
        if isinstance(self.kfold, bool) or not isinstance(self.kfold, int) or self.kfold < 1:
            raise SettingError(f"TargetEncoding: kfold={self.kfold!r} is not a whole number of at least 1.")
        if isinstance(self.fold_seed, bool) or not isinstance(self.fold_seed, int):
            raise SettingError(f"TargetEncoding: fold_seed={self.fold_seed!r} is not a whole number. Give one.")

    @property
    def learns_from(self) -> tuple[str, ...]:
        """The targets."""
        return names_in(self.target)

    @property
    def has_training_form(self) -> bool:
        """True where there are folds."""
        return self.kfold > 1

    def check(self, columns: Schema) -> None:
        """Refuse lists and values that cannot be told apart."""
        need_keys(self, columns)

    def learn(self, columns: Sequence[Column]) -> Mapping[str, Ask]:
        """For each group, target and fold the sum and number of the target's values."""
        targets = self.learns_from
        group = columns[: -len(targets)]
        need_others(group, targets)
        fold = _fold(self.kfold, self.fold_seed)
        values: dict[str, pl.Expr] = {}
        for i, column in enumerate(columns[-len(targets) :]):
            target = number(column, self)
            for k in range(self.kfold):
                values[f"{i}_{k}"] = target if self.kfold == 1 else pl.when(fold == k).then(target)
        sums = {f"sum_{name}": pl.col(name).sum() for name in values}
        counts = {f"count_{name}": pl.col(name).count().cast(pl.Int64) for name in values}
        return {"groups": Grouped(keys_of(group), values, {**sums, **counts})}

    def merge(self, parts: Sequence[Learned]) -> Learned:
        """Sums and numbers add up."""
        return {"groups": added_up([part["groups"] for part in parts])}

    def finish(self, unit: Unit, found: Learned) -> Learned:
        """The groups in the order of their keys."""
        groups = in_order(found["groups"])
        for i, name in enumerate(self.learns_from):
            counts = [groups[f"count_{i}_{k}"].sum() for k in range(self.kfold)]
            if not sum(counts):
                raise DataError(f"TargetEncoding: the target {name!r} has no value but null and NaN. Check the column.")
        return {"groups": groups}

    def apply(self, columns: Sequence[Column], learned: Learned) -> Sequence[pl.Expr]:
        """What all training rows say."""
        at = position(columns, learned["groups"])
        return [gathered(at, values).fill_null(mean) for values, mean in self._tables(learned)]

    def apply_to_training(self, columns: Sequence[Column], learned: Learned) -> Sequence[pl.Expr]:
        """What the training rows of the other folds say."""
        if not self.has_training_form:
            return self.apply(columns, learned)
        fold = _fold(self.kfold, self.fold_seed)
        at = position(columns, learned["groups"]) * self.kfold + fold
        return [gathered(at, self._of_other_folds(learned, i)) for i in range(len(self.learns_from))]

    def describe(self, columns: Sequence[ColumnSchema], learned: Learned) -> Sequence[ColumnSchema]:
        """One continuous column for each target."""
        return described(self, columns)

    def online(self, columns: Sequence[ColumnSchema], learned: Learned, tables: Tables) -> Online | None:
        """The same, out of a table."""
        find = tables.positions(*keys_in(learned["groups"]).get_columns())
        found = [(tables.numbers(values), mean) for values, mean in self._tables(learned)]
        if len(found) == 1:
            ((numbers, other),) = found

            def encode(*values: Any) -> float:
                at = find(*values)
                return other if at is None else numbers[at]

            return encode

        def encode_all(*values: Any) -> tuple[float, ...]:
            at = find(*values)
            return tuple(mean if at is None else numbers[at] for numbers, mean in found)

        return encode_all

    def _tables(self, learned: Learned) -> list[tuple[pl.Series, float]]:
        """For each target, the value of each group and that of unknown ones."""
        dtype, tables = polars_dtype(self.out_dtype), []
        for i in range(len(self.learns_from)):
            values, mean = self._encoded(learned["groups"], i, range(self.kfold))
            table = pl.Series(np.append(values, mean)).cast(dtype)
            tables.append((table.head(len(values)), table.item(-1)))
        return tables

    def _of_other_folds(self, learned: Learned, i: int) -> pl.Series:
        """The value of each group and, within it, fold."""
        folds = range(self.kfold)
        encoded = [self._encoded(learned["groups"], i, [k for k in folds if k != fold])[0] for fold in folds]
        table = pl.Series(np.stack(encoded, axis=1).ravel())
        return table.fill_nan(None).cast(polars_dtype(self.out_dtype))

    def _encoded(self, groups: pl.DataFrame, i: int, folds: Sequence[int]) -> tuple[Any, float]:
        """The value of each group out of some folds, and their mean; NaN where they have none."""
        sums, counts = (sum(groups[f"{what}_{i}_{k}"].to_numpy() for k in folds) for what in ("sum", "count"))
        assert isinstance(sums, np.ndarray) and isinstance(counts, np.ndarray)
        mean = given_mean(self, i)
        if mean is None:
            mean = math.fsum(sums) / counts.sum() if counts.sum() else math.nan
        with np.errstate(invalid="ignore"):  # 0 / 0 where nothing is known and nothing is smoothed
            values = (sums + self.p_smooth * mean) / (counts + self.p_smooth)
        return np.where(counts + self.p_smooth > 0, values, mean), float(mean)


def _fold(kfold: int, seed: int) -> pl.Expr:
    """The fold of each training row, the same however the files are cut."""
    start = np.uint64(int(bucket(np.array([seed & (2**64 - 1)], np.uint64), 2**31 - 1)[0]) << 32)

    def fold(rows: pl.Series) -> pl.Series:
        return pl.Series(rows.name, bucket(rows.cast(pl.UInt64).to_numpy() + start, kfold))

    return pl.col(ROW).map_batches(fold, return_dtype=pl.Int32, is_elementwise=True)
