"""How operations act on Parts. A rule answers NotImplemented where it does not fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tamis.nn.candidate_request import Prepared
from tamis.nn.parts import ITEM, PAIR, QUERY, Function, PartLayout, Parts, is_fixed, lay_out

Rule = Callable[..., Any]


def linear(_: Function, x: Any, weight: Any, bias: Any = None) -> Any:
    """A dense layer: over the columns, the sum of the parts' own; over vectors, each by itself."""
    if not isinstance(x, Parts) or not is_fixed(weight):
        return NotImplemented
    if x.trailing:
        return x.map(("linear", id(weight)), lambda part: F.linear(part, weight, bias), (len(weight),))
    return _added_up(x, weight, bias)


def _added_up(x: Parts, weight: Tensor, bias: Tensor | None) -> Tensor | Parts:
    columns = [None if part is None else x.columns_of(weight, i) for i, part in enumerate((x.query, x.item, x.pair))]
    query, item, pair, width = x.query, x.item, x.pair, len(weight)
    if query is not None:
        query, bias = F.linear(query, columns[QUERY], bias), None  # type: ignore[arg-type]
        if x.is_query_only:
            return Parts(x.request, _alone(x.request.prepared, QUERY, width), query=query)
    if item is not None:
        own, with_bias = columns[ITEM], bias if query is None else None
        assert own is not None
        name = ("linear", id(weight), id(x.layout), with_bias is None)
        item, bias = item.map(name, lambda values: F.linear(values, own, with_bias)), None
        if query is None and pair is None:
            return Parts(x.request, _alone(x.request.prepared, ITEM, width), item=item)
    if item is not None and pair is not None:
        return x.added(query, None, x.request.take(item).addmm_(pair, columns[PAIR].T))  # type: ignore[union-attr]
    return x.added(query, item, None if pair is None else F.linear(pair, columns[PAIR], bias))  # type: ignore[arg-type]


def matmul(_: Function, x: Any, other: Any) -> Any:
    """The product of columns with one vector of weights."""
    if not isinstance(x, Parts) or x.trailing or not is_fixed(other) or other.dim() != 1:
        return NotImplemented
    own = [x.columns_of(other, part) for part in (QUERY, ITEM, PAIR)]
    return x.added(
        None if x.query is None else x.query @ own[QUERY],
        None if x.item is None else x.item.map(("matmul", id(other), id(x.layout)), lambda values: values @ own[ITEM]),
        None if x.pair is None else x.pair @ own[PAIR],
    )


def one_by_one(function: Function, x: Any, *args: Any, **kwargs: Any) -> Any:
    """A function of each number, such as an activation."""
    settings = (*args, *kwargs.values())
    if not isinstance(x, Parts) or not all(isinstance(value, int | float | str) for value in settings):
        return NotImplemented
    name = (function.__name__, args, tuple(kwargs.items()))
    return x.map(name, lambda part: function(part, *args, **kwargs))


def query_alone(function: Function, x: Any, *args: Any, **kwargs: Any) -> Any:
    """A function of each row, such as a normalisation, where all rows of a query are one."""
    if not isinstance(x, Parts) or not x.is_query_only or x.trailing or x.query is None:
        return NotImplemented
    return Parts(x.request, x.layout, query=function(x.query, *args, **kwargs))


def dropout(_: Function, x: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """Nothing, outside training."""
    return NotImplemented if training else x


def total(_: Function, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The sum over the columns: of the parts' sums."""
    dims = (dim,) if isinstance(dim, int) else tuple(dim or ())
    dims = tuple(d % (2 + len(x.trailing)) for d in dims)
    if 1 not in dims or 0 in dims or keepdim:
        return NotImplemented
    query, item, pair = x.query, x.item, x.pair
    return x.added(
        None if query is None else query.sum(dims),
        None if item is None else item.map(("sum", dims), lambda values: values.sum(dims)),
        None if pair is None else pair.sum(dims),
    )


def flatten(_: Function, x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Vectors side by side."""
    if start_dim != 1 or end_dim != -1:
        return NotImplemented
    if not x.trailing:
        return x
    layout = _vectors_laid_flat(x.request.prepared, x.layout, x.trailing[0])
    found = x.map("flatten", lambda part: part.flatten(1), ())
    found.layout = layout
    return found


def getitem(_: Function, x: Any, index: Any) -> Any:
    """A new dimension: numbers as vectors of one, or one part's columns as one vector."""
    everything = slice(None)
    if not isinstance(x, Parts) or x.trailing or not isinstance(index, tuple):
        return NotImplemented
    if index == (everything, everything, None):
        return x.map("numbers", lambda part: part[:, :, None], (1,))
    if index == (everything, None, everything):
        alone = [part for part, places in enumerate(x.layout.at) if len(places) == x.layout.width]
        if alone:
            found = x.map("vector", lambda part: part[:, None, :], (x.layout.width,))
            found.layout = _alone(x.request.prepared, alone[0], 1)
            return found
    return NotImplemented


def cat(_: Function, tensors: Sequence[Any], dim: int = 0) -> Any:
    """Columns side by side; whole tensors are pairs' columns."""
    if dim != 1:
        return NotImplemented
    request = next(one.request for one in tensors if isinstance(one, Parts))
    parts = [one if isinstance(one, Parts) else _pairs(one, request) for one in tensors]
    found = parts[0]
    for other in parts[1:]:
        layout = _beside(request.prepared, found.layout, other.layout)
        item = found.item if other.item is None else other.item
        if found.item is not None and other.item is not None:
            item = found.item.beside(other.item)
        query, pair = _joined(found.query, other.query), _joined(found.pair, other.pair)
        found = Parts(request, layout, found.trailing, query=query, item=item, pair=pair)
    return found


def elementwise(function: Function, left: Any, right: Any, **kwargs: Any) -> Any:
    """An operation with a number, with the network's own vector, or with what is the same for all candidates."""
    if kwargs:
        return NotImplemented
    if isinstance(left, Parts):
        found = _with_narrow(function, left, right)
        if found is not NotImplemented:
            return found
    if isinstance(right, Parts):
        return _with_narrow(lambda a, b: function(b, a), right, left, name=(function.__name__, "swapped"))
    return NotImplemented


def _with_narrow(function: Function, x: Parts, other: Any, name: Any = None) -> Any:
    name = name or function.__name__
    if isinstance(other, int | float):
        return x.map((name, other), lambda part: function(part, other))
    by_query = isinstance(other, Parts) and other.is_query_only and not other.trailing and not x.trailing
    narrow = other.query if by_query else other
    dims = 1 + len(x.trailing)  # of one row of the whole
    if not isinstance(narrow, Tensor) or narrow.dim() < dims or narrow.shape[-dims] != x.layout.width:
        return NotImplemented
    if not by_query and (narrow.dim() > dims + 1 or (narrow.dim() == dims + 1 and narrow.shape[0] != 1)):
        return NotImplemented

    def columns(part: int) -> Tensor:
        return narrow.index_select(narrow.dim() - dims, x.places(part))

    def met(values: Tensor, part: int) -> Tensor:
        return x.request.meet(function, values, columns(part)) if by_query else function(values, columns(part))

    query = None if x.query is None else function(x.query, columns(QUERY))
    pair = None if x.pair is None else met(x.pair, PAIR)
    if x.item is None or is_fixed(other):
        own = None if x.item is None else columns(ITEM)
        item = x.item and x.item.map((name, id(other), id(x.layout)), lambda values: function(values, own))
        return Parts(x.request, x.layout, x.trailing, query=query, item=item, pair=pair)
    layout = _items_as_pairs(x.request.prepared, x.layout)
    pair = _joined(met(x.request.take(x.item), ITEM), pair)
    return Parts(x.request, layout, x.trailing, query=query, pair=pair)


def _joined(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    if first is None or second is None:
        return second if first is None else first
    return torch.cat([first, second], dim=1)


def _pairs(tensor: Tensor, request: Any) -> Parts:
    layout = _alone(request.prepared, PAIR, tensor.shape[1])
    return Parts(request, layout, tuple(tensor.shape[2:]), pair=tensor)


def _alone(prepared: Prepared, part: int, width: int) -> PartLayout:
    return prepared.once(("alone", part, width), lambda: lay_out([(part, width)]))


def _beside(prepared: Prepared, first: PartLayout, second: PartLayout) -> PartLayout:
    def make() -> PartLayout:
        shifted = [tuple(place + first.width for place in places) for places in second.at]
        return PartLayout(*(a + b for a, b in zip(first.at, shifted, strict=True)))

    return prepared.once(("beside", id(first), id(second)), make, first, second)


def _vectors_laid_flat(prepared: Prepared, layout: PartLayout, size: int) -> PartLayout:
    def make() -> PartLayout:
        flat = (tuple(place * size + i for place in places for i in range(size)) for places in layout.at)
        return PartLayout(*flat)

    return prepared.once(("flat", id(layout), size), make, layout)


def _items_as_pairs(prepared: Prepared, layout: PartLayout) -> PartLayout:
    make = lambda: PartLayout(layout.query, (), layout.item + layout.pair)  # noqa: E731
    return prepared.once(("as pairs", id(layout)), make, layout)


RULES: dict[str, Rule] = {
    "linear": linear,
    "matmul": matmul,
    "dropout": dropout,
    "sum": total,
    "flatten": flatten,
    "getitem": getitem,
    "cat": cat,
    **dict.fromkeys(("add", "mul", "sub", "div"), elementwise),
    **dict.fromkeys(("relu", "sigmoid", "tanh", "gelu", "silu", "square", "neg", "float"), one_by_one),
    **dict.fromkeys(("layer_norm", "batch_norm"), query_alone),
}
