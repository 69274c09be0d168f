"""A ranking network that reads queries and candidates apart, over the weights of the one it is made of."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from tamis.nn.candidate_request import CandidateRequest
from tamis.nn.embeddings import EmbeddingTables
from tamis.nn.inputs import Inputs
from tamis.nn.interaction import DotInteraction
from tamis.nn.item_side import ItemSide
from tamis.nn.parts import ITEM, QUERY, PartLayout, Parts, lay_out
from tamis.nn.ranking_network import RankingNetwork
from tamis.schema import ColumnSchema, Schema


def split_network(network: RankingNetwork, query: Collection[str]) -> RankingNetwork:
    """A twin that shares all weights and takes a CandidateRequest; `query` names the columns of the queries."""
    shared: list[Any] = [*network.parameters(), *network.buffers()]
    shared += [module for module in network.modules() if isinstance(module, EmbeddingTables)]
    twin = copy.deepcopy(network, {id(one): one for one in shared}).eval()
    for parent in list(twin.modules()):
        if isinstance(parent, nn.Sequential):
            _overwrite(parent)
        for name, child in list(parent.named_children()):
            if isinstance(child, Inputs):
                setattr(parent, name, SplitInputs(child, query))
            elif isinstance(child, DotInteraction):
                setattr(parent, name, SplitProducts(child))
    return twin


def _overwrite(layers: nn.Sequential) -> None:
    """Let activations overwrite what the dense layers before them made, which nobody else sees."""
    for before, layer in pairwise(layers):
        if isinstance(before, nn.Linear) and isinstance(layer, nn.ReLU):
            layer.inplace = True


class SplitInputs(Inputs):
    """The same inputs in Parts: the query's columns looked up once a query, the items' by catalogue row.

    Shapes: a CandidateRequest -> Parts that stand for what `Inputs` gives
    """

    def __init__(self, inputs: Inputs, query: Collection[str]) -> None:
        columns = [*inputs.fields, *inputs.numbers, *inputs.vectors]
        super().__init__(Schema(columns), inputs.tables, combiner=inputs.combiner)
        self._part = {column.name: QUERY if column.name in query else ITEM for column in columns}
        of = [[column for column in columns if self._part[column.name] == part] for part in (QUERY, ITEM)]
        self.sides = nn.ModuleList(
            Inputs(Schema(names), inputs.tables, combiner=inputs.combiner).to(inputs.tables.device) for names in of
        )
        tables = inputs.tables.tables
        widths = {c.name: tables[c.domain.name if c.domain else c.name].width for c in self.fields}
        widths |= {c.name: c.width or 1 for c in [*self.numbers, *self.vectors]}
        self._layouts = {
            "forward": self._laid_out([*self.fields, *self.numbers, *self.vectors], widths),
            "embeddings": self._laid_out(self.fields, dict.fromkeys(widths, 1)),
            "continuous": self._laid_out([*self.numbers, *self.vectors], widths),
        }

    def _laid_out(self, columns: list[ColumnSchema], widths: Mapping[str, int]) -> PartLayout:
        return lay_out([(self._part[column.name], widths[column.name]) for column in columns])

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """All inputs side by side."""
        return self._parts(features, "forward", ())

    def embeddings(self, features: Mapping[str, Tensor]) -> Tensor:
        """The embeddings alone, one a field."""
        width = next(iter(self.tables.tables.values())).width
        return self._parts(features, "embeddings", (width,))

    def continuous(self, features: Mapping[str, Tensor]) -> Tensor | None:
        """Numbers and vectors side by side."""
        return self._parts(features, "continuous", ()) if self.num_numbers else None

    def _parts(self, features: Mapping[str, Tensor], what: str, trailing: tuple[int, ...]) -> Tensor:
        assert isinstance(features, CandidateRequest)
        request, layout, (queries, items) = features, self._layouts[what], self.sides

        def computed(rows: Tensor) -> Tensor:
            values: Tensor = getattr(items, what)(request.item_features(rows))
            return values

        parts: Any = Parts(
            request,
            layout,
            trailing,
            query=getattr(queries, what)(request.query) if layout.query else None,
            item=ItemSide(request.tables, (id(self), what), computed) if layout.item else None,
        )
        stand_in: Tensor = parts  # for all that a network does with a tensor
        return stand_in


class SplitProducts(nn.Module):
    """Inner products of fields in Parts: those of two query fields once, those of two item fields by catalogue row.

    Shapes: as DotInteraction
    """

    def __init__(self, products: DotInteraction) -> None:
        super().__init__()
        self.products = products

    def forward(self, fields: Any) -> Any:
        """The products of each row."""
        if not isinstance(fields, Parts) or fields.query is None or fields.is_query_only:
            return self.products(fields)
        request, query, item, pair = fields.request, fields.query, fields.item, fields.pair
        layout = request.prepared.once(("products", id(fields.layout)), lambda: _pairs_of(fields.layout), fields.layout)
        found: list[Tensor] = []
        if item is not None:
            own = request.take(item)
            found.append(request.meet(_crossed, own, query).flatten(1))
            if pair is not None:
                found.append((own @ pair.transpose(1, 2)).flatten(1))
        if pair is not None:
            found += [request.meet(_crossed, pair, query).flatten(1), _among(pair)]
        of_items = None if item is None else item.map("products", _among)
        return Parts(request, layout, query=_among(query), item=of_items, pair=torch.cat(found, dim=1))


def _crossed(candidate: Tensor, query: Tensor) -> Tensor:
    """Products of [..., fields, dim] of candidates with those of their queries."""
    if candidate.dim() == 3:  # one query: one product of two matrices
        flat = candidate.flatten(0, 1) @ query[0].T
        return flat.view(len(candidate), -1, query.shape[1])
    queries, width, fields, _ = candidate.shape
    return (candidate.flatten(1, 2) @ query[:, 0].transpose(1, 2)).view(queries, width, fields, -1)


def _among(fields: Tensor) -> Tensor:
    """Products of fields of one side with each other: [n, fields, dim] -> [n, fields * (fields - 1) / 2]."""
    rows, columns = torch.tril_indices(fields.shape[1], fields.shape[1], offset=-1, device=fields.device)
    products = fields @ fields.transpose(1, 2)
    return products.flatten(1).index_select(1, rows * fields.shape[1] + columns)


def _pairs_of(layout: PartLayout) -> PartLayout:
    """Where the products of these fields lie among all, in the order of SplitProducts."""
    query, item, pair = layout.at
    met = ((item, query), (item, pair), (pair, query))
    crossed = tuple(_place(a, b) for first, second in met for a in first for b in second)
    return PartLayout(_places(query), _places(item), crossed + _places(pair))


def _places(fields: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(_place(fields[row], fields[column]) for row in range(len(fields)) for column in range(row))


def _place(first: int, second: int) -> int:
    row, column = max(first, second), min(first, second)
    return row * (row - 1) // 2 + column
