"""The softmax over candidates without its matrix of scores, for the CPU.

The gradient of a softmax loss for the queries is an attention: sum_j p_ij c_j, with the candidates as keys and
values and the correction as an additive mask. The gradient for the candidates is one as well, with the roles
swapped and each query's log-sum-exp as the mask. So two runs of the attention kernel that torch ships (blocked,
with a running maximum) give loss and both gradients, with a few megabytes of memory in place of several matrices
[batch, candidates], and in bfloat16 where the machine multiplies that fast.

Source of the blocking: Dao et al., FlashAttention, NeurIPS 2022, algorithm 1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def fused_softmax(
    query: Tensor, candidate: Tensor, positive: Tensor, bias: Tensor, scale: float, precision: torch.dtype
) -> Tensor:
    """Mean cross-entropy of `scale * query @ candidate.T + bias` at column `positive` of each row; see `losses`."""
    return _FusedSoftmax.apply(query, candidate, positive, bias, scale, precision)  # type: ignore[no-any-return, no-untyped-call] # torch leaves apply untyped


class _FusedSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, candidate: Tensor, positive: Tensor, bias: Tensor, scale: float, precision: torch.dtype
    ) -> Tensor:
        q_low, c_low = query.detach().to(precision), candidate.detach().to(precision)
        # the positive's vectors rounded like all others: so the loss is never negative, and 0 where nothing is left
        q, c = q_low.float(), c_low.float()
        expected_c, log_sum = _attend(q_low, c_low, bias, scale)
        own = c.index_select(0, positive)
        loss = (log_sum - scale * (q * own).sum(dim=1) - bias[positive]).mean()
        grad_q = (expected_c.float() - own).mul_(scale / len(q))
        # p_ij = exp(scale q_i c_j + b_j - l_i): over i it is a softmax times its own sum, exp(b_j + log_sum_j)
        expected_q, log_sum_c = _attend(c_low, q_low, -log_sum, scale)
        grad_c = expected_q.float() * (bias + log_sum_c).exp()[:, None]
        grad_c.index_add_(0, positive, q, alpha=-1.0).mul_(scale / len(q))
        ctx.save_for_backward(grad_q.to(query.dtype), grad_c.to(candidate.dtype))
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        grad_q, grad_c = ctx.saved_tensors
        return grads[0] * grad_q, grads[0] * grad_c, None, None, None, None


def _attend(queries: Tensor, keys: Tensor, column_bias: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """softmax(scale * queries @ keys.T + column_bias) @ keys, and the log of each row's sum."""
    mask = column_bias[None, None, None, :].expand(1, 1, len(queries), len(keys))
    out, log_sum = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        queries[None, None], keys[None, None], keys[None, None], 0.0, False, attn_mask=mask, scale=scale
    )
    return out[0, 0], log_sum.view(len(queries))
