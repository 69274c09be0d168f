"""How much memory this process may take, and Polars told of it, so that it spills to disk in time."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl

_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
_BUDGET, _TOTAL = "POLARS_OOC_MEMORY_BUDGET_MB", "POLARS_OVERRIDE_TOTAL_MEMORY_MB"
# Polars counts what it holds itself. Python, tables of codes, buffers of files and the allocator's rests come on top.
_SHARE_OF_POLARS = 1 / 3
_given_by_us: str | None = None


def memory_limit() -> int:
    """Bytes that this process may take: the least of the machine's memory, its control groups' and its own limits."""
    return min([_machine(), *_of_control_groups(), *_of_process()])


def is_limited() -> bool:
    """Whether this process may take less than the machine has."""
    return memory_limit() < _machine()


def spill_in_time() -> None:
    """Give Polars a budget where the process may take less than the machine has, of which Polars does not know.

    A budget that the user has set in the environment stays.
    """
    global _given_by_us
    if _TOTAL in os.environ or os.environ.get(_BUDGET) != _given_by_us:
        return
    budget = str(int(memory_limit() * _SHARE_OF_POLARS) >> 20) if is_limited() else None
    if budget is not None and budget != _given_by_us:
        # Polars reads the environment at its first use and whenever settings are loaded.
        pl.Config.load(json.dumps({"environment": {_BUDGET: budget}, "direct": {}}))
        _given_by_us = budget


def scratch_folder() -> Path:
    """Where large things that do not outlive the process go: Polars' own folder for them, or one on a disk."""
    for name in ("POLARS_OOC_SPILL_DIR", "POLARS_TEMP_DIR", "TMPDIR"):
        if os.environ.get(name):
            folder = Path(os.environ[name])
            folder.mkdir(parents=True, exist_ok=True)
            return folder
    lasting = Path("/var/tmp")  # /tmp is often in memory
    return lasting if os.access(lasting, os.W_OK) else Path(tempfile.gettempdir())


def _machine() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return 8 << 30


def _of_control_groups() -> Iterator[int]:
    """The limits of the process's groups and of all above them, of both versions of the interface."""
    lines = _read(_PROC / "self" / "cgroup").splitlines()
    for _, controllers, path in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if controllers and "memory" not in controllers.split(","):
            continue
        root, file = (_CGROUPS / "memory", "memory.limit_in_bytes") if controllers else (_CGROUPS, "memory.max")
        # In a container the path may be the host's; what there is of it counts.
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            found = _read(folder / file).strip()
            if found.isdigit():
                yield int(found)
            if folder == root:
                break


def _of_process() -> Iterator[int]:
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            yield soft


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
