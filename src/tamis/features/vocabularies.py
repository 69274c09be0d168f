"""What codes stand for, there and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from tamis.errors import DataError, SettingError
from tamis.features.code_space import cardinality_of, placed, size_of, unplaced
from tamis.features.input_check import check_kind
from tamis.features.lookup import OOV
from tamis.features.ops.categorify import Categorify
from tamis.features.ops.categorify_combo import CategorifyCombo
from tamis.features.ops.op import Column, Learned
from tamis.schema import ColumnSchema


def categories(learned: Learned) -> pl.DataFrame:
    """Each value of a vocabulary with its count and code."""
    first = OOV + learned["num_buckets"]
    own = pl.int_range(first, first + pl.len(), dtype=pl.Int64)
    return pl.DataFrame({"value": _values(learned), "count": learned["vocabulary"]["count"]}).with_columns(
        code=placed(own, learned).cast(pl.Int64)
    )


def encode(op: Categorify | CategorifyCombo, learned: Learned, column: str, values: Any) -> pl.Series:
    """The codes of raw values."""
    if isinstance(op, CategorifyCombo):
        frame = _parts(learned, column, values)
        columns = [Column(ColumnSchema(name, str(dtype)), pl.col(name)) for name, dtype in frame.schema.items()]
        return frame.select(op.apply(columns, learned).cast(pl.Int64).alias(column)).to_series()
    dtype = learned["vocabulary"]["value"].dtype
    series = pl.Series(column, values)
    series = series.cast(dtype) if series.dtype == pl.Null else series
    check_kind(column, str(series.dtype).lower(), str(dtype).lower(), "encode")
    codes = op.apply(Column(ColumnSchema(column, str(series.dtype)), pl.col(column)), learned)
    return series.to_frame().select(codes.cast(pl.Int64).alias(column)).to_series()


def decode(learned: Learned, column: str, codes: pl.Series | Iterable[int]) -> pl.Series:
    """The raw values of codes.

    Raises:
        DataError: a code is out of range, or of another column.
    """
    series = pl.Series(column, codes, dtype=pl.Int64) if not isinstance(codes, pl.Series) else codes.cast(pl.Int64)
    for code in (series.min(), series.max()):
        if isinstance(code, int) and not 0 <= code < size_of(learned):
            raise DataError(
                f"Workflow.decode: {code} is not a code of {column!r}, which has {size_of(learned):,}. "
                "Check that the codes come from this workflow."
            )
    own = unplaced(series, learned)
    is_foreign = own.is_null() & series.is_not_null()
    if is_foreign.any():
        raise DataError(
            f"Workflow.decode: {series.filter(is_foreign)[0]} is the code of another column than {column!r} in their "
            "common table. Check that the codes come from this column."
        )
    first = cardinality_of(learned) - len(learned["vocabulary"])
    position = pl.select(pl.when(own >= first).then(own - first)).to_series()
    return _values(learned).gather(position).alias(column)


def _values(learned: Learned) -> pl.Series:
    vocabulary: pl.DataFrame = learned["vocabulary"]
    if "columns" not in learned:
        return vocabulary["value"]
    return vocabulary.drop("count").rename(dict(_parts_of(learned))).to_struct("value")


def _parts_of(learned: Learned) -> list[tuple[str, str]]:
    """The names of a combination's parts in the vocabulary and in the data."""
    return [(f"key_{i}", name) for i, name in enumerate(learned["columns"])]


def _parts(learned: Learned, column: str, values: Any) -> pl.DataFrame:
    """Combinations given as a frame, structs, dicts or tuples as a frame of the parts."""
    if isinstance(values, pl.Series) and values.dtype == pl.Struct:
        values = values.struct.unnest()
    schema = {name: learned["vocabulary"].schema[key] for key, name in _parts_of(learned)}
    try:
        if isinstance(values, pl.DataFrame):
            return values.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
        rows = [tuple(row[name] for name in schema) if isinstance(row, dict) else tuple(row) for row in values]
        return pl.DataFrame(rows, schema=schema, orient="row")
    except (KeyError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise SettingError(
            f"Workflow.encode: these are no combinations of {', '.join(map(repr, schema))} for {column!r} ({error}). "
            "Give tuples, dicts or a frame."
        ) from error
