"""`config.pbtxt` of models in a Triton repository."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tamis.serving.tensors import BYTES, TensorSpec

_TYPES = {BYTES: "TYPE_STRING"}
_DELAY_US = 500  # how long a request waits for others


@dataclass(frozen=True)
class Batching:
    """How requests are put together.

    Args:
        most: rows of a batch.
        preferred: sizes that do not wait for more.
    """

    most: int
    preferred: Sequence[int]


@dataclass(frozen=True)
class EnsembleStep:
    """A model of an ensemble: its tensors, and what the ensemble calls them."""

    model: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def graph_config(
    name: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], batching: Batching | None
) -> str:
    """Of an ONNX file."""
    more = ['parameters { key: "intra_op_thread_count" value: { string_value: "1" } }']
    return _config(name, "onnxruntime", inputs, outputs, batching, more, is_graph=True)


def python_config(
    name: str,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    bundle: str,
    batching: Batching | None = None,
) -> str:
    """Of a Python model that reads a bundle."""
    more = [f'parameters {{ key: "bundle" value: {{ string_value: {_text(bundle)} }} }}']
    return _config(name, "python", inputs, outputs, batching, more)


def _config(
    name: str,
    backend: str,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    batching: Batching | None,
    more: Iterable[str],
    *,
    is_graph: bool = False,
) -> str:
    most = 0 if batching is None else batching.most
    lines = [f"name: {_text(name)}", f"backend: {_text(backend)}", f"max_batch_size: {most}"]
    lines += [_tensor("input", spec, is_batched=most > 0, is_graph=is_graph) for spec in inputs]
    lines += [_tensor("output", spec, is_batched=most > 0, is_graph=is_graph) for spec in outputs]
    lines += ["instance_group [ { kind: KIND_CPU count: 1 } ]", *more]
    if batching is not None:
        sizes = ", ".join(map(str, batching.preferred))
        lines.append(
            f"dynamic_batching {{ preferred_batch_size: [ {sizes} ] max_queue_delay_microseconds: {_DELAY_US} }}"
        )
    return "\n".join(lines) + "\n"


def ensemble_config(
    name: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], steps: Sequence[EnsembleStep]
) -> str:
    """Of a chain of models."""
    lines = [f"name: {_text(name)}", 'platform: "ensemble"', "max_batch_size: 0"]
    lines += [_tensor("input", spec) for spec in inputs] + [_tensor("output", spec) for spec in outputs]
    return "\n".join([*lines, "ensemble_scheduling {", *map(_step, steps), "}"]) + "\n"


def _step(step: EnsembleStep) -> str:
    lines = [f"  step {{\n    model_name: {_text(step.model)}\n    model_version: -1"]
    for kind, names in (("input_map", step.inputs), ("output_map", step.outputs)):
        lines += [f"    {kind} {{ key: {_text(own)} value: {_text(theirs)} }}" for own, theirs in names.items()]
    return "\n".join([*lines, "  }"])


def _tensor(kind: str, spec: TensorSpec, *, is_batched: bool = False, is_graph: bool = False) -> str:
    dims = list(spec.shape[1:] if is_batched else spec.shape)
    more = " optional: true" if spec.is_optional else ""
    if is_batched and is_graph and dims == [1] and kind == "input":
        more += " reshape: { shape: [ ] }"  # a column of rows has one dimension in the graph
    shown = ", ".join(map(str, dims))
    return (
        f"{kind} [ {{ name: {_text(spec.name)} data_type: {_TYPES.get(spec.datatype, f'TYPE_{spec.datatype}')} "
        f"dims: [ {shown} ]{more} }} ]"
    )


def _text(value: str | Path) -> str:
    """A string as protobuf's text format has it."""
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
