"""What a full disk looks like from inside, and the error that tells how much room is missing."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tamis.errors import DiskFullError

# A quota and a limit on the size of a file end a write in the same way; 112 is Windows' number for a full disk.
_NUMBERS = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_WORDS = ("No space left", "Disk quota exceeded", "File too large", "(os error 112)")
# A query that spilled more than it may; seen in the names of Polars' own abort and in what it says.
_SPILL_WORDS = ("OOC_OUT_OF_DISK", "out-of-core disk budget")


def is_disk_full(error: BaseException) -> bool:
    """Whether an error of the system or of Polars, which keeps the system's words only, means a full disk."""
    if isinstance(error, OSError) and error.errno in _NUMBERS:
        return True
    return any(words in str(error) for words in _WORDS) or is_spill_full(error)


def is_spill_full(error: BaseException) -> bool:
    """Whether a computation found no more room for what it puts aside on disk."""
    return any(words in str(error) for words in _SPILL_WORDS)


@contextmanager
def telling_disk_full(
    target: str | Path, folder: Path, needed: Callable[[], int | None] = lambda: None
) -> Iterator[None]:
    """Turn a full disk while `folder` is being filled into an error that says how much was needed for `target`.

    Args:
        target: what the caller wanted to write.
        folder: where it is written until it is complete.
        needed: about how many bytes the whole takes; None where nobody can tell.

    Raises:
        DiskFullError: the disk is full; others pass as they are.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, DiskFullError) or not is_disk_full(error):
            raise
        raise DiskFullError(_message(target, folder, needed(), str(error))) from error


def _message(target: str | Path, folder: Path, needed: int | None, reason: str) -> str:
    written = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    free = shutil.disk_usage(folder).free + written  # what was written goes now
    whole = f"more than {size(written)}" if needed is None else f"about {size(max(needed, written))}"
    short = (reason.strip().splitlines() or ["no reason given"])[0]
    return (
        f"{target}: the disk is full ({short}): {whole} needed, {size(free)} free, {size(written)} were written before "
        "it ended and are removed again. Free some space or give a folder on a larger disk."
    )


def size(num_bytes: float) -> str:
    """Bytes in the unit that makes them readable: 1.5 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:,.0f} {unit}" if unit == "bytes" else f"{num_bytes:,.1f} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:,.1f} TB"
