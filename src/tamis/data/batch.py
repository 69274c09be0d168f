"""What a model sees at once: tensors by column name, targets apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

VALUES = "__values"
OFFSETS = "__offsets"


@dataclass(frozen=True)
class Batch:
    """Rows as tensors by column name.

    A scalar column `c` is `features["c"]` [rows]; a column of vectors of one length is `features["c"]` [rows, width];
    a list column is `features["c__values"]` [values] and `features["c__offsets"]` [rows + 1], where row i holds the
    values from `offsets[i]` up to `offsets[i + 1]`. Targets look the same. Scalar columns may be strided views of
    one matrix: whoever writes into one copies it first.
    """

    features: Mapping[str, Tensor]
    targets: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        for tensors in (self.features, self.targets):
            for name, tensor in tensors.items():
                if name.endswith(OFFSETS):
                    return len(tensor) - 1
                if not name.endswith(VALUES):
                    return len(tensor)
        return 0

    def take(self, rows: Tensor) -> Batch:
        """These rows, in the order given: rows [n], whole numbers."""
        return Batch(take_rows(self.features, rows), take_rows(self.targets, rows))

    def to(self, device: torch.device | str) -> Batch:
        """The same rows on another device."""
        return Batch(_moved(self.features, device), _moved(self.targets, device))


def _moved(tensors: Mapping[str, Tensor], device: torch.device | str) -> dict[str, Tensor]:
    return {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}


def take_rows(tensors: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """The given rows of every column, lists included, in the order given."""
    taken: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith(OFFSETS):
            column = name.removesuffix(OFFSETS)
            lengths = tensor.diff()[rows]
            offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
            # position of each value: the start of its row in the source, plus its place within the row
            shift = torch.repeat_interleave(tensor[:-1][rows] - offsets[:-1], lengths)
            at = shift + torch.arange(int(offsets[-1]), device=tensor.device)
            taken[column + VALUES] = tensors[column + VALUES][at]
            taken[name] = offsets
        elif not name.endswith(VALUES):
            taken[name] = tensor[rows]
    return taken


def join_rows(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The rows of the first, then those of the second, which has the same columns, lists included."""
    joined: dict[str, Tensor] = {}
    for name, tensor in first.items():
        more = second[name]
        joined[name] = torch.cat([tensor, more[1:] + tensor[-1]] if name.endswith(OFFSETS) else [tensor, more])
    return joined
