"""An encoder as an ONNX file, for servers that run without torch."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from tamis.data.batch import OFFSETS, VALUES
from tamis.errors import MissingExtraError
from tamis.models.encoder import Encoder
from tamis.schema import ColumnSchema

_BATCH = 3  # rows of the example; any number above 1, so that the exporter does not take it for a constant
_OPSET = 18


def export_encoder(encoder: Encoder, path: Path) -> Path:
    """Write the encoder as ONNX and return the path.

    Inputs: each scalar feature by its name, [batch] int64 (continuous: float32); vectors [batch, width]; each list as
    `<name>__values` [values] and `<name>__offsets` [batch + 1], int64. Output: `vector` [batch, dim] float32.

    Raises:
        MissingExtraError: the packages of `tamis[onnx]` are not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(error.name or "onnx", "onnx", where="to_onnx") from error
    example = _example(encoder)
    batch = torch.export.Dim("batch")
    shapes = {name: {0: _dimension(name, batch)} for name in example}
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            _ByPosition(encoder, list(example)),
            tuple(example.values()),
            dynamo=True,
            input_names=list(example),
            output_names=["vector"],
            dynamic_shapes=(tuple(shapes.values()),),
            opset_version=_OPSET,
            verbose=False,
        )
    assert program is not None
    program.save(str(path))
    return path


class _ByPosition(nn.Module):
    """The encoder with its features as positional arguments, which is what an exporter can name."""

    def __init__(self, encoder: Encoder, names: list[str]) -> None:
        super().__init__()
        self.encoder, self.names = encoder, names

    def forward(self, *tensors: Tensor) -> Tensor:
        vectors: Tensor = self.encoder(dict(zip(self.names, tensors, strict=True)))
        return vectors


def _example(encoder: Encoder) -> dict[str, Tensor]:
    example: dict[str, Tensor] = {}
    for column in encoder.schema:
        example |= _example_of(column, is_number=column in encoder.tower.inputs.numbers + encoder.tower.inputs.vectors)
    return example


def _example_of(column: ColumnSchema, *, is_number: bool) -> dict[str, Tensor]:
    if column.width is not None:
        shape = (_BATCH, column.width)
        return {column.name: torch.zeros(shape) if is_number else torch.zeros(shape, dtype=torch.int64)}
    if column.is_list:
        values, offsets = torch.ones(2 * _BATCH + 1, dtype=torch.int64), 2 * torch.arange(_BATCH + 1)
        return {column.name + VALUES: values, column.name + OFFSETS: offsets.clamp(max=2 * _BATCH)}
    return {column.name: torch.zeros(_BATCH) if is_number else torch.zeros(_BATCH, dtype=torch.int64)}


def _dimension(name: str, batch: torch.export.Dim) -> object:
    if name.endswith(VALUES):
        return torch.export.Dim(name)
    return batch + 1 if name.endswith(OFFSETS) else batch
