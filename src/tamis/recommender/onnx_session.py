"""ONNX Runtime: the one place where it is imported."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tamis.errors import FormatError, MissingExtraError
from tamis.recommender.graph_inputs import Array, Arrays


def has_onnxruntime() -> bool:
    """Whether it is installed."""
    return importlib.util.find_spec("onnxruntime") is not None


@dataclass(frozen=True)
class Port:
    """An input or output of a graph: its name, whether it holds whole numbers (else float32), None for any length."""

    name: str
    is_whole: bool
    shape: tuple[int | None, ...]


class Graph:
    """A model out of an ONNX file; several threads may run it at once.

    Args:
        file: which one.
        num_threads: of one run. Requests run beside each other, so one is best for all but the largest models.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        FormatError: no model can be read from the file.
    """

    def __init__(self, file: Path, *, num_threads: int = 1) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError("onnxruntime", "serve", where='Recommender.load(runtime="onnx")') from error
        self.file = file
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = num_threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads would burn a core
        options.log_severity_level = 3
        try:
            self._session: Any = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no common class but this
            why = " ".join(str(error).split())
            raise FormatError(f"{file}: ONNX Runtime cannot read it ({why}). Export the bundle again.") from error
        self.inputs = [_port(one) for one in self._session.get_inputs()]  # the export drops what nothing reads
        self.outputs = [_port(one) for one in self._session.get_outputs()]

    def run(self, inputs: Arrays) -> Array:
        """The only output."""
        found: Array = self._session.run(None, {one.name: inputs[one.name] for one in self.inputs})[0]
        return found


def _port(told: Any) -> Port:
    shape = tuple(length if isinstance(length, int) else None for length in told.shape)
    return Port(told.name, told.type == "tensor(int64)", shape)
