"""What the columns of a schema are called in a batch."""

from __future__ import annotations

from tamis.data.batch import OFFSETS, VALUES
from tamis.schema import Schema


def tensor_names(schema: Schema) -> list[str]:
    """The names of a batch's tensors: a list of any length has two."""
    return [
        name
        for column in schema
        for name in (
            (column.name + VALUES, column.name + OFFSETS) if column.is_list and column.width is None else (column.name,)
        )
    ]
