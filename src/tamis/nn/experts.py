"""Several targets over one body: what they share and what each has for itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tamis.errors import SettingError
from tamis.nn.mlp import MLPBlock
from tamis.nn.positive import need_positive
from tamis.nn.ranking_network import Reading

_TOWER, _EXPERT = MLPBlock((64,)), MLPBlock((128,))


@dataclass(frozen=True)
class SharedBottom:
    """Each target has dense layers of its own over the one hidden layer.

    Source: Caruana, Multitask Learning, Machine Learning 1997.
    """

    tower: MLPBlock = _TOWER

    def build(self, width: int, targets: Sequence[str]) -> nn.Module:
        """Heads over a hidden layer of this width."""
        return _Towers(self.tower, [width] * len(targets))


@dataclass(frozen=True)
class MMoE:
    """Experts that all targets share, mixed by a gate of each target's own.

    Source: Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts, KDD 2018,
    eq. 6 and 7.
    """

    num_experts: int = 4
    expert: MLPBlock = _EXPERT
    tower: MLPBlock = _TOWER

    def __post_init__(self) -> None:
        need_positive("MMoE", num_experts=self.num_experts)

    def build(self, width: int, targets: Sequence[str]) -> nn.Module:
        """Heads over a hidden layer of this width."""
        # A layer of PLE without experts of the targets' own is exactly this.
        return _Extraction(self, width, len(targets), num_shared=self.num_experts, num_own=0, num_layers=1)


@dataclass(frozen=True)
class PLE:
    """Shared experts and some of each target's own, in layers that pull the two apart step by step.

    With one layer this is CGC.

    Source: Tang et al., Progressive Layered Extraction, RecSys 2020, eq. 1 to 6.
    """

    num_shared: int = 2
    num_own: int = 2
    num_layers: int = 2
    expert: MLPBlock = _EXPERT
    tower: MLPBlock = _TOWER

    def __post_init__(self) -> None:
        need_positive("PLE", num_shared=self.num_shared, num_own=self.num_own, num_layers=self.num_layers)

    def build(self, width: int, targets: Sequence[str]) -> nn.Module:
        """Heads over a hidden layer of this width."""
        return _Extraction(
            self, width, len(targets), num_shared=self.num_shared, num_own=self.num_own, num_layers=self.num_layers
        )


@dataclass(frozen=True)
class ESMM:
    """A chain of events: the second happens only after the first, so its chance is the product of two.

    The first target is the click, the second the conversion, which is 0 wherever the click is. The conversion after a
    click is learned from all impressions, not from the clicked ones alone, which are a biased sample. The second
    target's score is the chance of click and conversion.

    Args:
        tower: the dense layers of each of the two.

    Source: Ma et al., Entire Space Multi-Task Model, SIGIR 2018, eq. 2 and 3.
    """

    tower: MLPBlock = _TOWER

    def build(self, width: int, targets: Sequence[str]) -> nn.Module:
        """Heads over a hidden layer of this width."""
        if len(targets) != 2:
            raise SettingError(
                f"ESMM: it wants two targets, a click and what follows it, but here are {list(targets)}. Leave two."
            )
        return _Chain(_Towers(self.tower, [width] * 2))


HeadSettings: TypeAlias = SharedBottom | MMoE | PLE | ESMM


class _Towers(nn.Module):
    """Dense layers and a logit for each target; hidden layers [batch, width] each -> logits [batch, targets]."""

    def __init__(self, tower: MLPBlock, widths: Sequence[int]) -> None:
        super().__init__()
        self.towers = nn.ModuleList(
            nn.Sequential(tower.build(width), nn.Linear(tower.dimensions[-1], 1)) for width in widths
        )

    def forward(self, reading: Reading) -> Tensor:
        return self.of([reading.hidden] * len(self.towers), reading)

    def of(self, hidden: Sequence[Tensor | None], reading: Reading) -> Tensor:
        logits = torch.cat([tower(one) for tower, one in zip(self.towers, hidden, strict=True)], dim=1)
        return logits if reading.logit is None else logits + reading.logit[:, None]


class _Chain(nn.Module):
    """Logits of click, and of click and conversion."""

    def __init__(self, towers: _Towers) -> None:
        super().__init__()
        self.towers = towers

    def forward(self, reading: Reading) -> Tensor:
        click, conversion = self.towers(reading).float().unbind(dim=1)
        both = F.logsigmoid(click) + F.logsigmoid(conversion)  # ln of the product of the chances
        # The logit of a chance p is ln p - ln(1 - p). Rounding must not make p = 1, where that is infinite.
        rest = torch.log(-torch.expm1(both.clamp(max=-1e-7)))
        return torch.stack([click, both - rest], dim=1)


class _Extraction(nn.Module):
    """Layers of experts, shared and each target's own, with gates; then a tower for each target."""

    def __init__(
        self, settings: MMoE | PLE, width: int, num_targets: int, *, num_shared: int, num_own: int, num_layers: int
    ) -> None:
        super().__init__()
        layers = []
        for i in range(num_layers):
            is_last = i == num_layers - 1
            layers.append(_ExpertLayer(settings.expert, width, num_targets, num_shared, num_own, is_last=is_last))
            width = settings.expert.dimensions[-1]
        self.layers = nn.ModuleList(layers)
        self.towers = _Towers(settings.tower, [width] * num_targets)
        self.num_targets = num_targets

    def forward(self, reading: Reading) -> Tensor:
        assert reading.hidden is not None
        streams = [reading.hidden] * (self.num_targets + 1)  # one for each target, and the shared one
        for layer in self.layers:
            streams = layer(streams)
        return self.towers.of(streams[: self.num_targets], reading)


class _ExpertLayer(nn.Module):
    """Streams in, streams out: each is a mixture of the experts that it may see."""

    def __init__(
        self, expert: MLPBlock, width: int, num_targets: int, num_shared: int, num_own: int, *, is_last: bool
    ) -> None:
        super().__init__()
        self.shared = nn.ModuleList(expert.build(width) for _ in range(num_shared))
        self.own = nn.ModuleList(expert.build(width) for _ in range(num_targets * num_own))
        self.num_own: int = num_own
        num_all = num_shared + num_own * num_targets
        self.gates = nn.ModuleList(nn.Linear(width, num_shared + num_own) for _ in range(num_targets))
        self.shared_gate = None if is_last else nn.Linear(width, num_all)

    def forward(self, streams: list[Tensor]) -> list[Tensor]:
        shared = [expert(streams[-1]) for expert in self.shared]
        experts = list(self.own)
        own = [
            [expert(x) for expert in experts[target * self.num_own : (target + 1) * self.num_own]]
            for target, x in enumerate(streams[:-1])
        ]
        gates = zip(self.gates, own, streams[:-1], strict=True)
        out = [_mixed(gate(stream), [*shared, *mine]) for gate, mine, stream in gates]
        if self.shared_gate is not None:
            out.append(_mixed(self.shared_gate(streams[-1]), [*shared, *(one for mine in own for one in mine)]))
        return out


def _mixed(gate: Tensor, experts: list[Tensor]) -> Tensor:
    """Experts [batch, width] each, weighted by the softmax of the gate [batch, experts]."""
    weights = torch.softmax(gate, dim=1)[:, :, None]
    return (torch.stack(experts, dim=1) * weights).sum(dim=1)
