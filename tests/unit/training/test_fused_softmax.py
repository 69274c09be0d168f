"""The softmax without its matrix, against cross-entropy in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tamis.training.fused_softmax import fused_softmax
from tamis.training.losses import candidate_softmax


def in_float64(
    query: Tensor, candidate: Tensor, positive: Tensor, bias: Tensor, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss and both gradients by plain mathematics."""
    q, c = query.double().requires_grad_(), candidate.double().requires_grad_()
    loss = F.cross_entropy(scale * (q @ c.T) + bias.double(), positive)
    loss.backward()
    assert q.grad is not None and c.grad is not None
    return loss.detach(), q.grad, c.grad


def fused(
    query: Tensor, candidate: Tensor, positive: Tensor, bias: Tensor, scale: float, precision: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    q, c = query.clone().requires_grad_(), candidate.clone().requires_grad_()
    loss = fused_softmax(q, c, positive, bias, scale, precision)
    loss.backward()
    assert q.grad is not None and c.grad is not None
    return loss.detach(), q.grad, c.grad


def world(
    num_rows: int, num_candidates: int, dim: int, *, score: float = 3.0, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    """Random vectors of length 1, so scores lie within `score`; positives repeat."""
    generator = torch.Generator().manual_seed(seed)
    query = F.normalize(torch.randn(num_rows, dim, generator=generator), dim=1)
    candidate = F.normalize(torch.randn(num_candidates, dim, generator=generator), dim=1)
    positive = torch.randint(num_candidates, (num_rows,), generator=generator)
    bias = 4 * torch.rand(num_candidates, generator=generator)
    return query, candidate, positive, bias, score


def error(found: Tensor, truth: Tensor) -> float:
    return ((found.double() - truth).norm() / truth.norm().clamp(min=1e-12)).item()


@pytest.mark.parametrize("score", [1.0, 10.0, 50.0])
@pytest.mark.parametrize(("precision", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_loss_and_gradients_are_those_of_float64(score: float, precision: torch.dtype, bound: float) -> None:
    given_ = world(300, 170, 64, score=score)
    for found, truth in zip(fused(*given_, precision), in_float64(*given_), strict=True):
        assert error(found, truth) < bound


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_vectors_far_from_length_one_overflow_nothing(precision: torch.dtype) -> None:
    query, candidate, positive, bias, _ = world(40, 30, 16)
    given_ = (60 * query, 60 * candidate, positive, bias, 1.0)  # scores up to 3,600: exp of them is infinite
    bound = 1e-4 if precision == torch.float32 else 5e-2
    for found, truth in zip(fused(*given_, precision), in_float64(*given_), strict=True):
        assert torch.isfinite(found).all()
        assert error(found, truth) < bound


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_one_candidate_leaves_nothing_to_learn(precision: torch.dtype) -> None:
    query, candidate, positive, bias, scale = world(5, 1, 8)
    loss, grad_q, grad_c = fused(query, candidate, positive, bias, scale, precision)
    tolerance = 1e-6 if precision == torch.float32 else 1e-2
    assert loss.item() == pytest.approx(0.0, abs=tolerance)
    assert grad_q.abs().max() < tolerance and grad_c.abs().max() < tolerance


def test_a_query_that_has_found_its_candidate_stays_where_it_is_in_bfloat16_too() -> None:
    """The rounding of the vectors must not push where the exact gradient is 0."""
    query, candidate, positive, bias, _ = world(64, 64, 32)
    query, positive = candidate.clone(), torch.arange(64)
    loss, grad_q, grad_c = fused(query, candidate, positive, bias * 0, 200.0, torch.bfloat16)
    assert loss.item() == pytest.approx(0.0, abs=1e-3)
    step = 200.0 / 64  # what a full error of one row would be
    assert grad_q.abs().max() < 1e-3 * step and grad_c.abs().max() < 1e-3 * step


def test_one_row_is_a_batch() -> None:
    given_ = world(1, 7, 4)
    for found, truth in zip(fused(*given_, torch.float32), in_float64(*given_), strict=True):
        assert error(found, truth) < 1e-5


def test_two_equal_candidates_cost_the_log_of_two() -> None:
    loss, grad_q, grad_c = fused(
        torch.tensor([[1.0, 0.0]]),
        torch.tensor([[2.0, 1.0], [2.0, 1.0]]),
        torch.tensor([0]),
        torch.zeros(2),
        1.0,
        torch.float32,
    )
    assert loss.item() == pytest.approx(math.log(2))
    assert grad_q.tolist() == [[0.0, 0.0]]  # half of each, minus the own: the same vector
    assert grad_c.tolist() == [[-0.5, 0.0], [0.5, 0.0]]


def test_the_gradient_follows_what_comes_after_the_loss() -> None:
    query, candidate, positive, bias, scale = world(9, 6, 4)
    q = query.clone().requires_grad_()
    (3.0 * fused_softmax(q, candidate, positive, bias, scale, torch.float32)).backward()
    assert q.grad is not None
    assert error(q.grad, 3.0 * in_float64(query, candidate, positive, bias, scale)[1]) < 1e-5


def test_finite_differences_agree_with_the_gradient() -> None:
    query, candidate, positive, bias, scale = world(6, 5, 3, score=2.0)
    _, grad_q, grad_c = fused(query, candidate, positive, bias, scale, torch.float32)
    step = 1e-2
    for vectors, gradient in ((query, grad_q), (candidate, grad_c)):
        for row, column in [(0, 0), (2, 1), (4, 2)]:
            losses = []
            for sign in (1, -1):
                vectors[row, column] += sign * step
                losses.append(fused_softmax(query, candidate, positive, bias, scale, torch.float32).item())
                vectors[row, column] -= sign * step
            assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(gradient[row, column].item(), abs=2e-4)


@settings(max_examples=60, deadline=None)
@given(
    num_rows=st.integers(1, 70),
    num_candidates=st.integers(1, 70),
    dim=st.integers(1, 40),
    score=st.floats(0.1, 40.0),
    seed=st.integers(0, 2**31),
)
def test_any_shape_gives_what_float64_gives(
    num_rows: int, num_candidates: int, dim: int, score: float, seed: int
) -> None:
    given_ = world(num_rows, num_candidates, dim, score=score, seed=seed)
    for found, truth in zip(fused(*given_, torch.float32), in_float64(*given_), strict=True):
        assert (found.double() - truth).norm() <= 1e-5 * truth.norm() + 2e-6 * score


def test_candidate_softmax_divides_by_the_temperature_and_takes_log_q_off() -> None:
    """Two candidates with scores 1 and 0 at temperature 0.5: 2 and 0; minus ln Q: 2 - ln .5 and 0 - ln .25."""
    loss = candidate_softmax(
        torch.tensor([[1.0, 0.0]]),
        torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        torch.tensor([1]),
        log_q=torch.tensor([0.5, 0.25]).log(),
        temperature=0.5,
    )
    first, second = math.exp(2) / 0.5, 1 / 0.25
    assert loss.item() == pytest.approx(-math.log(second / (first + second)))


def test_candidate_softmax_without_log_q_is_plain_cross_entropy() -> None:
    query, candidate, positive, _, _ = world(20, 9, 5)
    loss = candidate_softmax(query, candidate, positive, temperature=0.1)
    assert loss.item() == pytest.approx(F.cross_entropy(query @ candidate.T / 0.1, positive).item(), rel=1e-5)


def test_vectors_in_bfloat16_get_gradients_in_bfloat16() -> None:
    query, candidate, positive, bias, scale = world(8, 8, 4)
    q = query.bfloat16().requires_grad_()
    fused_softmax(q, candidate, positive, bias, scale, torch.float32).backward()
    assert q.grad is not None and q.grad.dtype == torch.bfloat16
