"""The whole pipeline as a model of the Open Inference Protocol: user ids, k and context in, item ids and scores out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tamis.recommender.recommender import Recommender
from tamis.serving.tensors import BYTES, Array, ProtocolError, TensorSpec, as_texts

RECOMMEND = "recommend"
USERS, K, CONTEXT = "user_ids", "k", "context_"  # raw context columns come with this before their names
ITEMS, SCORES, COUNTS = "item_ids", "scores", "counts"
MOST_USERS, MOST_K, DEFAULT_K = 256, 500, 10
_MOST_ID_LETTERS, _MOST_LETTERS = 500, 10_000


@dataclass(frozen=True)
class AskedRows:
    """Rows of a request that ask for the same.

    Args:
        rows: their numbers.
        users: raw ids.
        k: length of the lists.
        context: raw context columns.
    """

    rows: Sequence[int]
    users: Sequence[int | str]
    k: int
    context: Mapping[str, Any]


class RecommendTensors:
    """What the model takes and gives, for one recommender.

    Row by row: `user_ids`, and if wanted `k` (10 without) and `context_<column>`, all `[rows, 1]`. Out come `item_ids`
    and `scores`, `[rows, largest k]`, best first, and `counts` `[rows, 1]`, how many items each list has; what stands
    behind them means nothing.

    Args:
        recommender: fitted.
    """

    platform = "tamis"

    def __init__(self, recommender: Recommender) -> None:
        self.name = RECOMMEND
        columns = recommender.workflow.input_schema
        self._context = {
            name: TensorSpec(
                CONTEXT + name, _datatype(columns[name].dtype), (-1, 1), is_optional=name in recommender.context
            )
            for name in recommender.raw_context_columns
        }
        users, items = (_id_type(ids) for ids in (recommender.audience.ids, recommender.catalogue.ids))
        optional = TensorSpec(K, "INT64", (-1, 1), is_optional=True)
        self.inputs = (TensorSpec(USERS, users, (-1, 1)), optional, *self._context.values())
        self.outputs = (
            TensorSpec(ITEMS, items, (-1, -1)),
            TensorSpec(SCORES, "FP32", (-1, -1)),
            TensorSpec(COUNTS, "INT64", (-1, 1)),
        )

    def asked(self, inputs: Mapping[str, Array]) -> list[AskedRows]:
        """The rows of a request, those together that ask for the same.

        Raises:
            ProtocolError: too many rows, a k out of its range, or values that are too long or no numbers.
        """
        count = len(inputs[USERS])
        for name, values in inputs.items():
            if len(values) != count:
                raise ProtocolError(f"inputs.{name}: there are {len(values):,} rows beside {count:,} {USERS}.")
        if not 1 <= count <= MOST_USERS:
            raise ProtocolError(f"inputs.{USERS}: there are {count:,} rows. Give 1 to {MOST_USERS}.")
        users = _plain(inputs[USERS], f"inputs.{USERS}", _MOST_ID_LETTERS)
        lengths = _lengths(inputs[K]) if K in inputs else [DEFAULT_K] * count
        given = {name: spec for name, spec in self._context.items() if spec.name in inputs}
        context = [_plain(inputs[spec.name], f"inputs.{spec.name}", _MOST_LETTERS) for spec in given.values()]
        groups: dict[tuple[Any, ...], list[int]] = {}
        for row, key in enumerate(zip(lengths, *context, strict=True)):
            groups.setdefault(key, []).append(row)
        return [
            AskedRows(rows, [users[row] for row in rows], key[0], dict(zip(given, key[1:], strict=True)))
            for key, rows in groups.items()
        ]

    def answer(self, lists: Sequence[tuple[Sequence[int | str], Sequence[float]]]) -> dict[str, Array]:
        """The outputs: of each row its items and scores, best first."""
        shape = (len(lists), max(len(items) for items, _ in lists))
        datatype = self.outputs[0].datatype
        items: Array = np.full(shape, "", object) if datatype == BYTES else np.zeros(shape, np.int64)
        scores, counts = np.zeros(shape, np.float32), np.zeros((len(lists), 1), np.int64)
        for row, (own, their) in enumerate(lists):
            items[row, : len(own)] = as_texts([str(one) for one in own]) if datatype == BYTES else own
            scores[row, : len(own)], counts[row] = their, len(own)
        return {ITEMS: items, SCORES: scores, COUNTS: counts}


def check_k(k: int, where: str) -> None:
    """Refuse a length out of its range.

    Raises:
        ProtocolError: saying where it stands.
    """
    if not 1 <= k <= MOST_K:
        raise ProtocolError(f"{where}: it is {k}. Give 1 to {MOST_K}.")


def _lengths(values: Array) -> list[int]:
    found: list[int] = values.reshape(-1).tolist()
    for row, k in enumerate(found):
        check_k(k, f"inputs.{K}: row {row}")
    return found


def _plain(values: Array, where: str, most_letters: int) -> list[Any]:
    found: list[Any] = values.reshape(-1).tolist()
    for row, value in enumerate(found):
        if isinstance(value, str) and len(value) > most_letters:
            raise ProtocolError(f"{where}: row {row} has {len(value):,} letters. Give up to {most_letters:,}.")
        if isinstance(value, float) and not np.isfinite(value):
            raise ProtocolError(f"{where}: row {row} is {value}. Give a finite number.")
    return found


def _id_type(ids: pl.Series) -> str:
    return "INT64" if ids.dtype.is_integer() else BYTES


def _datatype(dtype: str) -> str:
    """What carries a raw column: texts all that is neither a number nor a truth value."""
    if dtype.startswith(("int", "uint")):
        return "INT64"
    if dtype.startswith("float"):
        return "FP64"
    return "BOOL" if dtype.startswith("bool") else BYTES
