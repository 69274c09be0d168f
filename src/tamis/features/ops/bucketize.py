"""Numbers to the number of their interval."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import ClassVar

import numpy as np
import polars as pl

from tamis.errors import DataError, SettingError
from tamis.features.ops.op import Column, ColumnOp, Learned, Online, Unit, need_numbers
from tamis.features.quantiles import counts_together, quantiles
from tamis.features.statistics import Counts
from tamis.features.table_store import Tables
from tamis.schema import ColumnSchema, Schema, Tags


@dataclass(frozen=True)
class Bucketize(ColumnOp):
    """How many boundaries a number has reached: 0 below the first, `len(boundaries)` from the last on.

    A number equal to a boundary has reached it. Numbers are compared as 64-bit floats. NaN counts as null, and nulls
    stay null.

    Args:
        boundaries: rising numbers, a dict of them by column, or a function from a column's name to them. The function
            is called once for each column; what it gave is what is saved.
        quantiles: in the place of boundaries, how many buckets of about as many training rows each, or the shares of
            the rows where one ends and the next begins: `quantiles=10`, `quantiles=[0.5, 0.9, 0.99]`. They are exact.
            Equal boundaries become one, so a frequent number leaves fewer buckets.

    Raises:
        SettingError: boundaries that do not rise, a column without boundaries or without numbers; quantiles that are
            none.
        DataError: a column has no finite number to take quantiles of.
    """

    by_column: ClassVar[tuple[str, ...]] = ("boundaries",)

    boundaries: Sequence[float] | Mapping[str, Sequence[float]] | Callable[[str], Sequence[float]] | None = None
    quantiles: int | Sequence[float] | None = None

    def __post_init__(self) -> None:
        given = self.boundaries
        if (given is None) == (self.quantiles is None):
            raise SettingError("Bucketize: give either boundaries or quantiles.")
        if isinstance(given, Mapping):
            object.__setattr__(self, "boundaries", {name: _rising(numbers) for name, numbers in given.items()})
        elif given is not None:
            object.__setattr__(self, "boundaries", _Called(given) if callable(given) else _rising(given))
        else:
            object.__setattr__(self, "quantiles", _shares(self.quantiles))

    def check(self, columns: Schema) -> None:
        """Refuse columns without numbers or without boundaries."""
        need_numbers(self, columns)
        for column in columns:
            if isinstance(self.boundaries, Mapping) and column.name not in self.boundaries:
                raise SettingError(f"Bucketize: there are no boundaries for {column.name!r}. Add them to the dict.")

    def learn(self, column: Column) -> Mapping[str, Counts]:
        """How often each finite number comes, where quantiles are wanted."""
        if self.quantiles is None:
            return {}
        numbers = column.values.cast(pl.Float64) + 0.0  # without a zero of its own for -0.0
        return {"counts": Counts(pl.when(numbers.is_finite()).then(numbers))}

    def merge(self, parts: Sequence[Learned]) -> Learned:
        """Add the counts of equal numbers."""
        return {"counts": counts_together([part["counts"] for part in parts])} if parts[0] else {}

    def finish(self, unit: Unit, found: Learned) -> Learned:
        """The boundaries at the quantiles."""
        if not found:
            return {}
        if found["counts"].is_empty():
            raise DataError(f"Bucketize: the column {unit.name!r} has no finite number to take quantiles of.")
        assert isinstance(self.quantiles, tuple)
        return {"boundaries": tuple(dict.fromkeys(quantiles(found["counts"], self.quantiles)))}

    def apply(self, column: Column, learned: Learned) -> pl.Expr:
        """The number of the interval, int32."""
        reached = partial(_reached, boundaries=self._of(column.name, learned))
        return column.values.map_batches(reached, return_dtype=pl.Int32, is_elementwise=True)

    def online(self, column: ColumnSchema, learned: Learned, tables: Tables) -> Online:
        """The number of the interval."""
        boundaries = self._of(column.name, learned)

        def reached(value: float | None) -> int | None:
            return None if value is None or value != value else bisect_right(boundaries, value)

        return reached

    def describe(self, column: ColumnSchema, learned: Learned) -> ColumnSchema:
        """Categorical, with a domain of as many codes as there are intervals."""
        described = column.with_dtype("int32").with_tags(Tags.CATEGORICAL)
        return described.with_domain(len(self._of(column.name, learned)))

    def _of(self, name: str, learned: Learned) -> Sequence[float]:
        if "boundaries" in learned:
            found: Sequence[float] = learned["boundaries"]
            return found
        assert self.boundaries is not None and not callable(self.boundaries)
        return self.boundaries[name] if isinstance(self.boundaries, Mapping) else self.boundaries


def _reached(numbers: pl.Series, boundaries: Sequence[float]) -> pl.Series:
    """How many boundaries each number has reached; whole numbers are compared as such, whatever their size."""
    if numbers.dtype.is_integer():
        low, high = (-(2**63), 2**63 - 1) if numbers.dtype.is_signed_integer() else (0, 2**64 - 1)
        whole = [low if one < low else math.ceil(one) for one in boundaries if one <= high]
        at = np.searchsorted(
            np.array(whole, np.int64 if low else np.uint64),
            numbers.cast(pl.Int64 if low else pl.UInt64).fill_null(0).to_numpy(),
            side="right",
        )
    else:
        numbers = numbers.cast(pl.Float64).fill_nan(None)
        at = np.searchsorted(np.array(boundaries, np.float64), numbers.fill_null(0.0).to_numpy(), side="right")
    return pl.Series(numbers.name, at.astype(np.int32)).set(numbers.is_null(), None)


class _Called(Mapping[str, tuple[float, ...]]):
    """A function's results by column: it is asked for each of them once."""

    def __init__(self, function: Callable[[str], Sequence[float]]) -> None:
        self._function = function
        self._found: dict[str, tuple[float, ...]] = {}

    def __getitem__(self, name: str) -> tuple[float, ...]:
        if name not in self._found:
            self._found[name] = _rising(self._function(name))
        return self._found[name]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return repr(self._found or self._function)


def _rising(given: Sequence[float]) -> tuple[float, ...]:
    numbers = tuple(getattr(n, "item", lambda n=n: n)() for n in given)  # NumPy's numbers as Python's
    if not numbers or not all(isinstance(n, int | float) and not math.isnan(n) for n in numbers):
        raise SettingError(f"Bucketize: boundaries={numbers!r} are no numbers. Give at least one.")
    for one, other in pairwise(numbers):
        if other <= one:
            raise SettingError(f"Bucketize: the boundaries do not rise, {other} comes after {one}. Sort them.")
    return numbers


def _shares(given: int | Sequence[float] | None) -> tuple[float, ...]:
    if isinstance(given, int) and not isinstance(given, bool) and given >= 2:
        return tuple(i / given for i in range(1, given))
    shares = tuple(given) if isinstance(given, list | tuple) else ()
    if not shares or not all(0 < share < 1 for share in shares) or list(shares) != sorted(set(shares)):
        raise SettingError(
            f"Bucketize: quantiles={given!r} are neither a number of buckets nor rising shares of the rows. "
            "Give a whole number of at least 2, or numbers between 0 and 1."
        )
    return shares
