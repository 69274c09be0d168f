"""What every benchmark says beside its numbers: commit, versions, machine; and how it measures memory."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any


def peak_mb() -> float:
    """The most memory this process has held so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


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
