"""Queries and their candidates, each query's features held once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import TypeVar

import torch
from torch import Tensor

from tamis.data.batch import OFFSETS, VALUES, take_rows
from tamis.nn.item_side import ItemSide, ItemTables

_T = TypeVar("_T")


class Prepared:
    """What does not change between requests: made at its first use, then kept."""

    def __init__(self) -> None:
        self._made: dict[Hashable, tuple[object, object]] = {}

    def once(self, key: Hashable, make: Callable[[], _T], *alive: object) -> _T:
        """What `make` makes, for this key; `alive` are the objects whose ids the key holds."""
        if key not in self._made:
            self._made[key] = (make(), alive)
        return self._made[key][0]  # type: ignore[return-value] # a key always means the same maker


class CandidateRequest(Mapping[str, Tensor]):
    """The features of pairs of query and candidate: as a mapping, whole columns as a network reads them.

    Candidate j of query i is row `i * width + j`; every query has `width` of them.

    Args:
        query: the queries' features, lists as `<name>__values` and `<name>__offsets`.
        num_queries: rows of `query`.
        catalogue: the features of all items.
        rows: of the candidates in the catalogue, [num_queries * width].
        tables: what is kept of the items.
        prepared: what is kept of the network.
    """

    def __init__(
        self,
        query: Mapping[str, Tensor],
        num_queries: int,
        catalogue: Mapping[str, Tensor],
        rows: Tensor,
        tables: ItemTables,
        prepared: Prepared,
    ) -> None:
        self.query, self.num_queries, self.catalogue, self.rows = query, num_queries, catalogue, rows
        self.tables, self.prepared = tables, prepared
        self.width = rows.shape[0] // max(num_queries, 1)  # no `len`: it would make a traced size a number

    def take(self, side: ItemSide) -> Tensor:
        """The candidates' values of an item side: [rows, ...], which the caller may overwrite."""
        return self.tables.take(side, self.rows)

    def item_features(self, rows: Tensor) -> Mapping[str, Tensor]:
        """The features of these rows of the catalogue."""
        return take_rows(self.catalogue, rows)

    def meet(self, function: Callable[[Tensor, Tensor], Tensor], values: Tensor, query: Tensor) -> Tensor:
        """A function of candidates' values [rows, ...] and their queries' [num_queries, ...], row by row."""
        if self.num_queries == 1:
            return function(values, query)
        by_query = values.view(self.num_queries, self.width, *values.shape[1:])
        return function(by_query, query[:, None]).flatten(0, 1)

    def repeated(self, query: Tensor) -> Tensor:
        """The queries' values for each of their candidates: [num_queries, ...] -> [rows, ...]."""
        spread = query[:, None].expand(self.num_queries, self.width, *query.shape[1:])
        return spread.reshape(self.rows.shape[0], *query.shape[1:])

    def __getitem__(self, name: str) -> Tensor:
        source, rows = (self.query, self._query_of_row()) if name in self.query else (self.catalogue, self.rows)
        if name.endswith((VALUES, OFFSETS)):
            column = name.removesuffix(VALUES).removesuffix(OFFSETS)
            return take_rows({key: source[key] for key in (column + VALUES, column + OFFSETS)}, rows)[name]
        return source[name].index_select(0, rows)

    def _query_of_row(self) -> Tensor:
        return torch.arange(self.num_queries, device=self.rows.device).repeat_interleave(self.width)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self.query, *self.catalogue]))

    def __len__(self) -> int:
        return len({*self.query, *self.catalogue})
