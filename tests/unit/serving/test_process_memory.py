"""Memory of processes, and its slope."""

import os
import subprocess
import sys
import time

import pytest

from tamis.serving.process_memory import MemoryWatch, give_memory_back, memory_mb


def test_memory_of_children_counts() -> None:
    code = "import sys; held = bytearray(b'x' * 60_000_000); print('ready', flush=True); sys.stdin.read()"
    before = memory_mb(os.getpid())
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None and child.stdout is not None
    with child:
        child.stdout.readline()
        assert 55 < memory_mb(child.pid) < 120
        assert memory_mb(os.getpid()) - before > 50
        child.stdin.close()


def test_the_slope_is_that_of_the_most_pairs_and_looks_before_the_warm_up_do_not_count() -> None:
    looks = iter([500.0, *(100 + 0.5 * n for n in range(1000))])
    with MemoryWatch(1, every_s=0.005, measure=lambda _: next(looks)) as watch:
        while len(watch.mb) < 40:
            time.sleep(0.005)
    seconds = [float(n) for n in range(len(watch.mb))]
    watch.seconds = seconds
    assert watch.slope_mb_per_minute(after_s=1) == pytest.approx(30)  # half a MB in each second
    watch.mb[20] += 1000
    assert watch.slope_mb_per_minute(after_s=1) == pytest.approx(30)
    assert watch.slope_mb_per_minute(after_s=1e9) != watch.slope_mb_per_minute(after_s=1e9)  # NaN


def test_a_process_that_ends_ends_the_watch() -> None:
    def gone(process: int) -> float:
        raise FileNotFoundError(process)

    with MemoryWatch(1, every_s=0.001, measure=gone) as watch:
        pass
    assert watch.mb == []


def test_memory_that_was_freed_goes_back() -> None:
    """Many small pieces with one in use behind them stay with the process until it is told."""
    pieces = [bytes(1000) for _ in range(100_000)]
    held = [bytes(1000) for _ in range(10)]
    full = memory_mb(os.getpid())
    del pieces
    give_memory_back()
    assert full - memory_mb(os.getpid()) > 50 and len(held) == 10
