"""A process that the system holds to a limit of memory: through a control group, or a limit of its address space."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


@dataclass
class Limit:
    """What a new process enters, and what came of it then."""

    kind: str
    enter: Callable[[], None]
    own_bytes: Callable[[], int]  # held now, without files that the system has in memory for it; 0 where unknown
    was_killed: Callable[[], bool]


@contextmanager
def memory_limit(limit: int) -> Iterator[Limit]:
    """A limit in bytes for processes to come: without swap, files that the system holds in memory for them included."""
    group = _group(limit)
    if group is None:
        print("No control group can be made here: RLIMIT_AS limits the address space instead.", file=sys.stderr)

        def enter() -> None:
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

        yield Limit("RLIMIT_AS", enter, lambda: 0, lambda: False)
        return
    is_v1 = group.is_relative_to(V1)
    own = "rss" if is_v1 else "anon"
    events = group / ("memory.oom_control" if is_v1 else "memory.events")

    def enter_group() -> None:
        (group / "cgroup.procs").write_text(str(os.getpid()))

    def own_bytes() -> int:
        lines = (group / "memory.stat").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{own} "))

    def was_killed() -> bool:
        lines = events.read_text().splitlines()
        return any(line.startswith("oom_kill ") and int(line.split()[1]) > 0 for line in lines)

    kind = f"control group v{1 if is_v1 else 2}"
    try:
        yield Limit(kind, enter_group, own_bytes, was_killed)
    finally:
        with suppress(OSError):
            group.rmdir()


def _group(limit: int) -> Path | None:
    """A new control group with this limit, where we may make one."""
    for root, files in ((V1, ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")), (V2, ("memory.max",))):
        if not (root / files[0]).exists() and not (root / "cgroup.controllers").exists():
            continue
        group = root / f"tamis-bench-{os.getpid()}"
        try:
            group.mkdir()
            (group / files[0]).write_text(str(limit))
            for file in files[1:]:  # swap, where the kernel counts it
                with suppress(OSError):
                    (group / file).write_text(str(limit))
            return group
        except OSError:
            with suppress(OSError):
                group.rmdir()
    return None


def run(command: Sequence[str], limit: Limit) -> tuple[int, str, int]:
    """How the process ended, what it printed on stdout, and the most that it held, looked at ten times a second."""
    most = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=limit.enter) as process:
        while process.poll() is None:
            most = max(most, limit.own_bytes())
            time.sleep(0.1)
        assert process.stdout is not None
        return process.returncode, process.stdout.read(), most
