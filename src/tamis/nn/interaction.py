"""Products of fields: what makes a pair of features count together."""

from __future__ import annotations

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
        self.register_buffer("pairs", rows * num_fields + columns, persistent=False)
        self.width = len(rows)

    def forward(self, fields: Tensor) -> Tensor:
        """The products of each row."""
        products = fields @ fields.transpose(1, 2)
        return products.flatten(1).index_select(1, self.get_buffer("pairs"))
