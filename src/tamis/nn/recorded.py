"""A function of tensors as the list of its operations: without the time that Python takes to find them again."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

_RUNS_BEFORE_USE = 3  # the interpreter looks at the first two to make the rest faster


def recorded(function: Callable[..., Tensor], example: Sequence[Tensor]) -> Callable[..., Tensor] | None:
    """The operations that `function` does with tensors of these sizes and types, to be run with others of the same.

    None where it looks into a tensor to decide what to do: then each call has to decide anew.
    """
    from torch.fx.experimental.proxy_tensor import make_fx  # takes a second to load

    try:
        with torch.no_grad():
            operations = make_fx(function)(*example)
    except RuntimeError:  # the tracer's way to say that a value was asked for
        return None
    return _interpreted(operations, example)


def _interpreted(operations: torch.fx.GraphModule, example: Sequence[Tensor]) -> Callable[..., Tensor]:
    """The same run by torch's own interpreter, which takes a third of Python's time for each operation.

    It is on its way out of torch, and does not know all operations: without it, Python runs them.
    """
    in_python: Callable[..., Tensor] = operations.forward
    if not hasattr(torch.jit, "trace"):
        return in_python
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            traced: Any = torch.jit.trace(operations, tuple(example), check_trace=False)  # type: ignore[no-untyped-call]
            run: Callable[..., Tensor] = torch.jit.freeze(traced.eval())
        for _ in range(_RUNS_BEFORE_USE):
            run(*example)
    except RuntimeError:
        return in_python
    return run
