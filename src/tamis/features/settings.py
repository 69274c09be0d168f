"""Settings of ops as JSON and back: plain values, expressions, series."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import math
from collections.abc import Mapping
from typing import Any

import polars as pl

from tamis.errors import FormatError, NotSavableError
from tamis.features.ops.op import Op

_MARK = "$tamis"  # says that a JSON object stands for something else


def settings_of(op: Op) -> dict[str, Any]:
    """The op's fields as JSON can hold them, but for frames, which stay what they are.

    Raises:
        NotSavableError: a field holds something else, such as a function.
    """
    assert dataclasses.is_dataclass(op)
    name = type(op).__name__
    values = {field.name: getattr(op, field.name) for field in dataclasses.fields(op)}
    return {
        key: value if isinstance(value, pl.DataFrame) else to_json(value, where=f"Workflow.save: {key!r} of {name}")
        for key, value in values.items()
    }


def to_json(value: Any, *, where: str) -> Any:
    """The value as JSON can hold it."""
    if isinstance(value, float) and not math.isfinite(value):
        return {_MARK: "float", "value": str(value)}
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(one, where=where) for one in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {str(key): to_json(one, where=where) for key, one in value.items()}
    if isinstance(value, pl.Expr):
        return {_MARK: "expression", "polars": _expression(value, where)}
    if isinstance(value, pl.Series):
        return {_MARK: "series", "arrow": _arrow(value)}
    raise NotSavableError(
        f"{where} is {value!r}, a {type(value).__name__}, which a folder cannot hold. "
        "Give plain values or a Polars expression in its place."
    )


def from_json(value: Any, where: str) -> Any:
    """What `to_json` was given; sequences come back as tuples."""
    if isinstance(value, list):
        return tuple(from_json(one, where) for one in value)
    if not isinstance(value, dict):
        return value
    kind = value.get(_MARK)
    if kind is None:
        return {key: from_json(one, where) for key, one in value.items()}
    if kind == "expression":
        return _read_expression(value["polars"], where)
    if kind == "series":
        return pl.read_ipc(io.BytesIO(base64.b64decode(value["arrow"])))["value"]
    if kind == "float":
        return float(value["value"])
    raise FormatError(f"{where}: there is a value of the kind {kind!r} that this Tamis does not know. Upgrade Tamis.")


def _expression(expr: pl.Expr, where: str) -> Any:
    refused = NotSavableError(
        f"{where} calls a Python function inside an expression ({expr}), which a folder cannot hold. "
        "Write it with Polars expressions alone."
    )
    try:
        content = json.loads(expr.meta.serialize(format="json"))
    except Exception as error:  # Polars wants to pickle the function, and says so in several ways
        raise refused from error
    if _holds_python(content):
        raise refused
    return content


def _read_expression(content: Any, where: str) -> pl.Expr:
    if _holds_python(content):
        raise FormatError(f"{where}: an expression holds a pickled function, which is never run. Restore the folder.")
    try:
        return pl.Expr.deserialize(io.StringIO(json.dumps(content)), format="json")
    except Exception as error:
        raise FormatError(
            f"{where}: an expression was saved by a Polars that this one ({pl.__version__}) does not understand "
            f"({str(error).splitlines()[0]}). Save the workflow again with this version."
        ) from error


def _holds_python(content: Any, *, is_literal: bool = False) -> bool:
    """Whether a serialised expression may call a function that is not Polars' own.

    Polars writes such a function as the bytes of a pickle. Bytes that are values stand below a literal; any others are
    taken for a function, which errs on the safe side.
    """
    if isinstance(content, list):
        looks_like_bytes = len(content) > 3 and all(isinstance(one, int) for one in content)
        return (looks_like_bytes and not is_literal) or any(
            _holds_python(one, is_literal=is_literal) for one in content
        )
    if isinstance(content, dict):
        return any(
            "python" in key.lower()
            or "anonymous" in key.lower()
            or _holds_python(one, is_literal=is_literal or key == "Literal")
            for key, one in content.items()
        )
    return False


def _arrow(series: pl.Series) -> str:
    file = io.BytesIO()
    pl.DataFrame({"value": series}).write_ipc(file)
    return base64.b64encode(file.getvalue()).decode()
