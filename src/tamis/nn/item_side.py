"""What items alone bring to their scores: the same in every request, so it may be kept for the whole catalogue."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_ROWS_AT_ONCE = 8192  # of the catalogue, while a table is computed

Compute = Callable[[Tensor], Tensor]


class ItemSide:
    """Values of items, computed for the rows that are asked for, or read where a table of them is kept.

    Args:
        tables: where kept ones lie.
        key: says what is computed; equal keys mean equal values.
        compute: from rows [n] of the catalogue to fresh values [n, ...].
        parents: what it is computed from.
    """

    def __init__(self, tables: ItemTables, key: Hashable, compute: Compute, parents: tuple[ItemSide, ...] = ()) -> None:
        self.tables, self.key, self.compute, self.parents = tables, key, compute, parents

    def of(self, rows: Tensor) -> Tensor:
        """The values of these rows, which the caller may overwrite: [n] -> [n, ...]."""
        kept = self.tables.kept.get(self.key)
        return self.compute(rows) if kept is None else kept.index_select(0, rows)

    def map(self, name: Hashable, function: Compute) -> ItemSide:
        """The values that `function` makes of these; the same name must mean the same function."""
        return ItemSide(self.tables, (self.key, name), lambda rows: function(self.of(rows)), (self,))

    def beside(self, other: ItemSide) -> ItemSide:
        """These values and the other's, side by side along dimension 1."""
        both = (self, other)
        return ItemSide(
            self.tables,
            ("beside", self.key, other.key),
            lambda rows: torch.cat([one.of(rows) for one in both], dim=1),
            both,
        )


class ItemTables:
    """Values of the whole catalogue, of those that requests ask for, up to a limit of memory.

    Args:
        num_items: rows of the catalogue.
        max_bytes: of all tables together.
        device: where they lie.
    """

    def __init__(self, num_items: int, max_bytes: float, device: torch.device) -> None:
        self.num_items, self.max_bytes, self.device = num_items, max_bytes, device
        self.kept: dict[Hashable, Tensor] = {}
        self._asked: dict[Hashable, ItemSide] | None = None

    @property
    def size_bytes(self) -> int:
        """Memory of the tables."""
        return sum(table.nbytes for table in self.kept.values())

    def take(self, side: ItemSide, rows: Tensor) -> Tensor:
        """What a request asks for: values of these rows, which the caller may overwrite."""
        if self._asked is not None:
            self._asked[side.key] = side
        return side.of(rows)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep what is asked for meanwhile; where that is too large, what it is computed from."""
        self._asked = {}
        try:
            yield
            asked = list(self._asked.values())
        finally:
            self._asked = None
        for side in asked:
            self._keep(side)

    def _keep(self, side: ItemSide) -> None:
        if side.key in self.kept or not self.num_items:
            return
        first = side.of(torch.zeros(1, dtype=torch.int64, device=self.device))
        if self.size_bytes + first.nbytes * self.num_items > self.max_bytes:
            for parent in side.parents:
                self._keep(parent)
            return
        table = first.new_empty(self.num_items, *first.shape[1:])
        for start in range(0, self.num_items, _ROWS_AT_ONCE):
            rows = torch.arange(start, min(start + _ROWS_AT_ONCE, self.num_items), device=self.device)
            table[start : start + len(rows)] = side.of(rows)
        self.kept[side.key] = table
