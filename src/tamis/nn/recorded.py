"""A function of tensors as the list of its operations: without the time that Python takes to find them again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def recorded(function: Callable[..., Tensor], example: Sequence[Tensor]) -> Callable[..., Tensor] | None:
    """The operations that `function` does with tensors of these sizes, to be run with others of the same sizes.

    None where it looks into a tensor to decide what to do: then each call has to decide anew.
    """
    from torch.fx.experimental.proxy_tensor import make_fx  # takes a second to load

    try:
        with torch.no_grad():
            run: Callable[..., Tensor] = make_fx(function)(*example).forward
    except RuntimeError:  # the tracer's way to say that a value was asked for
        return None
    return run
