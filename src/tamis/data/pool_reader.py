"""A loader's pools, read one ahead of whoever takes them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from tamis.data.row_pool import PoolColumn, RowPool
from tamis.data.row_source import Piece, RowSource

_THREAD = "tamis-loader"


class PoolReader:
    """Pools read by one thread ahead of the one who asks; closing ends the thread."""

    def __init__(
        self,
        source: RowSource,
        columns: Sequence[PoolColumn],
        plan: Sequence[Sequence[Piece]],
        *,
        kept: RowPool | None = None,
    ) -> None:
        self._source, self._columns, self._plan, self._kept = source, columns, plan, kept
        self._rows = [sum(map(len, pieces)) for pieces in plan]
        self.rows_before = np.cumsum([0, *self._rows])
        self._closed = threading.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=_THREAD)

    def pools_from(self, row: int) -> Iterator[tuple[int, RowPool]]:
        """Number and rows of each pool, from the one that holds `row` on; the ones before are not read."""
        first = int(np.searchsorted(self.rows_before, row, side="right")) - 1
        ahead: deque[tuple[int, Future[RowPool]]] = deque()
        for number in range(first, len(self._plan)):
            ahead.append((number, self._thread.submit(self._read, number)))
            if len(ahead) > 1:
                yield self._next(ahead)
        while ahead:
            yield self._next(ahead)

    def _next(self, ahead: deque[tuple[int, Future[RowPool]]]) -> tuple[int, RowPool]:
        number, future = ahead.popleft()
        return number, future.result()

    def _read(self, number: int) -> RowPool:
        if self._kept is not None:
            return self._kept
        pool = RowPool(self._columns, self._rows[number])
        for piece in self._plan[number]:
            if self._closed.is_set():
                break
            pool.append(self._source.read(piece), self._source.where(piece))
        return pool

    def close(self) -> None:
        """End the thread, at the next row group if it is reading."""
        self._closed.set()
        # Garbage collection may close an abandoned iterator from any thread, and no thread can wait for itself.
        is_own_thread = threading.current_thread().name.startswith(_THREAD)
        self._thread.shutdown(wait=not is_own_thread, cancel_futures=True)
