"""What Triton's Python backend runs of a bundle: `model.py` of each Python model names one of these classes."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tamis.errors import TamisError
from tamis.recommender.recommender import Recommender
from tamis.serving.tensors import BYTES, Array, ProtocolError, TensorSpec, as_texts
from tamis.serving.triton_pipeline import Pipeline
from tamis.serving.triton_steps import Steps

Outputs = dict[str, Array]


class _TritonModel(ABC):
    """A model as the Python backend calls it."""

    verify = False  # whether the bundle answers its own requests first: once a server is enough

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the bundle that the model's configuration names, by a path from the model's folder or a whole one."""
        told = json.loads(args["model_config"])["parameters"]["bundle"]["string_value"]
        folder = Path(args["model_repository"]) / told
        self._start(Recommender.load(folder.resolve(), runtime="onnx", verify=self.verify))

    @abstractmethod
    def _start(self, recommender: Recommender) -> None: ...

    @property
    @abstractmethod
    def _specs(self) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        """What it takes and gives."""

    @abstractmethod
    def _answer(self, requests: Sequence[Mapping[str, Array]]) -> Sequence[Outputs | Exception]:
        """The outputs of each request, or why there are none."""

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """The answers of requests that Triton put together."""
        import triton_python_backend_utils as triton  # there is none outside of Triton

        inputs, outputs = self._specs
        read: list[Any] = []
        for request in requests:
            try:
                read.append(_read(triton, request, inputs))
            except ProtocolError as error:
                read.append(error)
        good = [one for one in read if not isinstance(one, Exception)]
        found = iter(self._answer(good) if good else ())
        answers = [one if isinstance(one, Exception) else next(found) for one in read]
        return [_written(triton, one, outputs) for one in answers]


class Recommend(_TritonModel):
    """The whole pipeline."""

    verify = True

    def _start(self, recommender: Recommender) -> None:
        self._pipeline = Pipeline(recommender)

    @property
    def _specs(self) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        return self._pipeline.tensors.inputs, self._pipeline.tensors.outputs

    def _answer(self, requests: Sequence[Mapping[str, Array]]) -> Sequence[Outputs | Exception]:
        return self._pipeline.answer(requests)


class _Step(_TritonModel):
    """One step of the pipeline, a user a request."""

    def _start(self, recommender: Recommender) -> None:
        self._steps = Steps(recommender)

    def _answer(self, requests: Sequence[Mapping[str, Array]]) -> Sequence[Outputs | Exception]:
        found: list[Outputs | Exception] = []
        for one in requests:
            try:
                found.append(self._run(one))
            except (ProtocolError, TamisError) as error:
                found.append(error)
        return found

    @abstractmethod
    def _run(self, inputs: Mapping[str, Array]) -> Outputs: ...


class Features(_Step):
    """A user's encoded features, as the graphs take them."""

    @property
    def _specs(self) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        return self._steps.feature_inputs, self._steps.feature_outputs

    def _run(self, inputs: Mapping[str, Array]) -> Outputs:
        return self._steps.features(inputs)


class Search(_Step):
    """The candidates of a user's vector."""

    @property
    def _specs(self) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        return self._steps.search_inputs, self._steps.search_outputs

    def _run(self, inputs: Mapping[str, Array]) -> Outputs:
        return self._steps.search(inputs)


class Order(_Step):
    """The list, out of candidates and what the ranker says of them."""

    @property
    def _specs(self) -> tuple[Sequence[TensorSpec], Sequence[TensorSpec]]:
        return self._steps.order_inputs, self._steps.order_outputs

    def _run(self, inputs: Mapping[str, Array]) -> Outputs:
        return self._steps.order(inputs)


def _read(triton: Any, request: Any, specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """The tensors of a request. Triton checked datatypes and shapes."""
    found: dict[str, Array] = {}
    for spec in specs:
        tensor = triton.get_input_tensor_by_name(request, spec.name)
        if tensor is not None:
            values = tensor.as_numpy()
            found[spec.name] = _decoded(values, f"inputs.{spec.name}") if spec.datatype == BYTES else values
    return found


def _decoded(values: Array, where: str) -> Array:
    try:
        texts = [str(one, "utf-8") if isinstance(one, bytes) else str(one) for one in values.reshape(-1).tolist()]
    except UnicodeDecodeError as error:
        raise ProtocolError(f"{where}: a text is not UTF-8 ({error.reason} at byte {error.start}).") from error
    return as_texts(texts).reshape(values.shape)


def _written(triton: Any, answer: Outputs | Exception, specs: Sequence[TensorSpec]) -> Any:
    if isinstance(answer, Exception):
        return triton.InferenceResponse(error=triton.TritonError(str(answer)))
    return triton.InferenceResponse([triton.Tensor(spec.name, _encoded(answer[spec.name], spec)) for spec in specs])


def _encoded(values: Array, spec: TensorSpec) -> Array:
    if spec.datatype != BYTES:
        return np.ascontiguousarray(values)
    found = np.empty(values.size, object)
    found[:] = [text.encode() for text in values.reshape(-1).tolist()]
    return found.reshape(values.shape)
