"""Losses of rows that compete with the others of their slate: in pairs, or for a share of the choice."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

POINTWISE, BPR, SOFTMAX = "pointwise", "bpr", "softmax"
LOSSES = (POINTWISE, BPR, SOFTMAX)


def slate_softmax(score: Tensor, label: Tensor, slate: Tensor, weight: Tensor | None = None) -> Tensor:
    """Cross-entropy of each slate's positives under the softmax of its scores, mean over the slates.

    For a slate with scores s and labels y of 0 and 1: -sum_i y_i / sum_j y_j * ln(exp(s_i) / sum_j exp(s_j)). Each of
    several positives is thus to get the same share. A slate without a positive or without a negative has no part.

    A row of weight w counts within its slate as w equal rows: ln w is added to its score in the sum over j, and y_i
    becomes w_i * y_i. A slate counts with the mean weight of its positives, so a weight that all rows of a slate have
    in common is the slate's own, and a row of weight 0 is not there.

    Args:
        score: [rows]
        label: [rows], 0 or 1.
        slate: [rows], equal whole numbers for rows of one slate.
        weight: [rows], 0 or more; all alike where it is not given.

    Returns: scalar, in nats; 0 where no slate has a part.
    Source: Bruch et al., An Analysis of the Softmax Cross Entropy Loss for Learning-to-Rank with Binary Relevance,
    ICTIR 2019; as ListNet (Cao et al., ICML 2007) for the first place, with shares of the labels themselves, not of
    their exponentials, so that a negative is to get nothing.
    """
    rows = _competing(score, label, slate, weight)
    if rows is None:
        return 0.0 * score.sum()
    highest = rows.score.new_full((rows.num_slates,), float("-inf"))
    highest = highest.scatter_reduce(0, rows.slate, rows.score.detach(), "amax")
    whole = _sums(rows.weight * (rows.score - highest[rows.slate]).exp(), rows).log() + highest
    share = rows.weight * rows.label / rows.positive_weight[rows.slate]
    loss = _sums(share * (whole[rows.slate] - rows.score), rows)
    return (rows.importance * loss).sum() / rows.importance.sum()


def slate_bpr(score: Tensor, label: Tensor, slate: Tensor, weight: Tensor | None = None) -> Tensor:
    """Bayesian personalised ranking: the mean of -ln sigmoid(s_i - s_j) over a slate's pairs of a positive i and a
    negative j, mean over the slates.

    Over slates that are users, this is the mean AUC of the users with ln sigmoid in the place of the step. A slate
    without a positive or without a negative has no pair and no part.

    Weights, shapes and the result are those of `slate_softmax`: a pair counts with the product of its rows' weights.
    Takes memory for each pair, so for at most a quarter of the squared rows.

    Source: Rendle et al., BPR, UAI 2009, section 4.1 and its analogy to AUC.
    """
    rows = _competing(score, label, slate, weight)
    if rows is None:
        return 0.0 * score.sum()
    positive, negative = _pairs(rows)
    loss = F.softplus(rows.score[negative] - rows.score[positive])
    by_slate = (rows.importance / (rows.positive_weight * rows.negative_weight))[rows.slate[positive]]
    weighted = by_slate * rows.weight[positive] * rows.weight[negative] * loss
    return weighted.sum() / rows.importance.sum()


SLATE_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]] = {
    BPR: slate_bpr,
    SOFTMAX: slate_softmax,
}


class _Rows(NamedTuple):
    """Rows with a weight, of slates with both classes: [rows] each, and figures of the slates: [slates] each."""

    score: Tensor
    label: Tensor
    weight: Tensor
    slate: Tensor  # numbered from 0
    positive_weight: Tensor
    negative_weight: Tensor
    importance: Tensor  # the mean weight of its positives

    @property
    def num_slates(self) -> int:
        return len(self.importance)


def _competing(score: Tensor, label: Tensor, slate: Tensor, weight: Tensor | None) -> _Rows | None:
    weight = torch.ones_like(score) if weight is None else weight.to(score.dtype)
    label = label.to(score.dtype)
    distinct, number = torch.unique(slate, return_inverse=True)
    counts = score.new_zeros(2, len(distinct))
    is_there = (weight > 0).to(score.dtype)
    counts[0].index_add_(0, number, label * is_there)
    counts[1].index_add_(0, number, (1 - label) * is_there)
    competes = (counts > 0).all(dim=0)
    kept = torch.nonzero(competes[number] & (weight > 0)).flatten()
    if not len(kept):
        return None
    number = (competes.cumsum(0) - 1)[number[kept]]
    score, label, weight = score[kept], label[kept], weight[kept]
    sums = score.new_zeros(2, int(competes.sum()))
    sums[0].index_add_(0, number, label * weight)
    sums[1].index_add_(0, number, (1 - label) * weight)
    return _Rows(score, label, weight, number, sums[0], sums[1], sums[0] / counts[0, competes])


def _sums(values: Tensor, rows: _Rows) -> Tensor:
    """The sum over each slate's rows: [slates]."""
    return values.new_zeros(rows.num_slates).index_add(0, rows.slate, values)


def _pairs(rows: _Rows) -> tuple[Tensor, Tensor]:
    """Each pair of a positive and a negative row of one slate: the rows of the two."""
    is_positive = rows.label > 0
    # Slate by slate, the positives of each before its negatives.
    order = torch.argsort(rows.slate * 2 + (~is_positive), stable=True)
    positives = order[is_positive[order]]
    size = torch.bincount(rows.slate, minlength=rows.num_slates)
    num_negatives = torch.bincount(rows.slate[~is_positive], minlength=rows.num_slates)
    first_negative = size.cumsum(0) - num_negatives
    slate = rows.slate[positives]
    repeats = num_negatives[slate]
    start = first_negative[slate] - (repeats.cumsum(0) - repeats)
    place = torch.repeat_interleave(start, repeats)
    place = place + torch.arange(len(place), device=place.device)
    return torch.repeat_interleave(positives, repeats), order[place]
