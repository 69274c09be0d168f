"""Embedding tables, fused by width, with gradients for the looked-up rows only.

A training step must cost the same with a thousand rows in a table or ten million. So a table's weight never has a
gradient of its own size: a look-up copies the rows it needs into a small leaf tensor, backward fills that leaf's
gradient, and the optimizer takes it from `row_gradients`. Tables of one width lie in one weight, so a batch needs
one gather per width, not one per feature.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tamis.errors import SchemaError, SettingError, UnknownColumnError, UnknownNameError
from tamis.schema import ColumnSchema

COMBINERS = ("mean", "sum", "max")


@dataclass(frozen=True)
class EmbeddingOptions:
    """How wide embeddings are, how they start and how the values of a list become one vector.

    Args:
        embedding_dims: widths by column or domain name; they win over everything else.
        embedding_dim_default: width of all others, unless inferred.
        infer_embedding_sizes: width = ceil(cardinality ** 0.25 * multiplier).
        infer_embedding_sizes_multiplier: see above.
        ensure_multiple_of_8: round inferred widths up.
        combiner: `"mean"`, `"sum"` or `"max"` over the values of a list column; code 0 (padding) is left out.
        init_std: standard deviation of the first weights, drawn from a normal distribution.
    """

    embedding_dims: Mapping[str, int] = field(default_factory=dict)
    embedding_dim_default: int = 64
    infer_embedding_sizes: bool = False
    infer_embedding_sizes_multiplier: float = 2.0
    ensure_multiple_of_8: bool = False
    combiner: str = "mean"
    init_std: float = 0.1

    def __post_init__(self) -> None:
        if self.combiner not in COMBINERS:
            raise UnknownNameError(self.combiner, COMBINERS, where="EmbeddingOptions", what="combiner")
        for name, width in {"embedding_dim_default": self.embedding_dim_default, **self.embedding_dims}.items():
            if width < 1:
                raise SettingError(f"EmbeddingOptions: the width of {name!r} is {width}. Choose 1 or more.")
        multiplier = self.infer_embedding_sizes_multiplier
        if not multiplier > 0:
            raise SettingError(
                f"EmbeddingOptions: infer_embedding_sizes_multiplier is {multiplier}. Choose a number above 0."
            )
        if not self.init_std >= 0:
            raise SettingError(f"EmbeddingOptions: init_std is {self.init_std}. Choose 0 or more.")

    def check_names(self, columns: Iterable[ColumnSchema], *, where: str) -> None:
        """Refuse widths of columns and domains that are not there.

        Raises:
            UnknownColumnError: with the nearest name.
        """
        known = sorted({name for column in columns for name in (column.name, table_name(column))})
        for name in self.embedding_dims:
            if name not in known:
                raise UnknownColumnError(name, known, where=where)

    def width_of(self, column: ColumnSchema) -> int:
        """The embedding width of a column with a known cardinality."""
        for name in (column.name, table_name(column)):
            if name in self.embedding_dims:
                return self.embedding_dims[name]
        if not self.infer_embedding_sizes:
            return self.embedding_dim_default
        width: int = math.ceil((column.cardinality or 1) ** 0.25 * self.infer_embedding_sizes_multiplier)
        return math.ceil(width / 8) * 8 if self.ensure_multiple_of_8 else width


def table_name(column: ColumnSchema) -> str:
    """The table a column is looked up in: columns of one domain name share it."""
    return column.domain.name if column.domain else column.name


@dataclass(frozen=True)
class Table:
    """Where a table lies: rows `first` to `first + num_rows` of the fused weight of its width."""

    width: int
    first: int
    num_rows: int


def _size(table: Table | None) -> tuple[int, int] | None:
    return None if table is None else (table.num_rows, table.width)


class EmbeddingTables(nn.Module):
    """All embedding tables of a model, by domain name.

    Raises:
        SchemaError: a column without cardinality, or two columns of one domain that disagree about its size or width.
    """

    def __init__(self, columns: Iterable[ColumnSchema], options: EmbeddingOptions) -> None:
        super().__init__()
        self.tables = _lay_out(columns, options)
        self.weights = nn.ParameterDict()
        for width in sorted({table.width for table in self.tables.values()}):
            num_rows = sum(table.num_rows for table in self.tables.values() if table.width == width)
            weight = torch.empty(num_rows, width).normal_(std=options.init_std)
            self.weights[str(width)] = nn.Parameter(weight, requires_grad=False)
        self._lookups: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def forward(self, width: int, rows: Tensor) -> Tensor:
        """Vectors of rows of one width's fused weight: [n] -> [n, width]. Remembered for `row_gradients`."""
        vectors: Tensor = self.weights[str(width)].index_select(0, rows)
        if self.training and torch.is_grad_enabled():
            vectors.requires_grad_()
            self._lookups.setdefault(str(width), []).append((rows, vectors))
        return vectors

    def row_gradients(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Distinct rows looked up since the last call and their summed gradients, by fused weight; forgets them.

        Shapes: rows [n], gradients [n, width].
        """
        lookups, self._lookups = self._lookups, {}
        found = {}
        for key, seen in lookups.items():
            pairs = [(rows, vectors.grad) for rows, vectors in seen if vectors.grad is not None]
            if pairs:
                found[key] = sum_by_row(*pairs[0] if len(pairs) == 1 else map(torch.cat, zip(*pairs, strict=True)))
        return found

    @property
    def device(self) -> torch.device:
        """Where the tables lie."""
        return next((weight.device for weight in self.weights.values()), torch.device("cpu"))

    def copy_from(self, other: EmbeddingTables) -> list[str]:
        """Take the vectors of the other's tables of the same name, size and width; their names."""
        same = [name for name, table in self.tables.items() if _size(table) == _size(other.tables.get(name))]
        with torch.no_grad():
            for name in same:
                self.vectors_of(name).copy_(other.vectors_of(name))
        return same

    def vectors_of(self, name: str) -> Tensor:
        """The rows of one table: [num_rows, width], a view."""
        table = self.tables[name]
        rows: Tensor = self.weights[str(table.width)][table.first : table.first + table.num_rows]
        return rows


def sum_by_row(rows: Tensor, gradients: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct rows, ascending, and the sum of each one's gradients, added in their order on a CPU."""
    if rows.is_cpu and len(rows):
        return _sum_by_sorted_row(rows, gradients)
    distinct, inverse = torch.unique(rows, return_inverse=True)
    summed = torch.zeros(len(distinct), gradients.shape[1], dtype=gradients.dtype, device=gradients.device)
    return distinct, summed.index_add_(0, inverse, gradients)


def _sum_by_sorted_row(rows: Tensor, gradients: Tensor) -> tuple[Tensor, Tensor]:
    """Row and place in one number sort several times faster than rows with their places beside them."""
    bits = len(rows).bit_length()
    keys = (rows.long().numpy() << bits) | np.arange(len(rows))
    keys.sort()
    places, in_order = keys & ((1 << bits) - 1), keys >> bits
    starts = np.flatnonzero(np.diff(in_order, prepend=-1))
    bags = (torch.from_numpy(places), gradients, torch.from_numpy(starts))
    return torch.from_numpy(in_order[starts]).to(rows.dtype), F.embedding_bag(*bags, mode="sum")


def _lay_out(columns: Iterable[ColumnSchema], options: EmbeddingOptions) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    used: dict[int, int] = {}
    for column in columns:
        name, num_rows, width = table_name(column), column.cardinality, options.width_of(column)
        if num_rows is None:
            raise SchemaError(
                f"column {column.name!r}: its number of categories is not known. Encode it with Categorify, or give it "
                "a domain with ColumnSchema.with_domain."
            )
        if name in tables:
            if tables[name].num_rows != num_rows:
                raise SchemaError(
                    f"column {column.name!r}: it shares the domain {name!r} but has {num_rows} categories, not "
                    f"{tables[name].num_rows}. Encode the columns together, or give them domains of their own."
                )
            if tables[name].width != width:
                raise SchemaError(
                    f"column {column.name!r}: it shares the table of the domain {name!r}, but would have width "
                    f"{width}, not {tables[name].width}. Give the width once in embedding_dims, as that of {name!r}."
                )
            continue
        tables[name] = Table(width, used.get(width, 0), num_rows)
        used[width] = used.get(width, 0) + num_rows
    return tables


def combine(vectors: Tensor, codes: Tensor, offsets: Tensor, combiner: str) -> Tensor:
    """One vector per row out of the vectors of its list's values; zeros for a list without values.

    Shapes: vectors [values, width], codes [values], offsets [rows + 1] -> [rows, width]. Code 0 is left out.
    """
    num_rows = offsets.shape[0] - 1
    row_of_value = _row_of_value(offsets, codes.shape[0])
    is_value = (codes != 0)[:, None]
    if combiner == "max":
        lowest = float("-inf")
        index = row_of_value[:, None].expand_as(vectors)
        start = vectors.new_full((num_rows, vectors.shape[1]), lowest)
        largest = start.scatter_reduce(0, index, vectors.masked_fill(~is_value, lowest), "amax")
        return largest.masked_fill(largest == lowest, 0.0)
    total = vectors.new_zeros(num_rows, vectors.shape[1]).index_add(0, row_of_value, vectors * is_value)
    if combiner == "sum":
        return total
    counts = vectors.new_zeros(num_rows, 1).index_add(0, row_of_value, is_value.to(vectors.dtype))
    return total / counts.clamp(min=1.0)


def _row_of_value(offsets: Tensor, num_values: int) -> Tensor:
    if torch.compiler.is_exporting():  # ONNX has no repeat_interleave; a request is small enough to compare all pairs
        return (torch.arange(num_values)[:, None] >= offsets[1:]).sum(dim=1)
    rows = torch.arange(len(offsets) - 1, device=offsets.device)
    return torch.repeat_interleave(rows, offsets.diff(), output_size=num_values)


def check_whole(codes: Tensor, name: str) -> None:
    """Refuse codes that are no whole numbers."""
    if codes.dtype.is_floating_point:
        dtype = str(codes.dtype).removeprefix("torch.")
        raise SettingError(
            f"column {name!r}: its codes are {dtype}, but must be whole numbers. Cast it, or encode it with Categorify."
        )


def check_codes(codes: Tensor, limits: Sequence[int], names: Sequence[str]) -> None:
    """Refuse codes outside a table: in a fused weight they would silently read a neighbour's rows.

    Args:
        codes: [n, columns] or [n].
        limits: cardinality of each column.
        names: of the columns, for the message.
    """
    if codes.numel() == 0:
        return
    low, high = torch.aminmax(codes.reshape(len(codes), -1), dim=0)
    for name, limit, smallest, largest in zip(names, limits, low.tolist(), high.tolist(), strict=True):
        if smallest < 0 or largest >= limit:
            wrong = smallest if smallest < 0 else largest
            raise SettingError(
                f"column {name!r}: the code {wrong} is outside its {limit} categories. Encode the data with the "
                "workflow that the model was trained with."
            )
