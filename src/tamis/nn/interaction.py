"""Products of fields: what makes a pair of features count together."""

from __future__ import annotations

from torch import Tensor


def pairwise_sum(fields: Tensor) -> Tensor:
    """The sum of the inner products of all pairs of fields, in linear time.

    Shapes: [batch, fields, dim] -> [batch]
    Source: Rendle, Factorization Machines, ICDM 2010, lemma 3.1.
    """
    of_sum = fields.sum(dim=1).square()
    sum_of = fields.square().sum(dim=1)
    return 0.5 * (of_sum - sum_of).sum(dim=1)
