"""How much memory processes hold, and how it grows."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np


def memory_mb(process: int) -> float:
    """Private memory of a process and its children, in MB; what files lend them, which they share, is left out."""
    total = _own_mb(process)
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        total += sum(memory_mb(int(child)) for child in task.read_text().split())
    return total


def _own_mb(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1024


def give_memory_back() -> None:
    """Return what was freed to the system, where the C library can; else it keeps pieces between what is in use."""
    with suppress(OSError, AttributeError, TypeError):  # other systems have no such function
        ctypes.CDLL(None).malloc_trim(0)


class MemoryWatch:
    """Looks at a process's memory now and then, while the `with` runs.

    Args:
        process: its number.
        every_s: between looks.
        measure: what looks; by default `memory_mb`.
    """

    def __init__(self, process: int, *, every_s: float = 1.0, measure: Callable[[int], float] = memory_mb) -> None:
        self.seconds: list[float] = []
        self.mb: list[float] = []
        self._process, self._every_s, self._measure = process, every_s, measure
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        start = time.perf_counter()
        while True:
            try:
                self.mb.append(self._measure(self._process))
            except OSError:  # it ended
                return
            self.seconds.append(time.perf_counter() - start)
            if self._stop.wait(self._every_s):
                return

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def slope_mb_per_minute(self, *, after_s: float = 0.0) -> float:
        """The median slope over all pairs of looks after the warm-up, which no single step or peak moves.

        Source: Sen, Estimates of the Regression Coefficient Based on Kendall's Tau, JASA 1968.
        """
        count = min(len(self.seconds), len(self.mb))
        seconds, mb = np.array(self.seconds[:count]), np.array(self.mb[:count])
        kept = np.flatnonzero(seconds >= after_s)
        kept = kept[:: max(len(kept) // 1000, 1)]
        if len(kept) < 2:
            return float("nan")
        first, second = np.triu_indices(len(kept), 1)
        change = mb[kept[second]] - mb[kept[first]]
        return float(np.median(change / (seconds[kept[second]] - seconds[kept[first]]))) * 60
