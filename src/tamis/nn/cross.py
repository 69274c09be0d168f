"""Feature crosses of bounded degree."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tamis.errors import SettingError
from tamis.nn.positive import need_positive


class CrossNetwork(nn.Module):
    """Feature crosses of degree up to `depth + 1`: x <- x0 * W(x) + x, once per layer.

    Args:
        width: of the input.
        depth: number of layers.
        low_rank: each W as a product of two matrices with this inner width; None is a full matrix.
        num_experts: of a low-rank W, so many mixed by a gate that looks at x; 1 is no mixture.

    Shapes: [batch, width] -> [batch, width]
    Source: Wang et al., DCN V2, WWW 2021, eq. 1 (full), 2 (low rank) and 3 to 4 (mixture).
    """

    def __init__(self, width: int, *, depth: int = 2, low_rank: int | None = None, num_experts: int = 1) -> None:
        super().__init__()
        need_positive(
            "CrossNetwork", depth=depth, low_rank=1 if low_rank is None else low_rank, num_experts=num_experts
        )
        if num_experts > 1 and low_rank is None:
            raise SettingError(f"CrossNetwork: {num_experts} experts want a low rank each. Give low_rank too.")
        layers: list[nn.Module] = []
        for _ in range(depth):
            if low_rank is None:
                layers.append(nn.Linear(width, width))
            elif num_experts == 1:
                layers.append(nn.Sequential(nn.Linear(width, low_rank, bias=False), nn.Linear(low_rank, width)))
            else:
                layers.append(_Mixture(width, low_rank, num_experts))
        self.layers = nn.ModuleList(layers)

    def forward(self, x0: Tensor) -> Tensor:
        """The crosses of a batch."""
        x = x0
        for layer in self.layers:
            x = x0 * layer(x) + x
        return x


class _Mixture(nn.Module):
    """Low-rank experts with a nonlinearity on either side of their inner matrix, and a gate that mixes them."""

    def __init__(self, width: int, low_rank: int, num_experts: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, num_experts * low_rank, bias=False)
        self.inner = nn.Parameter(torch.empty(num_experts, low_rank, low_rank))
        self.up = nn.Parameter(torch.empty(num_experts, low_rank, width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.gate = nn.Linear(width, num_experts, bias=False)
        for expert in (*self.inner, *self.up):  # one by one: of three dimensions the initialiser takes the wrong two
            nn.init.xavier_uniform_(expert)

    def forward(self, x: Tensor) -> Tensor:
        experts, rank, _ = self.up.shape
        low = torch.tanh(self.down(x)).view(-1, experts, rank)
        low = torch.tanh(torch.einsum("ber,ers->bes", low, self.inner))
        gates = torch.softmax(self.gate(x), dim=1)
        # The gates sum to 1, so one bias after the mixture is one bias in each expert.
        return torch.einsum("bes,esw->bw", low * gates[:, :, None], self.up) + self.bias
