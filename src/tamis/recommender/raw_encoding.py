"""A part of a workflow for rows of a request: raw columns of one side in, its encoded columns out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from tamis.features.workflow import Workflow
from tamis.recommender.query_columns import sources_of


class RawEncoding:
    """Some output columns of a workflow out of their raw columns, row by row, whatever rows its filters leave out.

    Args:
        workflow: fitted.
        raw: the raw columns that rows will have.
        columns: the output columns that are wanted; those that need other raw columns are not made.
    """

    def __init__(self, workflow: Workflow, raw: Sequence[str], columns: Sequence[str]) -> None:
        self._raw: list[str] = []
        self.columns: tuple[str, ...] = ()
        if raw:
            part = workflow.remove_inputs(set(workflow.input_schema.column_names) - set(raw))
            # a time, say, that only places an item in a history goes with the item
            self._raw = raw = [name for name in raw if name in part.input_schema]
            self.columns = tuple(name for name in columns if name in part.output_schema)
            sources = sources_of(workflow)
            self._made_of = {name: sources[name] & set(raw) for name in self.columns}
            self._online = part.online()

    def made_of(self, given: set[str]) -> list[str]:
        """The columns for which nothing is missing in what was given."""
        return [name for name in self.columns if self._made_of[name] <= given]

    def encode(self, rows: pl.DataFrame, dtypes: Mapping[str, pl.DataType | None]) -> pl.DataFrame:
        """The encoded columns.

        Raises:
            DataError: a value that a column cannot hold.
        """
        if len(rows) == 1:  # the detour through another frame would cost more than the encoding
            found = [self._online.transform(rows.row(0, named=True))]
        else:
            found = self._online.transform(rows.select(self._raw).to_dicts())
        return pl.DataFrame(
            [pl.Series(name, [row[name] for row in found], dtype=dtypes.get(name)) for name in self.columns]
        )
