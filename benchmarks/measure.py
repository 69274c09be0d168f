"""What every benchmark says beside its numbers: commit, versions, machine; and how it measures memory."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any


def peak_mb() -> float:
    """The most memory this process has held so far."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says includes what the process was forked from
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measured(command: Sequence[str], **environment: str) -> dict[str, Any]:
    """What a process of its own printed as its last line, which is JSON."""
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **environment})
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def facts() -> dict[str, Any]:
    """Where and with what a benchmark ran."""
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "commit": git.stdout.strip() or None,
        "versions": {name: version(name) for name in ("tamis", "torch", "polars", "pyarrow", "numpy", "faiss-cpu")},
        "machine": f"{os.cpu_count()} cores, {_processor()}",
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor() or platform.machine()
    lines = cpuinfo.read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    flags = next((line for line in lines if line.startswith("flags")), "")
    return model + "".join(f" {flag}" for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags)


def report(benchmark: str, **numbers: Any) -> None:
    """Print one JSON line."""
    print(json.dumps({"benchmark": benchmark, **numbers, **facts()}), flush=True)
