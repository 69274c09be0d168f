"""Products of fields: what makes a pair of features count together."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def pairwise_sum(fields: Tensor) -> Tensor:
    """The sum of the inner products of all pairs of fields, in linear time.

    Shapes: [batch, fields, dim] -> [batch]
    Source: Rendle, Factorization Machines, ICDM 2010, lemma 3.1.
    """
    of_sum = fields.sum(dim=1).square()
    sum_of = fields.square().sum(dim=1)
    return 0.5 * (of_sum - sum_of).sum(dim=1)


class DotInteraction(nn.Module):
    """The inner products of all pairs of fields, each pair once.

    Shapes: [batch, fields, dim] -> [batch, fields * (fields - 1) / 2]
    Source: Naumov et al., Deep Learning Recommendation Model, 2019, section 2.2.
    """

    def __init__(self, num_fields: int) -> None:
        super().__init__()
        rows, columns = torch.tril_indices(num_fields, num_fields, offset=-1)
        self.width = len(rows)
        self.register_buffer("pairs", rows * num_fields + columns, persistent=False)
        pair_of = torch.zeros((num_fields, num_fields), dtype=torch.int64)  # the diagonal has none
        pair_of[rows, columns] = pair_of[columns, rows] = torch.arange(self.width)
        self.register_buffer("pair_of", pair_of.flatten(), persistent=False)

    def forward(self, fields: Tensor) -> Tensor:
        """The products of each row."""
        if torch.is_autocast_enabled(fields.device.type):  # once, not again for each use
            fields = fields.to(torch.get_autocast_dtype(fields.device.type))
        if torch.is_grad_enabled() and fields.requires_grad:
            pairs, pair_of = self.get_buffer("pairs"), self.get_buffer("pair_of")
            products: Tensor = _PairProducts.apply(fields, pairs, pair_of)  # type: ignore[no-untyped-call]
            return products
        return _products(fields, self.get_buffer("pairs"))


class _PairProducts(torch.autograd.Function):
    """The same, with a gradient of one product of matrices, where that of the plain operations takes two and a sum."""

    @staticmethod
    def forward(ctx: Any, fields: Tensor, pairs: Tensor, pair_of: Tensor) -> Tensor:
        ctx.save_for_backward(fields, pair_of)
        return _columns((fields @ fields.transpose(1, 2)).flatten(1), pairs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        fields, pair_of = ctx.saved_tensors
        batch, num_fields, _ = fields.shape
        if num_fields == 1:
            return torch.zeros_like(fields), None, None
        symmetric = _columns(gradient, pair_of).view(batch, num_fields, num_fields)
        symmetric.diagonal(dim1=1, dim2=2).zero_()
        return symmetric @ fields, None, None


def _columns(values: Tensor, index: Tensor) -> Tensor:
    """Columns of a matrix. Those of numbers of two bytes torch's own operation takes one by one on a CPU."""
    if values.is_cpu and values.element_size() == 2:
        taken = np.take(values.contiguous().view(torch.int16).numpy(), index.numpy(), axis=1, mode="clip")
        return torch.from_numpy(taken).view(values.dtype)
    return values.index_select(1, index)


def _products(fields: Tensor, pairs: Tensor) -> Tensor:
    return (fields @ fields.transpose(1, 2)).flatten(1).index_select(1, pairs)
