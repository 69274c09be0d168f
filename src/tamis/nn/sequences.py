"""Lists of any length as matrices with padding."""

from __future__ import annotations

import torch
from torch import Tensor


def padded(values: Tensor, offsets: Tensor, max_length: int | None = None) -> Tensor:
    """Row i holds its values in order, then zeros; of lists longer than `max_length` the last values stay.

    Shapes: values [values], offsets [rows + 1] -> [rows, longest list kept]
    """
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
