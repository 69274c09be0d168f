"""A tower as an ONNX file, for servers that run without torch; and what all exports share."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tamis.data.batch import OFFSETS, VALUES
from tamis.errors import MissingExtraError, SettingError
from tamis.models.encoder import Encoder
from tamis.nn.inputs import split_inputs
from tamis.schema import ColumnSchema, Schema

_BATCH = 3  # rows of the example; any number above 1, so that the exporter does not take it for a constant
_OPSET = 18
_TOLERANCE = 1e-4  # of the largest value: what other kernels make of float32
_LARGE = 16_000_000  # bytes of weights
_TRIED = (1, 7)  # rows, neither of them the example's


@dataclass(frozen=True)
class Rows:
    """Columns of one side of a graph.

    Args:
        schema: of the columns.
        dim: how the number of rows is called; None is a side of one row.
    """

    schema: Schema
    dim: str | None

    def example(self, num_rows: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Features of so many rows: zeros, or drawn."""
        number = num_rows if self.dim else 1
        categorical = {column.name for column in split_inputs(self.schema)[0]}
        found: dict[str, Tensor] = {}
        for column in self.schema:
            found |= _drawn(column, number, is_code=column.name in categorical, generator=generator)
        return found

    def dimensions(self, features: Mapping[str, Tensor]) -> dict[str, Any]:
        """What is dynamic, by feature."""
        rows = None if self.dim is None else torch.export.Dim(self.dim)
        return {name: _dimension(name, rows) for name in features}


def export_encoder(encoder: Encoder, path: Path, *, is_shared: bool = False) -> Path:
    """Write the encoder as ONNX and return the path.

    Inputs: each scalar feature by its name, [batch] int64 (continuous: float32); vectors [batch, width]; each list as
    `<name>__values` [values] and `<name>__offsets` [batch + 1], int64. Output: `vector` [batch, dim] float32.

    With `is_shared` see `export_graph`.

    Raises:
        MissingExtraError: the packages of `tamis[onnx]` are not installed.
        SettingError: the file gives other vectors than the encoder.
    """
    sides = [Rows(encoder.schema, "batch")]
    return export_graph(encoder, sides, path, output="vector", where="to_onnx", is_shared=is_shared)


def export_graph(
    network: nn.Module, sides: list[Rows], path: Path, *, output: str, where: str, is_shared: bool = False
) -> Path:
    """Write a network from a dict of features to [rows, ...] as ONNX, and see that the file gives the same.

    With `is_shared` many weights go into a second file beside it, which the processes of a server share in memory.

    Raises:
        MissingExtraError: the packages of `tamis[onnx]` are not installed.
        SettingError: the file gives other values than the network.
    """
    _need_packages(where)
    example = _joined(side.example(_BATCH) for side in sides)
    shapes = tuple(shape for side in sides for shape in side.dimensions(side.example(_BATCH)).values())
    path.parent.mkdir(parents=True, exist_ok=True)
    module = _ByPosition(network, list(example)).eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        exported = torch.export.export(module, tuple(example.values()), dynamic_shapes=(shapes,), strict=False)
        program = torch.onnx.export(
            exported,
            dynamo=True,
            input_names=list(example),
            output_names=[output],
            opset_version=_OPSET,
            verbose=False,
        )
    assert program is not None
    size = sum(one.nbytes for one in module.parameters())
    program.save(str(path), external_data=True if is_shared and size >= _LARGE else None)
    _check(module, sides, path, where)
    return path


def _need_packages(where: str) -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(error.name or "onnx", "onnx", where=where) from error


@torch.inference_mode()
def _check(module: _ByPosition, sides: list[Rows], path: Path, where: str) -> None:
    """Compare the file with the network on random rows, numbers of rows that the exporter has not seen."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    taken = {one.name for one in session.get_inputs()}
    generator = torch.Generator().manual_seed(0)
    for num_rows in _TRIED:
        features = _joined(side.example(num_rows, generator) for side in sides)
        wanted = module(*features.values()).numpy()
        found = session.run(None, {name: one.numpy() for name, one in features.items() if name in taken})[0]
        apart = float(np.abs(found - wanted).max()) if found.shape == wanted.shape else float("inf")
        if not apart <= _TOLERANCE * max(float(np.abs(wanted).max()), 1e-3):
            raise SettingError(
                f"{where}: {path.name} answers {list(found.shape)} up to {apart:.3g} away from the network's "
                f"{list(wanted.shape)}. Export with other versions of torch, onnxscript and onnxruntime."
            )


def _joined(parts: Iterator[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: tensor for part in parts for name, tensor in part.items()}


class _ByPosition(nn.Module):
    """The network with its features as positional arguments, which is what an exporter can name."""

    def __init__(self, network: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.network, self.names = network, names

    def forward(self, *tensors: Tensor) -> Tensor:
        found: Tensor = self.network(dict(zip(self.names, tensors, strict=True)))
        return found


def _drawn(
    column: ColumnSchema, num_rows: int, *, is_code: bool, generator: torch.Generator | None
) -> dict[str, Tensor]:
    def values(*shape: int) -> Tensor:
        if generator is None:
            return torch.zeros(shape, dtype=torch.int64) if is_code else torch.zeros(shape)
        if is_code:
            return torch.randint(column.cardinality or 1, shape, generator=generator)
        return torch.randn(shape, generator=generator)

    if column.width is not None:
        return {column.name: values(num_rows, column.width)}
    if not column.is_list:
        return {column.name: values(num_rows)}
    lengths = torch.arange(num_rows) % 3 + 1 + (torch.arange(num_rows) == 0)  # 2, 2, 3, 1, ...
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    return {column.name + VALUES: values(int(offsets[-1])), column.name + OFFSETS: offsets}


def _dimension(name: str, rows: Any) -> Any:
    if name.endswith(VALUES):
        return {0: torch.export.Dim(name)}
    if rows is None:
        return None
    return {0: rows + 1 if name.endswith(OFFSETS) else rows}
