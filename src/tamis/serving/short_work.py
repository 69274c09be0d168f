"""Work of a few milliseconds, done in the event loop's own thread, and pieces that are alike together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from tamis.serving.admission import Admission

I = TypeVar("I")  # noqa: E741 # a piece of work
R = TypeVar("R")  # its result
_MOST = 4  # pieces at once: more gain nothing, and those who come meanwhile wait for all of them


@dataclass(frozen=True)
class _Piece(Generic[I, R]):
    item: I
    key: Hashable | None
    result: asyncio.Future[R]


class ShortWork(Generic[I, R]):
    """Does pieces of work one after the other where they are asked for: to hand one to a thread takes a third of a ms.

    Between two turns the event loop looks at the network, so that those who come meanwhile are refused, or begin to
    count their time, as they should. Pieces that wait and are alike are done in one turn: each stage then finds its
    code and data in the processor's caches, where the piece before left them.

    Args:
        admission: whose places they take.
        work: gives the results of a few pieces that are alike.
    """

    def __init__(self, admission: Admission, work: Callable[[Sequence[I]], Sequence[R]]) -> None:
        self._admission, self._work = admission, work
        self._waiting: deque[_Piece[I, R]] = deque()
        self._is_turn_due = False  # the loop has not looked at the network since the last piece

    async def run(self, item: I, key: Hashable | None) -> R:
        """The result of a piece; those with the same key are alike, one without is like no other.

        Raises:
            TooBusyError: at once, if there is no place.
        """
        self._admission.enter()
        try:
            loop = asyncio.get_running_loop()
            if self._is_turn_due:
                piece: _Piece[I, R] = _Piece(item, key, loop.create_future())
                self._waiting.append(piece)
                return await piece.result
            self._is_turn_due = True
            loop.call_soon(self._turn)
            return self._work([item])[0]
        finally:
            self._admission.leave()

    def _turn(self) -> None:
        pieces = self._next()
        self._is_turn_due = bool(pieces)
        if not pieces:
            return
        asyncio.get_running_loop().call_soon(self._turn)
        try:
            results: Sequence[R | Exception] = self._work([piece.item for piece in pieces])
        except Exception as error:  # of one of them: the others shall not suffer
            results = [error] if len(pieces) == 1 else [self._alone(piece.item) for piece in pieces]
        for piece, result in zip(pieces, results, strict=True):
            if piece.result.done():
                continue
            if isinstance(result, Exception):
                piece.result.set_exception(result)
            else:
                piece.result.set_result(result)

    def _alone(self, item: I) -> R | Exception:
        try:
            return self._work([item])[0]
        except Exception as error:
            return error

    def _next(self) -> list[_Piece[I, R]]:
        """Those that are done in the next turn: the first that waits, and those like it."""
        while self._waiting and self._waiting[0].result.done():  # nobody waits for it any more
            self._waiting.popleft()
        if not self._waiting:
            return []
        found = [self._waiting.popleft()]
        if found[0].key is not None:
            alike = [one for one in self._waiting if one.key == found[0].key and not one.result.done()]
            found += alike[: _MOST - 1]
            taken = set(map(id, found))
            self._waiting = deque(one for one in self._waiting if id(one) not in taken)
        return found
