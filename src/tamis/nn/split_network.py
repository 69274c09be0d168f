"""A ranking network that reads queries and candidates apart, over the weights of the one it is made of."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from tamis.nn.candidate_request import CandidateRequest
from tamis.nn.cross import CrossNetwork
from tamis.nn.embeddings import EmbeddingTables
from tamis.nn.inputs import Inputs
from tamis.nn.interaction import DotInteraction
from tamis.nn.item_side import ItemSide
from tamis.nn.parts import ITEM, PAIR, QUERY, PartLayout, Parts, as_whole, lay_out
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
            elif isinstance(child, CrossNetwork):
                setattr(parent, name, SplitCrosses(child))
    return twin


def _overwrite(layers: nn.Sequential) -> None:
    """Let activations overwrite what the dense layers before them made, which nobody else sees."""
    for before, layer in pairwise(layers):
        if isinstance(before, nn.Linear) and isinstance(layer, nn.ReLU):
            layer.inplace = True


class SplitInputs(Inputs):
    """The same inputs in Parts: the query's columns looked up once a query, the items' by catalogue row.

    It does not check the codes: whoever makes the request does.

    Shapes: a CandidateRequest -> Parts that stand for what `Inputs` gives
    """

    def __init__(self, inputs: Inputs, query: Collection[str]) -> None:
        columns = [*inputs.fields, *inputs.numbers, *inputs.vectors]
        super().__init__(Schema(columns), inputs.tables, combiner=inputs.combiner)
        self._part = {column.name: QUERY if column.name in query else ITEM for column in columns}
        of = [[column for column in columns if self._part[column.name] == part] for part in (QUERY, ITEM)]
        sides = [Inputs(Schema(names), inputs.tables, combiner=inputs.combiner) for names in of]
        self.sides = nn.ModuleList(side.to(inputs.tables.device) for side in sides)
        for side in sides:
            side.checks_codes = False
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
        among = [self._pairs(request, len(places)) for places in fields.layout.at]
        found: list[Tensor] = []
        if item is not None:
            own = request.take(item)
            found.append(request.meet(_crossed, own, query).flatten(1))
            if pair is not None:
                found.append((own @ pair.transpose(1, 2)).flatten(1))
        if pair is not None:
            found += [request.meet(_crossed, pair, query).flatten(1), _among(pair, among[PAIR])]
        of_items = None if item is None else item.map("products", lambda values: _among(values, among[ITEM]))
        crossed = torch.cat(found, dim=1) if len(found) > 1 else found[0]
        return Parts(request, layout, query=_among(query, among[QUERY]), item=of_items, pair=crossed)

    def _pairs(self, request: CandidateRequest, num_fields: int) -> Tensor:
        """Where the products of so many fields, each pair once, lie among all of them."""

        def make() -> Tensor:
            rows, columns = torch.tril_indices(num_fields, num_fields, offset=-1, device=request.rows.device)
            places: Tensor = rows * num_fields + columns
            return places

        return request.prepared.once(("pairs", num_fields), make)


class SplitCrosses(nn.Module):
    """Crosses of inputs in Parts, each overwriting what its dense layer made, which nobody else sees.

    Shapes: as CrossNetwork
    """

    def __init__(self, crosses: CrossNetwork) -> None:
        super().__init__()
        self.layers = crosses.layers

    def forward(self, x0: Any) -> Any:
        """The crosses of each row."""
        x, whole = x0, as_whole(x0)
        for layer in self.layers:
            made: Tensor = as_whole(layer(x))
            x = made.mul_(whole).add_(as_whole(x))
        return x


def _crossed(candidate: Tensor, query: Tensor) -> Tensor:
    """Products of [..., fields, dim] of candidates with those of their queries."""
    if candidate.dim() == 3:  # one query: one product of two matrices
        flat = candidate.flatten(0, 1) @ query[0].T
        return flat.view(candidate.shape[0], -1, query.shape[1])
    queries, width, fields, _ = candidate.shape
    return (candidate.flatten(1, 2) @ query[:, 0].transpose(1, 2)).view(queries, width, fields, -1)


def _among(fields: Tensor, pairs: Tensor) -> Tensor:
    """Products of fields of one side with each other: [n, fields, dim] -> [n, pairs]."""
    if not len(pairs):
        return fields.new_empty(fields.shape[0], 0)
    return (fields @ fields.transpose(1, 2)).flatten(1).index_select(1, pairs)


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
