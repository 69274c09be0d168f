"""The Open Inference Protocol over HTTP: requests and answers in JSON, with tensors as bytes behind it where wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from tamis.serving.tensors import Array, ProtocolError, TensorSpec, from_bytes, from_json, shown, to_bytes, to_json

HEADER_LENGTH = "Inference-Header-Content-Length"  # where the JSON ends and the bytes of tensors begin
EXTENSIONS = ("binary_tensor_data",)
_SIZE, _BINARY, _ALL_BINARY = "binary_data_size", "binary_data", "binary_data_output"
_LARGEST, _MOST_DIMENSIONS = 2**31 - 1, 8
_NOT_HERE = ("shared_memory_region", "classification", "sequence_id")  # extensions that change an answer


@dataclass(frozen=True)
class InferRequest:
    """A request, read and checked.

    Args:
        inputs: values by the tensor's name.
        outputs: what is wanted, in this order, and whether as bytes.
        id: to be told again.
        parameters: what the request says besides.
    """

    inputs: Mapping[str, Array]
    outputs: Mapping[str, bool]
    id: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


def read_request(
    body: bytes, header_length: str | None, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> InferRequest:
    """A request out of its body.

    Args:
        body: JSON, then the bytes of tensors.
        header_length: bytes of the JSON; None if there is nothing else.
        inputs: what the model takes.
        outputs: what it gives.

    Raises:
        ProtocolError: what is wrong, and where.
    """
    head, raw = _parted(body, header_length)
    told = _object(_loaded(head), "body")
    parameters = _parameters(told, "body")
    id_ = told.get("id")
    if id_ is not None and not isinstance(id_, str):
        raise ProtocolError(f"id: it is {shown(id_)}. Give a text.")
    found = _inputs(_list(told, "inputs"), raw, {spec.name: spec for spec in inputs})
    missing = [spec.name for spec in inputs if not spec.is_optional and spec.name not in found]
    if missing:
        raise ProtocolError(f"inputs: {missing} are missing. The model takes {_names(inputs)}.")
    wanted = _wanted(told, outputs, all_binary=bool(parameters.get(_ALL_BINARY, False)))
    return InferRequest(found, wanted, id_, parameters)


def _parted(body: bytes, header_length: str | None) -> tuple[memoryview, memoryview]:
    view = memoryview(body)
    if header_length is None:
        return view, view[len(view) :]
    if not (header_length.isascii() and header_length.isdigit()) or len(header_length) > 12:
        raise ProtocolError(f"header.{HEADER_LENGTH}: it is {shown(header_length)}. Give a number of bytes.")
    length = int(header_length)
    if length > len(view):
        raise ProtocolError(
            f"header.{HEADER_LENGTH}: the JSON should have {length:,} bytes, but the whole body has {len(view):,}."
        )
    return view[:length], view[length:]


def _loaded(head: memoryview) -> Any:
    try:
        return orjson.loads(head)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"body: it is no JSON: {error}.") from error


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ProtocolError(f"{where}: it is {shown(value)}. Give a JSON object.")
    return value


def _list(told: Mapping[str, Any], name: str) -> list[Any]:
    found = told.get(name, [])
    if not isinstance(found, list):
        raise ProtocolError(f"{name}: it is {shown(found)}. Give a list of tensors.")
    return found


def _parameters(told: Mapping[str, Any], where: str) -> dict[str, Any]:
    found = _object(told.get("parameters", {}), f"{where}.parameters")
    for name in _NOT_HERE:
        if found.get(name):
            raise ProtocolError(f"{where}.parameters.{name}: this server does not have it. Leave it out.")
    return found


def _inputs(tensors: Sequence[Any], raw: memoryview, known: Mapping[str, TensorSpec]) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for number, one in enumerate(tensors):
        told = _object(one, f"inputs.{number}")
        spec = _spec(told, known, f"inputs.{number}")
        where = f"inputs.{spec.name}"
        if spec.name in found:
            raise ProtocolError(f"{where}: it is given twice.")
        shape = _shape(told.get("shape"), where)
        spec.check(told.get("datatype"), shape, where)
        size = _parameters(told, where).get(_SIZE)
        if size is None:
            found[spec.name] = from_json(told.get("data"), spec.datatype, shape, where)
            continue
        if "data" in told:
            raise ProtocolError(f"{where}: it has data and {_SIZE}. Give one of them.")
        mine, raw = _taken(raw, size, where)
        found[spec.name] = from_bytes(mine, spec.datatype, shape, where)
    if len(raw):
        raise ProtocolError(f"body: {len(raw):,} bytes are left over behind the tensors.")
    return found


def _taken(raw: memoryview, size: object, where: str) -> tuple[memoryview, memoryview]:
    if type(size) is not int or size < 0:
        raise ProtocolError(f"{where}.parameters.{_SIZE}: it is {shown(size)}. Give a number of bytes.")
    if size > len(raw):
        raise ProtocolError(
            f"{where}.parameters.{_SIZE}: it is {size:,}, but {len(raw):,} bytes are left. Say in the header "
            f"{HEADER_LENGTH} where the JSON ends."
        )
    return raw[:size], raw[size:]


def _spec(told: Mapping[str, Any], known: Mapping[str, TensorSpec], where: str) -> TensorSpec:
    name = told.get("name")
    spec = known.get(name) if isinstance(name, str) else None
    if spec is None:
        raise ProtocolError(f"{where}: there is no tensor {shown(name)}. There are {_names(known.values())}.")
    return spec


def _shape(shape: object, where: str) -> list[int]:
    is_shape = isinstance(shape, list) and len(shape) <= _MOST_DIMENSIONS
    if not is_shape or not all(type(one) is int and 0 <= one <= _LARGEST for one in shape):  # type: ignore[attr-defined]
        raise ProtocolError(f"{where}: the shape is {shown(shape)}. Give a list of up to 8 whole numbers from 0.")
    return shape  # type: ignore[return-value]


def _wanted(told: Mapping[str, Any], outputs: Sequence[TensorSpec], *, all_binary: bool) -> dict[str, bool]:
    known = {spec.name: spec for spec in outputs}
    asked = _list(told, "outputs")
    if not asked:
        return dict.fromkeys(known, all_binary)
    found: dict[str, bool] = {}
    for number, one in enumerate(asked):
        output = _object(one, f"outputs.{number}")
        name = _spec(output, known, f"outputs.{number}").name
        if name in found:
            raise ProtocolError(f"outputs.{name}: it is asked for twice.")
        found[name] = bool(_parameters(output, f"outputs.{name}").get(_BINARY, all_binary))
    return found


def _names(specs: Any) -> list[str]:
    return [spec.name for spec in specs]


def write_answer(
    request: InferRequest,
    outputs: Mapping[str, Array],
    specs: Sequence[TensorSpec],
    *,
    model: str,
    version: str,
    parameters: Mapping[str, Any] | None = None,
) -> tuple[bytes, dict[str, str]]:
    """The body of an answer, and its headers.

    Args:
        request: what was asked.
        outputs: values by the tensor's name.
        specs: of all outputs.
        model: its name.
        version: that answered.
        parameters: what is said besides.
    """
    datatypes = {spec.name: spec.datatype for spec in specs}
    told, raw = [], []
    for name, is_binary in request.outputs.items():
        values, datatype = outputs[name], datatypes[name]
        one: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(values.shape)}
        if is_binary:
            raw.append(to_bytes(values, datatype))
            one["parameters"] = {_SIZE: len(raw[-1])}
        else:
            one["data"] = to_json(values, datatype)
        told.append(one)
    answer: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": told}
    answer |= {} if request.id is None else {"id": request.id}
    answer |= {"parameters": dict(parameters)} if parameters else {}
    head = orjson.dumps(answer)
    if not raw:
        return head, {"Content-Type": "application/json"}
    return b"".join([head, *raw]), {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(head))}
