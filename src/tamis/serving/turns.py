"""What only one process of a server does at a time, so that the others answer as fast as ever meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TURNS = "TAMIS_INTERNAL_TURNS"  # from the parent to its workers: a file that they lock


@contextmanager
def in_turn() -> Iterator[None]:
    """Wait until no other worker is within such a block. A worker that is killed there lets go of it."""
    path = os.environ.get(TURNS)
    if path is None:
        yield
        return
    import fcntl  # where there are several workers, there is this

    with Path(path).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
