"""Numbers to the number of their interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import polars as pl

from tamis.errors import SettingError
from tamis.features.ops.op import Column, ColumnOp, Learned, need_numbers
from tamis.schema import ColumnSchema, Schema, Tags


@dataclass(frozen=True)
class Bucketize(ColumnOp):
    """How many boundaries a number has reached: 0 below the first, `len(boundaries)` from the last on.

    A number equal to a boundary has reached it. NaN counts as null, and nulls stay null.

    Args:
        boundaries: rising numbers, or a dict of them by column.

    Raises:
        SettingError: boundaries that do not rise, a column without boundaries or without numbers.
    """

    boundaries: Sequence[float] | Mapping[str, Sequence[float]]

    def __post_init__(self) -> None:
        given = self.boundaries
        plain = {n: tuple(b) for n, b in given.items()} if isinstance(given, Mapping) else tuple(given)
        object.__setattr__(self, "boundaries", plain)
        for numbers in plain.values() if isinstance(plain, dict) else [plain]:
            _need_rising(numbers)

    def check(self, columns: Schema) -> None:
        """Refuse columns without numbers or without boundaries."""
        need_numbers(self, columns)
        for column in columns:
            if isinstance(self.boundaries, Mapping) and column.name not in self.boundaries:
                raise SettingError(f"Bucketize: there are no boundaries for {column.name!r}. Add them to the dict.")

    def apply(self, column: Column, learned: Learned) -> pl.Expr:
        """The number of the interval, int32."""
        numbers = column.values.cast(pl.Float64).fill_nan(None)
        boundaries = pl.lit(pl.Series(self._of(column.name), dtype=pl.Float64))
        reached = boundaries.search_sorted(numbers, side="right").cast(pl.Int32)
        return pl.when(numbers.is_not_null()).then(reached)

    def describe(self, column: ColumnSchema, learned: Learned) -> ColumnSchema:
        """Categorical, with a domain of as many codes as there are intervals."""
        described = column.with_dtype("int32").with_tags(Tags.CATEGORICAL)
        return described.with_domain(len(self._of(column.name)))

    def _of(self, name: str) -> Sequence[float]:
        return self.boundaries[name] if isinstance(self.boundaries, Mapping) else self.boundaries


def _need_rising(numbers: tuple[float, ...]) -> None:
    if not numbers or not all(isinstance(n, int | float) and not math.isnan(n) for n in numbers):
        raise SettingError(f"Bucketize: boundaries={numbers!r} are no numbers. Give at least one.")
    for one, other in pairwise(numbers):
        if other <= one:
            raise SettingError(f"Bucketize: the boundaries do not rise, {other} comes after {one}. Sort them.")
