"""Made-up raw values that a workflow can take: rows of features, and a context, for requests that nobody sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from tamis.errors import SettingError
from tamis.features.workflow import Workflow
from tamis.recommender.query_columns import sources_of

_LIST_LENGTH = 2
_MADE_UP: dict[str, Sequence[Any]] = {
    "bool": (True, False),
    "float": (0.0, 0.5, 1.0, 7.0, 30.0),
    "int": (0, 1, 2, 12, 30),
    "uint": (0, 1, 2, 12, 30),
    "string": ("a", "b", "7"),
}


class RawDraws:
    """Draws values for raw columns: where a column becomes categories, of those; else plain numbers and text.

    Args:
        workflow: fitted.
        columns: raw columns to draw for.
        generator: the values are a function of its state.
    """

    def __init__(self, workflow: Workflow, columns: Sequence[str], generator: np.random.Generator) -> None:
        self._generator, self._columns = generator, list(columns)
        made_of = sources_of(workflow)
        self._values = {name: _values(workflow, name, made_of) for name in columns}
        self._is_list = {name: workflow.input_schema[name].is_list for name in columns}

    @property
    def is_possible(self) -> bool:
        """Whether there is something to draw for every column."""
        return all(self._values.values())

    def row(self) -> dict[str, Any]:
        """A value for each column."""
        return {name: self._list(name) if self._is_list[name] else self._one(name) for name in self._columns}

    def _list(self, name: str) -> list[Any]:
        return [self._one(name) for _ in range(_LIST_LENGTH)]

    def _one(self, name: str) -> Any:
        values = self._values[name]
        return values[int(self._generator.integers(len(values)))]


def _values(workflow: Workflow, raw: str, made_of: dict[str, set[str]]) -> Sequence[Any]:
    column = workflow.input_schema[raw]
    for name in workflow.output_schema.column_names:
        if made_of[name] == {raw} and (found := _categories(workflow, name)):
            return found
    kind = next((kind for kind in _MADE_UP if str(column.dtype).startswith(kind)), None)
    return () if kind is None else _MADE_UP[kind]


def _categories(workflow: Workflow, name: str) -> Sequence[Any]:
    try:
        values = workflow.categories(name)["value"]
    except SettingError:  # it is no category
        return ()
    return [] if isinstance(values.dtype, pl.Struct) else values.to_list()
