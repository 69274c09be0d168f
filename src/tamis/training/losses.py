"""Losses of retrieval: softmax over sampled candidates with their sampling corrected, and pairwise ranking."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tamis.training.fused_softmax import fused_softmax


def candidate_softmax(
    query: Tensor,
    candidate: Tensor,
    positive: Tensor,
    *,
    log_q: Tensor | None = None,
    temperature: float = 1.0,
    precision: torch.dtype = torch.float32,
) -> Tensor:
    """Cross-entropy of finding each query's own candidate among distinct candidates.

    Each candidate stands there once, so no query meets its own positive as a negative (an accidental hit). `log_q`
    takes the advantage out of candidates that are often there; the positive's own score is corrected too: if
    candidates are there independently with probabilities Q, the chance that the query chose t, given the set S that
    was there, is proportional to exp(score_t) * prod(Q_j for j in S without t), so to exp(score_t - ln Q_t).

    Args:
        query: [batch, dim]
        candidate: [candidates, dim], distinct.
        positive: [batch], the row of `candidate` that belongs to each query.
        log_q: [candidates], natural log of each one's probability to be there.
        temperature: > 0, divides the scores before the correction.
        precision: of the matrix products; sums and the loss stay in float32.

    Returns: scalar, mean over the batch, in nats.
    Source: Yi et al., Sampling-Bias-Corrected Neural Modeling, RecSys 2019, eq. 4 and 5.
    """
    bias = torch.zeros(len(candidate), device=query.device) if log_q is None else -log_q
    if query.device.type == "cpu":
        return fused_softmax(query, candidate, positive, bias, 1.0 / temperature, precision)
    scores = (query.to(precision) @ candidate.to(precision).T).float() / temperature + bias
    return F.cross_entropy(scores, positive)


def sampled_softmax(
    query: Tensor,
    positive: Tensor,
    negative: Tensor,
    accidental_hit: Tensor,
    *,
    positive_log_q: Tensor | None = None,
    negative_log_q: Tensor | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """Cross-entropy of finding each query's own candidate among it and negatives shared by all queries.

    Args:
        query: [batch, dim]
        positive: [batch, dim]
        negative: [negatives, dim], distinct.
        accidental_hit: [batch, negatives], true where the negative is the query's own positive.
        positive_log_q: [batch], natural log of the probability that the positive is drawn as a negative.
        negative_log_q: [negatives], the same of the negatives.
        temperature: > 0, divides the scores before the correction.

    Returns: scalar, mean over the batch, in nats.
    Source: Bengio and Senécal, Adaptive Importance Sampling, 2008; Yi et al., RecSys 2019.
    """
    own = (query * positive).sum(dim=1) / temperature
    others = query @ negative.T / temperature
    if positive_log_q is not None and negative_log_q is not None:
        own, others = own - positive_log_q, others - negative_log_q
    others = others.masked_fill(accidental_hit, float("-inf"))
    scores = torch.cat([own[:, None], others], dim=1)
    return F.cross_entropy(scores, torch.zeros(len(query), dtype=torch.long, device=query.device))


def bpr(query: Tensor, positive: Tensor, negative: Tensor, accidental_hit: Tensor) -> Tensor:
    """Bayesian personalised ranking: -ln sigmoid(positive - negative score), over all pairs that are no accident.

    Shapes as in `sampled_softmax`. Returns: scalar, mean over the pairs, in nats; 0 when every pair is an accident.
    Source: Rendle et al., BPR, UAI 2009, section 4.1.
    """
    margin = (query * positive).sum(dim=1)[:, None] - query @ negative.T
    pair = F.softplus(-margin).masked_fill(accidental_hit, 0.0)
    return pair.sum() / (~accidental_hit).sum().clamp(min=1)
