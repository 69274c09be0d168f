"""Lists of any length as matrices with padding."""

from __future__ import annotations

import torch
from torch import Tensor


def padded(values: Tensor, offsets: Tensor, max_length: int | None = None) -> Tensor:
    """Row i holds its values in order, then zeros; of lists longer than `max_length` the last values stay.

    Shapes: values [values], offsets [rows + 1] -> [rows, longest list kept]
    """
    if torch.compiler.is_exporting():
        return _padded_in_a_graph(values, offsets, max_length)
    lengths = offsets.diff()
    starts = offsets[:-1]
    if max_length is not None:
        starts = offsets[1:] - lengths.clamp(max=max_length)
        lengths = lengths.clamp(max=max_length)
    width = int(lengths.max()) if len(lengths) else 0
    place = torch.arange(width, device=values.device)
    is_there = place < lengths[:, None]
    at = (starts[:, None] + place).clamp(max=max(len(values) - 1, 0))
    if not len(values):
        return values.new_zeros(len(lengths), width)
    return values[at].masked_fill(~is_there, 0)


def _padded_in_a_graph(values: Tensor, offsets: Tensor, max_length: int | None) -> Tensor:
    """The same without a look into the tensors, so as wide as all values together, or as `max_length`."""
    num_values = values.shape[0]
    width = num_values if max_length is None else torch.sym_min(num_values, max_length)  # type: ignore[no-untyped-call]
    starts = torch.maximum(offsets[:-1], offsets[1:] - width)
    at = starts[:, None] + torch.arange(width, device=values.device)
    found = torch.cat([values, values.new_zeros(1)])[at.clamp(max=num_values)]
    return found.masked_fill(at >= offsets[1:, None], 0)
