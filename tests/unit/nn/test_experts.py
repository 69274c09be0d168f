"""Heads for several targets against the same written by hand."""

import math

import pytest
import torch

from tamis.errors import SettingError
from tamis.nn.experts import ESMM, PLE, MMoE, SharedBottom
from tamis.nn.mlp import MLPBlock
from tamis.nn.ranking_network import Heads, Reading

SMALL = MLPBlock([3], activation="tanh")
HIDDEN = torch.tensor([[0.5, -1.0], [2.0, 0.3]])


def test_plain_heads_are_one_line_each_and_add_the_bodys_logit() -> None:
    heads = Heads(2, ["a", "b"])
    assert heads.linear is not None
    expected = HIDDEN @ heads.linear.weight.T + heads.linear.bias + torch.tensor([[1.0], [2.0]])
    torch.testing.assert_close(heads(Reading(HIDDEN, torch.tensor([1.0, 2.0]))), expected)
    assert Heads(0, ["a"])(Reading(logit=torch.tensor([1.0, 2.0]))).tolist() == [[1.0], [2.0]]


def test_a_shared_bottom_gives_each_target_its_own_layers() -> None:
    heads = SharedBottom(SMALL).build(2, ["a", "b"])
    expected = torch.cat([tower(HIDDEN) for tower in heads.towers], dim=1)
    torch.testing.assert_close(heads(Reading(HIDDEN)), expected)


def test_experts_are_weighted_by_each_targets_gate() -> None:
    heads = MMoE(2, SMALL, SMALL).build(2, ["a", "b"])
    (layer,) = heads.layers
    experts = torch.stack([expert(HIDDEN) for expert in layer.shared])
    for target in range(2):
        gate = torch.softmax(layer.gates[target](HIDDEN), dim=1)
        mixed = gate[:, :1] * experts[0] + gate[:, 1:] * experts[1]
        torch.testing.assert_close(heads(Reading(HIDDEN))[:, target : target + 1], heads.towers.towers[target](mixed))


def test_layers_of_extraction_keep_other_targets_experts_out() -> None:
    """PLE by hand: two layers, one shared expert and one own expert a target."""
    heads = PLE(1, 1, 2, SMALL, SMALL).build(2, ["a", "b"])
    first, second = heads.layers

    def mixed(gate: torch.nn.Module, x: torch.Tensor, experts: list[torch.Tensor]) -> torch.Tensor:
        weights = torch.softmax(gate(x), dim=1)
        return sum(weights[:, i : i + 1] * expert for i, expert in enumerate(experts))  # type: ignore[return-value]

    shared, own = first.shared[0](HIDDEN), [expert(HIDDEN) for expert in first.own]
    streams = [mixed(first.gates[t], HIDDEN, [shared, own[t]]) for t in range(2)]
    common = mixed(first.shared_gate, HIDDEN, [shared, *own])
    shared = second.shared[0](common)
    for target in range(2):
        top = mixed(second.gates[target], streams[target], [shared, second.own[target](streams[target])])
        found = heads(Reading(HIDDEN))[:, target : target + 1]
        torch.testing.assert_close(found, heads.towers.towers[target](top))


def test_a_conversion_is_as_likely_as_click_times_conversion_after_it() -> None:
    heads = ESMM(SMALL).build(2, ["click", "conversion"])
    click, after = heads.towers(Reading(HIDDEN)).unbind(dim=1)
    found = torch.sigmoid(heads(Reading(HIDDEN)))
    torch.testing.assert_close(found[:, 0], torch.sigmoid(click))
    torch.testing.assert_close(found[:, 1], torch.sigmoid(click) * torch.sigmoid(after))


def test_a_certain_conversion_has_a_finite_logit_and_gradient() -> None:
    heads = ESMM(SMALL).build(2, ["click", "conversion"])
    logit = torch.tensor([60.0], requires_grad=True)
    found = heads(Reading(HIDDEN[:1], logit))
    found.sum().backward()
    assert math.isfinite(found[0, 1].item()) and found[0, 1] > 10
    assert logit.grad is not None and torch.isfinite(logit.grad).all()


def test_heads_that_cannot_be_are_refused() -> None:
    with pytest.raises(SettingError, match=r"ESMM: it wants two targets, .* but here are \['click'\]"):
        ESMM().build(2, ["click"])
    with pytest.raises(SettingError, match=r"MMoE: num_experts is 0\. Choose 1 or more"):
        MMoE(0)
    with pytest.raises(SettingError, match="PLE: num_own is 0"):
        PLE(num_own=0)
