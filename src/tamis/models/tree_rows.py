"""Rows as trees read them: one matrix of numbers and codes, nulls as missing, queries in one piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from tamis.data.batch import Batch
from tamis.data.dataset import Dataset
from tamis.data.row_pool import pool_column
from tamis.errors import DataError, SchemaError
from tamis.nn.embeddings import check_codes, check_whole
from tamis.nn.inputs import split_inputs
from tamis.schema import ColumnSchema, Schema

Floats = npt.NDArray[np.float32]
Whole = npt.NDArray[np.int64]

_NULL_CODE = 1  # what Categorify makes of a null
_MAX_CODES = 2**24  # whole numbers up to here are exact as float32, which the matrix holds


@dataclass(frozen=True)
class TreeRows:
    """Rows in memory.

    Args:
        matrix: [rows, features], NaN where a number is missing.
        labels: [rows] of each target.
        weights: [rows]; None counts all alike.
        groups: [rows], the query of each row; None where nobody asks.
        sizes: [queries], rows of each query, whose rows then stand together; None where no order is learned.
    """

    matrix: Floats
    labels: Mapping[str, Floats]
    weights: Floats | None = None
    groups: Whole | None = None
    sizes: Whole | None = None

    def by_query(self) -> TreeRows:
        """The same rows, those of a query together, whatever order they came in.

        Within a query they stand by a hash of what they hold: the scores before the first tree are all equal, so the
        order decides which pairs are compared, and clicks are often stored before what was not clicked.
        A query counts with the mean weight of its rows.
        """
        assert self.groups is not None
        held = pl.DataFrame(self.matrix).with_columns(pl.Series(f"label {n}", y) for n, y in self.labels.items())
        order = np.lexsort((held.hash_rows(seed=0).to_numpy(), self.groups))
        groups = self.groups[order]
        starts = np.flatnonzero(np.diff(groups, prepend=groups[0] - 1))
        sizes = np.diff(starts, append=len(groups))
        weights = None
        if self.weights is not None:
            mean = np.add.reduceat(self.weights[order].astype(np.float64), starts) / sizes
            weights = np.repeat(mean, sizes).astype(np.float32)
        labels = {name: label[order] for name, label in self.labels.items()}
        return TreeRows(self.matrix[order], labels, weights, groups, sizes)


class TreeInputs:
    """Which feature of the matrix comes from which column: numbers, then codes; vectors take one feature a place.

    Raises:
        SchemaError: a list column, one that is neither categorical nor continuous, or too many categories.
    """

    def __init__(self, schema: Schema, *, where: str) -> None:
        for column in schema:
            if column.is_list and column.width is None:
                raise SchemaError(
                    f"{where}: trees take single values, but {column.name!r} holds lists of any length. Leave it out, "
                    "or make a column of vectors of one length of it."
                )
        self.categorical, self.continuous = split_inputs(schema)
        for column in self.categorical:
            if _num_codes(column) > _MAX_CODES:
                raise SchemaError(
                    f"{where}: {column.name!r} has {column.cardinality:,} categories, and trees take up to "
                    f"{_MAX_CODES:,}. Leave it out, or give the rare ones one code with Categorify(freq_threshold=...)."
                )
        self.is_categorical = [is_code for columns, is_code in self._kinds() for c in columns for _ in _places(c)]

    def _kinds(self) -> tuple[tuple[list[ColumnSchema], bool], ...]:
        return (self.continuous, False), (self.categorical, True)

    def matrix(self, features: Mapping[str, Tensor]) -> Floats:
        """The features of a batch: [rows, features].

        Raises:
            SettingError: a code outside its column's categories, or one that is no whole number.
            DataError: a number is infinite.
        """
        for column in self.categorical:
            check_whole(features[column.name], column.name)
            check_codes(features[column.name].flatten(), [_num_codes(column)], [column.name])
        names = [column.name for columns, _ in self._kinds() for column in columns]
        parts = [features[name].cpu().numpy().astype(np.float32).reshape(len(features[name]), -1) for name in names]
        for name, part in zip(names, parts, strict=True):
            if np.isinf(part).any():
                raise DataError(f"column {name!r}: it holds infinite numbers, which no tree splits. Clip or drop them.")
        return np.concatenate(parts, axis=1)


def _num_codes(column: ColumnSchema) -> int:
    return column.cardinality or _MAX_CODES


def _places(column: ColumnSchema) -> range:
    return range(column.width or 1)


def nullable_batches(
    dataset: Dataset, num_rows: int, inputs: TreeInputs, columns: Sequence[str], targets: Sequence[str]
) -> Iterator[Batch]:
    """All rows in order, as tensors: a missing number is NaN, a null category has the code of null.

    Raises:
        UnknownColumnError: a column is missing.
        DataError: no rows; a dtype that no tensor can hold; a null in a target, or in what is no input.
    """
    schema = dataset.schema.select_by_name(list(dict.fromkeys([*columns, *targets])))
    categorical = {column.name for column in inputs.categorical}
    continuous = {column.name for column in inputs.continuous}
    dtypes = dataset.scan().collect_schema()
    for column in schema:
        pool_column(column, dtypes[column.name], is_target=column.name in targets)
    is_empty = True
    for frame in dataset.select(schema).batches(num_rows):
        tensors = {}
        for name in schema.column_names:
            missing = _NULL_CODE if name in categorical else float("nan") if name in continuous else None
            tensors[name] = _tensor(frame[name], missing)
        is_empty = is_empty and not len(frame)
        if len(frame):
            yield Batch({name: tensors[name] for name in columns}, {name: tensors[name] for name in targets})
    if is_empty:
        raise DataError("trees: the dataset has no rows. Check the path and the filters before it.")


def _tensor(series: pl.Series, missing: float | None) -> Tensor:
    """The values of a column: [rows], or [rows, width] of vectors."""
    if isinstance(series.dtype, pl.Array):
        places = [_tensor(series.arr.get(place), missing) for place in range(series.dtype.size)]
        return torch.stack(places, dim=1)
    if missing is None and series.null_count():
        raise DataError(
            f"trees: the column {series.name!r} has {series.null_count():,} nulls, but is no input, where they could "
            "be missing values. Drop or fill these rows first."
        )
    numbers = series.cast(pl.Float32 if series.dtype.is_float() or isinstance(missing, float) else pl.Int64)
    return torch.from_numpy((numbers if missing is None else numbers.fill_null(missing)).to_numpy(writable=True))


def read_rows(
    batches: Iterable[Batch], inputs: TreeInputs, *, weight: str | None = None, group: str | None = None
) -> TreeRows:
    """All rows of the batches in memory."""
    parts: list[Floats] = []
    labels: dict[str, list[Floats]] = {}
    weights: list[Floats] = []
    groups: list[Whole] = []
    for batch in batches:
        parts.append(inputs.matrix(batch.features))
        for name, label in batch.targets.items():
            labels.setdefault(name, []).append(label.float().numpy())
        if weight is not None:
            weights.append(batch.features[weight].float().numpy())
        if group is not None:
            groups.append(batch.features[group].numpy())
    return TreeRows(
        np.concatenate(parts),
        {name: np.concatenate(label) for name, label in labels.items()},
        np.concatenate(weights) if weights else None,
        np.concatenate(groups) if groups else None,
    )
