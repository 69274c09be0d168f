"""A tensor in three parts: what the query brings, what the item brings, what only both together tell.

Each part is as long as it has to be: the query's has one row a query, the item's is computed or read by catalogue row,
and only the third has a row for every pair. Operations that act on the parts one by one, or add them up, keep or use
that; all others get the whole tensor, so a network needs not know what it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tamis.nn.candidate_request import CandidateRequest
from tamis.nn.item_side import ItemSide

QUERY, ITEM, PAIR = range(3)

Function = Callable[..., Tensor]


@dataclass(frozen=True, eq=False)  # compared by identity: it is part of keys
class PartLayout:
    """Where along dimension 1 of the whole the columns of each part lie."""

    query: tuple[int, ...] = ()
    item: tuple[int, ...] = ()
    pair: tuple[int, ...] = ()

    @property
    def at(self) -> tuple[tuple[int, ...], ...]:
        """The places by part."""
        return self.query, self.item, self.pair

    @property
    def width(self) -> int:
        """Columns of the whole."""
        return len(self.query) + len(self.item) + len(self.pair)


def lay_out(columns: Sequence[tuple[int, int]]) -> PartLayout:
    """The layout of neighbours: (part, width) each."""
    at: tuple[list[int], ...] = ([], [], [])
    start = 0
    for part, width in columns:
        at[part].extend(range(start, start + width))
        start += width
    return PartLayout(*map(tuple, at))


class Parts:
    """Stands for a tensor [rows, layout.width, *trailing]; at least one part is there.

    Args:
        request: whose rows these are.
        layout: where the parts lie in the whole.
        trailing: sizes after dimension 1: none, or one.
        query: [num_queries, columns, *trailing]
        item: rows of [items, columns, *trailing]
        pair: [rows, columns, *trailing]
    """

    def __init__(
        self,
        request: CandidateRequest,
        layout: PartLayout,
        trailing: tuple[int, ...] = (),
        *,
        query: Tensor | None = None,
        item: ItemSide | None = None,
        pair: Tensor | None = None,
    ) -> None:
        self.request, self.layout, self.trailing = request, layout, trailing
        self.query, self.item, self.pair = query, item, pair
        self._whole: Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole; no torch.Size, which would make a traced size a number."""
        return self.request.rows.shape[0], self.layout.width, *self.trailing

    @property
    def is_query_only(self) -> bool:
        """Whether all candidates of a query have the same values."""
        return self.item is None and self.pair is None

    def map(self, name: Hashable, function: Function, trailing: tuple[int, ...] | None = None) -> Parts:
        """A function of each part by itself; its name must tell it from all others."""
        return Parts(
            self.request,
            self.layout,
            self.trailing if trailing is None else trailing,
            query=None if self.query is None else function(self.query),
            item=None if self.item is None else self.item.map(name, function),
            pair=None if self.pair is None else function(self.pair),
        )

    def added(self, query: Tensor | None, item: ItemSide | None, pair: Tensor | None) -> Tensor:
        """The sum of what became of the parts, for every row."""
        total = pair
        if item is not None:
            values = self.request.take(item)
            total = values if pair is None else values.add_(pair)
        if query is None:
            assert total is not None
            return total
        if total is None:
            return self.request.repeated(query)
        return self.request.meet(torch.Tensor.add_, total, query)

    def whole(self) -> Tensor:
        """What it stands for; put together once."""
        if self._whole is None:
            self._whole = self._put_together()
        return self._whole

    def _put_together(self) -> Tensor:
        layout = self.layout
        if self.query is not None and len(layout.query) == layout.width:
            return self.request.repeated(self.query)
        return self.added(
            None if self.query is None else self._placed(QUERY, self.query),
            None if self.item is None else self.item.map(("placed", id(layout)), partial(self._placed, ITEM)),
            None if self.pair is None else self._placed(PAIR, self.pair),
        )

    def _placed(self, part: int, values: Tensor) -> Tensor:
        """A part where it lies in the whole, between zeros."""
        if len(self.layout.at[part]) == self.layout.width:  # alone, and in order
            return values
        space = values.new_zeros(values.shape[0], self.layout.width, *values.shape[2:])
        return space.index_copy_(1, self.places(part), values)

    def places(self, part: int) -> Tensor:
        """Where the columns of a part lie, as a tensor."""
        device = self.request.rows.device
        make = partial(torch.tensor, self.layout.at[part], dtype=torch.int64, device=device)
        return self.request.prepared.once(("places", id(self.layout), part), make, self.layout)

    def columns_of(self, weight: Tensor, part: int) -> Tensor:
        """The last dimension of a parameter where it meets a part."""
        key = ("columns", id(weight), id(self.layout), part)
        make = partial(_columns, weight, self.places(part))
        return self.request.prepared.once(key, make, weight, self.layout)

    @classmethod
    def __torch_function__(
        cls, func: Function, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Follow the rule of an operation; where there is none, or it does not fit, the whole tensors take over."""
        from tamis.nn.part_rules import RULES  # the rules build Parts

        kwargs = kwargs or {}
        rule = RULES.get(func.__name__.strip("_"))
        found = NotImplemented if rule is None else rule(func, *args, **kwargs)
        if found is not NotImplemented:
            return found
        return func(*map(as_whole, args), **{name: as_whole(value) for name, value in kwargs.items()})

    def __getattr__(self, name: str) -> Any:
        method = getattr(Tensor, name)
        return self._done(method) if callable(method) else getattr(self.whole(), name)

    def _done(self, method: Any) -> Any:
        """The method of a tensor, on this."""
        return lambda *args, **kwargs: type(self).__torch_function__(method, (), (self, *args), kwargs)

    def __len__(self) -> int:
        return len(self.request.rows)

    def __getitem__(self, index: Any) -> Any:
        return self._done(Tensor.__getitem__)(index)

    def __add__(self, other: Any) -> Any:
        return self._done(torch.add)(other)

    def __mul__(self, other: Any) -> Any:
        return self._done(torch.mul)(other)

    def __sub__(self, other: Any) -> Any:
        return self._done(torch.sub)(other)

    def __rsub__(self, other: Any) -> Any:
        return self._done(torch.rsub)(other)

    def __truediv__(self, other: Any) -> Any:
        return self._done(torch.div)(other)

    def __neg__(self) -> Any:
        return self._done(torch.neg)()

    def __matmul__(self, other: Any) -> Any:
        return self._done(torch.matmul)(other)

    __radd__, __rmul__ = __add__, __mul__


def as_whole(value: Any) -> Any:
    """The tensor that a value stands for; lists and tuples of them too."""
    if isinstance(value, Parts):
        return value.whole()
    return type(value)(map(as_whole, value)) if isinstance(value, list | tuple) else value


def _columns(weight: Tensor, places: Tensor) -> Tensor:
    return weight.detach().index_select(weight.dim() - 1, places).contiguous()


def is_fixed(value: Any) -> bool:
    """Whether a tensor is the network's own, so that its id may stand for it."""
    return isinstance(value, nn.Parameter)
