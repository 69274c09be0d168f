"""Sampled softmax and pairwise ranking, by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tamis.training.losses import bpr, sampled_softmax

QUERY = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
POSITIVE = torch.tensor([[1.0, 1.0], [3.0, 0.5]])  # own scores 1 and 1
NEGATIVE = torch.tensor([[0.0, 0.0], [2.0, 1.0]])  # scores 0, 2 and 0, 2
NO_HIT = torch.zeros(2, 2, dtype=torch.bool)


def test_sampled_softmax_by_hand() -> None:
    loss = sampled_softmax(QUERY, POSITIVE, NEGATIVE, NO_HIT)
    assert loss.item() == pytest.approx(math.log(math.e + 1 + math.exp(2)) - 1)


def test_sampled_softmax_divides_by_the_temperature() -> None:
    loss = sampled_softmax(QUERY, POSITIVE, NEGATIVE, NO_HIT, temperature=0.5)
    assert loss.item() == pytest.approx(math.log(math.exp(2) + 1 + math.exp(4)) - 2, rel=1e-6)


def test_sampled_softmax_takes_each_log_q_off_its_own_score() -> None:
    loss = sampled_softmax(
        QUERY[:1],
        POSITIVE[:1],
        NEGATIVE,
        NO_HIT[:1],
        positive_log_q=torch.tensor([0.5]).log(),
        negative_log_q=torch.tensor([0.25, 1.0]).log(),
    )
    own, first, second = math.e / 0.5, 1 / 0.25, math.exp(2)
    assert loss.item() == pytest.approx(-math.log(own / (own + first + second)))


def test_a_negative_that_is_the_querys_own_item_changes_nothing() -> None:
    with_own = torch.cat([NEGATIVE, POSITIVE[:1]])
    hit = torch.tensor([[False, False, True], [False, False, True]])
    for loss in (sampled_softmax, bpr):
        alone = loss(QUERY, POSITIVE, NEGATIVE, NO_HIT)
        assert loss(QUERY, POSITIVE, with_own, hit).item() == pytest.approx(alone.item())


def test_a_query_whose_negatives_are_all_its_own_item_costs_nothing() -> None:
    all_hits = torch.ones(2, 2, dtype=torch.bool)
    for loss in (sampled_softmax, bpr):
        query = QUERY.clone().requires_grad_()
        value = loss(query, POSITIVE, NEGATIVE, all_hits)
        value.backward()
        assert value.item() == 0.0
        assert query.grad is not None and query.grad.abs().max() == 0.0


def test_bpr_by_hand() -> None:
    """Margins of 1 and -1 for both queries: -ln sigmoid of them, averaged over the four pairs."""
    expected = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(1))) / 2
    assert bpr(QUERY, POSITIVE, NEGATIVE, NO_HIT).item() == pytest.approx(expected)


def test_bpr_averages_over_the_pairs_that_are_no_accident() -> None:
    hit = torch.tensor([[False, True], [True, True]])  # one pair is left, with a margin of 1
    assert bpr(QUERY, POSITIVE, NEGATIVE, hit).item() == pytest.approx(math.log(1 + math.exp(-1)))


@settings(max_examples=30, deadline=None)
@given(num_rows=st.integers(1, 20), num_negatives=st.integers(1, 20), seed=st.integers(0, 2**31))
def test_sampled_losses_are_those_of_a_python_loop(num_rows: int, num_negatives: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    query, positive = (torch.randn(num_rows, 5, generator=generator) for _ in range(2))
    negative = torch.randn(num_negatives, 5, generator=generator)
    hit = torch.rand(num_rows, num_negatives, generator=generator) < 0.3
    softmax, pairs = [], []
    for q, p, row in zip(query.double(), positive.double(), hit.tolist(), strict=True):
        scores = [(q @ n).item() for n, is_hit in zip(negative.double(), row, strict=True) if not is_hit]
        own = (q @ p).item()
        softmax.append(math.log(sum(math.exp(score - own) for score in [own, *scores])))
        pairs += [math.log1p(math.exp(score - own)) for score in scores]
    assert sampled_softmax(query, positive, negative, hit).item() == pytest.approx(
        sum(softmax) / len(softmax), rel=1e-4, abs=1e-6
    )
    expected = sum(pairs) / len(pairs) if pairs else 0.0
    assert bpr(query, positive, negative, hit).item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_sampled_softmax_over_the_whole_catalogue_is_the_full_softmax() -> None:
    generator = torch.Generator().manual_seed(1)
    query, candidate = torch.randn(6, 4, generator=generator), torch.randn(9, 4, generator=generator)
    positive = torch.tensor([0, 3, 3, 8, 1, 0])
    hit = positive[:, None] == torch.arange(9)
    full = F.cross_entropy(query @ candidate.T, positive)
    assert sampled_softmax(query, candidate[positive], candidate, hit).item() == pytest.approx(full.item(), rel=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_sampled_softmax_in_bfloat16_moves_nothing_by_more_than_a_hundredth(temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    positive, negative = (F.normalize(torch.randn(n, 32, generator=generator), dim=1) for n in (200, 150))
    query = F.normalize(torch.randn(200, 32, generator=generator) / 6 + positive, dim=1)
    hit = torch.zeros(200, 150, dtype=torch.bool)
    found = []
    for dtype in (torch.float32, torch.float64):
        q, n = (vectors.to(dtype).detach().clone().requires_grad_() for vectors in (query, negative))
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.float32):
            sampled_softmax(q, positive.to(dtype), n, hit, temperature=temperature).backward()
        assert q.grad is not None and n.grad is not None
        found.append((q.grad.double(), n.grad.double()))
    for low, exact in zip(*found, strict=True):
        assert (low - exact).norm() < 0.01 * exact.norm()
