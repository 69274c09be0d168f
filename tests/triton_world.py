"""The real Triton Inference Server out of its pip package, which has an environment of its own: see `make triton`."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
ENVIRONMENT = ROOT / ".venv-triton"
PYTHON = ENVIRONMENT / "bin" / "python"
_HERE = Path(__file__).parent


def need_triton() -> None:
    """Skip where there is no Triton; where the run must have one, fail."""
    if PYTHON.exists() and (ENVIRONMENT / "ready").exists():
        return
    if os.environ.get("TAMIS_CI"):
        pytest.fail(f"{ENVIRONMENT} is missing. Run: make triton.")
    pytest.skip("no Triton Inference Server here. Run: make triton.")


def call(script: str, **asked: Any) -> Any:
    """What a script of the tests prints as JSON, run where Triton's client is installed."""
    done = subprocess.run(
        [PYTHON, _HERE / script],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


class Triton:
    """A running `tritonserver`."""

    def __init__(self, process: subprocess.Popen[bytes], http: int, grpc: int, log: Path) -> None:
        self.process, self.http, self.grpc, self._log = process, http, grpc, log

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait(self, timeout_s: float = 90) -> None:
        """Until all models are loaded."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log[-4000:]
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.http), 1):
                if "Started HTTPService" in self.log:
                    return
            time.sleep(0.05)
        raise AssertionError(f"Triton is not ready within {timeout_s} s: {self.log[-4000:]}")


@contextlib.contextmanager
def triton(repository: Path, work: Path) -> Iterator[Triton]:
    """Triton over a model repository; `work` is a folder for its backends and its log."""
    need_triton()
    package = next(ENVIRONMENT.glob("lib/python3*/site-packages/pytriton")) / "tritonserver"
    http, grpc = _free_ports(2)
    log = work / "triton.log"
    command = [package / "bin" / "tritonserver", f"--model-repository={repository}"]
    command += [f"--backend-directory={_backends(package, work / 'backends')}", "--disable-auto-complete-config"]
    command += [f"--http-port={http}", f"--grpc-port={grpc}", "--http-address=127.0.0.1", "--grpc-address=127.0.0.1"]
    command += ["--allow-metrics=false", "--exit-timeout-secs=10"]
    with log.open("wb") as lines:
        process = subprocess.Popen(command, stdout=lines, stderr=subprocess.STDOUT, env=_variables(package))
    found = Triton(process, http, grpc, log)
    try:
        found.wait()
        yield found
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=20)


def _backends(package: Path, folder: Path) -> Path:
    """Triton's Python backend with the stub of this Python, and a stand-in for its ONNX Runtime backend."""
    version = next((ENVIRONMENT / "lib").glob("python3*")).name.removeprefix("python")
    shutil.copytree(package / "backends" / "python", folder / "python")
    for file in (package / "python_backend_stubs" / version).iterdir():
        shutil.copy(file, folder / "python" / file.name)
    (folder / "onnxruntime").mkdir()
    shutil.copyfile(_HERE / "triton_onnxruntime_backend.py", folder / "onnxruntime" / "model.py")
    return folder


def _variables(package: Path) -> dict[str, str]:
    """Where it finds its libraries, that of Python among them, the packages of its environment, and Tamis."""
    libraries = [package.parents[1] / "nvidia_pytriton.libs", sysconfig.get_config_var("LIBDIR")]
    return {
        **os.environ,
        "PATH": f"{ENVIRONMENT / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": str(ENVIRONMENT),
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
        "PYTHONPATH": str(ROOT / "src"),
        "OMP_NUM_THREADS": "1",
        "POLARS_MAX_THREADS": "1",
    }


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
