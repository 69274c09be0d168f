"""Feature columns as numbers a network can take: embeddings, and numbers as they are."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tamis.errors import SchemaError
from tamis.nn.embeddings import EmbeddingOptions, EmbeddingTables, check_codes, check_whole, combine, table_name
from tamis.schema import ColumnSchema, Schema, Tags

_WORTH_A_LOOK = 256  # rows; fewer are copied sooner than looked at


class Inputs(nn.Module):
    """A row's embeddings and numbers side by side.

    Categorical columns are looked up in `tables`; list columns are combined to one vector; continuous columns and
    columns of vectors enter as they are. The order is: scalar columns by embedding width, lists, numbers, vectors.

    Shapes: dict of [batch] (vectors: [batch, width]; lists: `<name>__values` [values], `<name>__offsets` [batch + 1])
    -> [batch, input_width(...)]
    """

    def __init__(self, schema: Schema, tables: EmbeddingTables, *, combiner: str = "mean") -> None:
        super().__init__()
        # Not a submodule: several parts of a model share the tables, and whoever owns all saves and moves them once.
        self._tables = (tables,)
        self.combiner = combiner
        self.checks_codes = True  # off where the codes were checked before
        categorical, continuous = split_inputs(schema)
        self.numbers = [column for column in continuous if column.width is None]
        self.vectors = [column for column in continuous if column.width is not None]
        self.lists = [column for column in categorical if column.is_list]
        scalars = [column for column in categorical if not column.is_list]
        self.by_width = _group_by_width(scalars, tables)
        for width, columns in self.by_width.items():
            first_rows = [tables.tables[table_name(column)].first for column in columns]
            dtype = torch.int32 if len(tables.weights[str(width)]) < 2**31 else torch.int64  # int32 gathers are faster
            self.register_buffer(f"first_rows_{width}", torch.tensor(first_rows, dtype=dtype), persistent=False)
        # The columns of `embeddings`, in its order; both are asked for at every batch, so made once.
        self.fields = [*(column for columns in self.by_width.values() for column in columns), *self.lists]
        self._limits = {column.name: column.cardinality or 0 for column in categorical}

    @property
    def tables(self) -> EmbeddingTables:
        """The tables it looks up in."""
        return self._tables[0]

    @property
    def num_numbers(self) -> int:
        """Width of `continuous`."""
        return sum(column.width or 1 for column in [*self.numbers, *self.vectors])

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """All inputs side by side."""
        parts = [self._scalars(width, columns, features) for width, columns in self.by_width.items()]
        parts += [self._list(column, features) for column in self.lists]
        parts += self._numbers(features)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def embeddings(self, features: Mapping[str, Tensor]) -> Tensor:
        """The embeddings alone, one a field: [batch, fields, width]; for tables of one width."""
        parts = [self._scalars(width, columns, features) for width, columns in self.by_width.items()]
        parts += [self._list(column, features) for column in self.lists]
        together = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        return together.view(together.shape[0], len(self.fields), -1)

    def continuous(self, features: Mapping[str, Tensor]) -> Tensor | None:
        """Numbers and vectors side by side: [batch, n]; None where there are none."""
        parts = self._numbers(features)
        return torch.cat(parts, dim=1) if parts else None

    def _numbers(self, features: Mapping[str, Tensor]) -> list[Tensor]:
        vectors = [features[column.name].float() for column in self.vectors]
        if not self.numbers:
            return vectors
        return [torch.stack([features[column.name].float() for column in self.numbers], dim=1), *vectors]

    def _scalars(self, width: int, columns: list[ColumnSchema], features: Mapping[str, Tensor]) -> Tensor:
        for column in columns:
            check_whole(features[column.name], column.name)
        codes = _side_by_side([features[column.name] for column in columns])
        if self.checks_codes and not torch.compiler.is_exporting():
            names = [column.name for column in columns]
            check_codes(codes, [self._limits[name] for name in names], names)
        rows = (codes + self.get_buffer(f"first_rows_{width}")).flatten()
        vectors: Tensor = self.tables(width, rows)
        return vectors.view(codes.shape[0], len(columns) * width)

    def _list(self, column: ColumnSchema, features: Mapping[str, Tensor]) -> Tensor:
        if column.width is None:
            codes, offsets = features[f"{column.name}__values"], features[f"{column.name}__offsets"]
        else:  # lists of one length lie in a matrix
            matrix = features[column.name]
            codes = matrix.flatten()
            offsets = torch.arange(matrix.shape[0] + 1, device=matrix.device) * column.width
        check_whole(codes, column.name)
        if self.checks_codes and not torch.compiler.is_exporting():
            check_codes(codes, [self._limits[column.name]], [column.name])
        table = self.tables.tables[table_name(column)]
        return combine(self.tables(table.width, codes.long() + table.first), codes, offsets, self.combiner)


def _side_by_side(columns: list[Tensor]) -> Tensor:
    """Columns [batch] as one matrix [batch, columns]; views of one, as the loader's are, are not copied."""
    first = columns[0]
    if torch.compiler.is_compiling() or torch.compiler.is_exporting():  # first: `len` would make a traced size a number
        return torch.stack(columns, dim=1)
    if len(columns) < 2 or len(first) < _WORTH_A_LOOK:
        return torch.stack(columns, dim=1)
    start, stride, dtype, storage = first.data_ptr(), first.stride(0), first.dtype, first.untyped_storage().data_ptr()
    step = columns[1].data_ptr() - start
    for i, column in enumerate(columns):
        is_next = column.data_ptr() == start + i * step and column.stride(0) == stride and column.dtype == dtype
        if not is_next or column.untyped_storage().data_ptr() != storage or step <= 0 or len(column) != len(first):
            return torch.stack(columns, dim=1)
    return first.as_strided((len(first), len(columns)), (stride, step // first.element_size()))


def split_inputs(schema: Schema) -> tuple[list[ColumnSchema], list[ColumnSchema]]:
    """The schema's categorical and continuous columns.

    Raises:
        SchemaError: a column that is neither.
    """
    categorical = [c for c in schema if c.has_tag(Tags.CATEGORICAL) or (c.cardinality and not _is_number(c))]
    names = {column.name for column in categorical}
    continuous = [column for column in schema if column.name not in names]
    for column in continuous:
        if (column.is_list and column.width is None) or not _is_number(column):
            raise SchemaError(
                f"column {column.name!r}: a {'list of ' if column.is_list else ''}{column.dtype} is neither "
                "categorical nor continuous. Encode it with Categorify, tag it CONTINUOUS, make its lists arrays of "
                "one length, or leave it out."
            )
    return categorical, continuous


def _is_number(column: ColumnSchema) -> bool:
    return column.has_tag(Tags.CONTINUOUS) or column.dtype.startswith("float")


def input_width(schema: Schema, options: EmbeddingOptions) -> int:
    """Width of what `Inputs` gives."""
    categorical, continuous = split_inputs(schema)
    return sum(options.width_of(column) for column in categorical) + sum(column.width or 1 for column in continuous)


def _group_by_width(columns: list[ColumnSchema], tables: EmbeddingTables) -> dict[int, list[ColumnSchema]]:
    width_of = {column.name: tables.tables[table_name(column)].width for column in columns}
    return {
        width: [column for column in columns if width_of[column.name] == width]
        for width in sorted({*width_of.values()})
    }
