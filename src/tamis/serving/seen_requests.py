"""What requests left to be counted: kept as it comes, and counted many at once, for a tenth of the time."""

from __future__ import annotations

import logging
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from prometheus_client import Histogram

_LOG = logging.getLogger("tamis.serving")
_EVERY_S = 1.0
_MOST = 20_000  # kept until they are counted


class ManyHistogram(Histogram):
    """A histogram that takes many amounts at once."""

    def observe_many(self, amounts: Sequence[float]) -> None:
        """The same as `observe` for each of them."""
        self._raise_if_not_observable()  # type: ignore[no-untyped-call]
        places = np.searchsorted(self._upper_bounds, amounts)  # an amount that is a bound belongs below it
        for place, count in Counter(places.tolist()).items():
            self._buckets[place].inc(count)
        self._sum.inc(float(sum(amounts)))


@dataclass
class Seen:
    """What came since it was counted last, by labels.

    Args:
        requests: seconds that requests took, by route and status.
        stages: milliseconds of stages, by stage and version.
        degraded: answers made simpler, by level and version.
        known: of each list, whether its user was known, by version.
        scores: of the items given, by version.
    """

    requests: defaultdict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    stages: defaultdict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    degraded: Counter[tuple[str, str]] = field(default_factory=Counter)
    known: defaultdict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    scores: defaultdict[str, list[float | None]] = field(default_factory=lambda: defaultdict(list))


class SeenRequests:
    """Keeps notes, each a function that adds to `Seen`, until `count` is called; a thread calls it every second.

    Any number of threads may add notes. Those of the last second go with a process that is killed.

    Args:
        count: what counts them.
    """

    def __init__(self, count: Callable[[Seen], None]) -> None:
        self._count, self._notes = count, deque[Callable[[Seen], None]]()
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._repeat, daemon=True, name="metrics")
        self._thread.start()

    def add(self, note: Callable[[Seen], None]) -> None:
        """Keep it."""
        self._notes.append(note)
        if len(self._notes) > _MOST:
            self.count()

    def count(self) -> None:
        """Count all that was kept."""
        with self._lock:
            seen = Seen()
            for _ in range(len(self._notes)):
                self._notes.popleft()(seen)
            self._count(seen)

    def _repeat(self) -> None:
        while not self._stop.wait(_EVERY_S):
            try:
                self.count()
            except Exception:  # what comes later shall be counted
                _LOG.exception("requests were not counted")

    def close(self) -> None:
        """Count what is left, and end the thread."""
        self._stop.set()
        self._thread.join(timeout=5)
        self.count()
