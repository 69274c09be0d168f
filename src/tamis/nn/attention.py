"""Attention: of a row's fields to each other, and of a candidate to what was chosen before."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tamis.nn.positive import need_positive


class FieldAttention(nn.Module):
    """Each field becomes a mixture of all fields, weighted by how much they have to do with it.

    Args:
        dim: width of the incoming fields.
        head_dim: width of a head.
        num_heads: mixtures side by side.

    Shapes: [batch, fields, dim] -> [batch, fields, num_heads * head_dim]
    Source: Song et al., AutoInt, CIKM 2019, eq. 5 to 8.
    """

    def __init__(self, dim: int, *, head_dim: int = 16, num_heads: int = 2) -> None:
        super().__init__()
        need_positive("FieldAttention", head_dim=head_dim, num_heads=num_heads)
        self.num_heads, self.width = num_heads, num_heads * head_dim
        self.query_key_value = nn.Linear(dim, 3 * self.width, bias=False)
        self.residual = nn.Linear(dim, self.width, bias=False)

    def forward(self, fields: Tensor) -> Tensor:
        """The mixtures of each row."""
        batch, num_fields, _ = fields.shape
        parts = self.query_key_value(fields).view(batch, num_fields, 3, self.num_heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each [batch, heads, fields, head_dim]
        # The paper's scores are plain inner products, without the division by the root of the width.
        mixed = _attended(query, key, value)
        added: Tensor = mixed.transpose(1, 2).flatten(2) + self.residual(fields)
        return F.relu(added)


def _attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    if torch.compiler.is_exporting():  # the fused operation would make the traced number of rows a constant
        return torch.softmax(query @ key.transpose(2, 3), dim=3) @ value
    return F.scaled_dot_product_attention(query, key, value, scale=1.0)


class TargetAttention(nn.Module):
    """One vector for a history: its vectors weighted by a small network that sees each beside the candidate.

    The weights do not sum to 1, so that a strong interest gives a long vector; padding has the weight 0.

    Args:
        dim: width of the vectors.
        hidden: width of the network's hidden layer.

    Shapes: candidate [batch, dim], history [batch, length, dim], is_there [batch, length] -> [batch, dim]
    Source: Zhou et al., Deep Interest Network, KDD 2018, eq. 3.
    """

    def __init__(self, dim: int, *, hidden: int = 36) -> None:
        super().__init__()
        need_positive("TargetAttention", hidden=hidden)
        self.weight = nn.Sequential(nn.Linear(4 * dim, hidden), nn.PReLU(), nn.Linear(hidden, 1))

    def forward(self, candidate: Tensor, history: Tensor, is_there: Tensor) -> Tensor:
        """The weighted sum for each row."""
        beside = candidate[:, None, :].expand_as(history)
        pairs = torch.cat([beside, history, beside - history, beside * history], dim=2)
        weights = self.weight(pairs) * is_there[:, :, None]
        total: Tensor = (weights * history).sum(dim=1)
        return total
