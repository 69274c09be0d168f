"""One query's encoded features as tensors, without the detour through a frame, and the check of codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tamis.data.batch import OFFSETS, VALUES
from tamis.errors import DataError, UnknownColumnError
from tamis.nn.embeddings import check_codes, check_whole
from tamis.nn.inputs import split_inputs
from tamis.schema import ColumnSchema, Schema


def query_tensors(query: Mapping[str, Any], schema: Schema, *, where: str = "CandidateScorer") -> dict[str, Tensor]:
    """The features as a batch of one row has them.

    Raises:
        UnknownColumnError: a column is missing.
        DataError: a value that is no number, or of another shape than its column.
    """
    found: dict[str, Tensor] = {}
    plain: dict[type, dict[str, Any]] = {int: {}, float: {}}  # many small tensors cost more than one
    for column in schema:
        name = column.name
        if name not in query:
            raise UnknownColumnError(name, query, where=where)
        value = query[name]
        if type(value) in plain and not column.is_list:
            plain[type(value)][name] = value
            continue
        values = _numbers(value, column)
        if column.width is not None:
            found[name] = values.reshape(1, column.width)
        elif column.is_list:
            found[name + VALUES] = values
            found[name + OFFSETS] = torch.tensor([0, len(values)])
        else:
            found[name] = values
    for named in plain.values():
        if named:
            found |= dict(zip(named, torch.tensor([list(named.values())]).unbind(1), strict=True))
    return found


class QueryCheck:
    """Refuses a query's codes outside the model's categories, quickly where they are plain numbers."""

    def __init__(self, schema: Schema) -> None:
        self.schema, categorical = schema, split_inputs(schema)[0]
        self.limits = {column.name: column.cardinality or 0 for column in categorical if not column.is_list}
        self.has_lists = len(self.limits) < len(categorical)

    def __call__(self, query: Mapping[str, Any], features: Mapping[str, Tensor]) -> None:
        """Check the query, of which `features` were made.

        Raises:
            SettingError: names the column and the code.
        """
        values = ((query[name], limit) for name, limit in self.limits.items())
        if self.has_lists or not all(type(value) is int and 0 <= value < limit for value, limit in values):
            check_all_codes(features, self.schema)


def _numbers(value: Any, column: ColumnSchema) -> Tensor:
    numbers = np.asarray(value)
    if numbers.dtype.kind not in "iufb":
        if numbers.size:
            raise DataError(
                f"CandidateScorer: the query's {column.name!r} is {value!r}, which is no number. Encode it with the "
                "workflow that the model was trained with, and fill nulls."
            )
        numbers = numbers.astype(np.int64)
    if numbers.dtype.kind == "u":
        numbers = numbers.astype(np.int64)
    wanted = 1 if not column.is_list and column.width is None else column.width
    if wanted is not None and numbers.size != wanted:
        raise DataError(
            f"CandidateScorer: the query's {column.name!r} has {numbers.size} values, but one row has {wanted}. Give "
            "the features of one query; score_many takes several."
        )
    if column.is_list and not numbers.size:
        numbers = numbers.astype(np.int64)
    return torch.from_numpy(np.ascontiguousarray(numbers).reshape(-1))


def check_all_codes(features: Mapping[str, Tensor], schema: Schema) -> None:
    """Refuse codes outside the model's categories, and codes that are no whole numbers.

    Raises:
        SettingError: names the column and the code.
    """
    for column in split_inputs(schema)[0]:
        is_list = column.is_list and column.width is None
        codes = features[column.name + VALUES] if is_list else features[column.name]
        check_whole(codes, column.name)
        check_codes(codes.flatten(), [column.cardinality or 0], [column.name])
