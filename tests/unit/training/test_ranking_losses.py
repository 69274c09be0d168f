"""Losses by slates: by hand, against the plain formula, and what weights and useless slates do."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tamis.training.ranking_losses import slate_bpr, slate_softmax

Loss = Callable[..., Tensor]
often = settings(max_examples=80, deadline=None, derandomize=True)
either = pytest.mark.parametrize("loss", [slate_softmax, slate_bpr])
rows = st.lists(
    st.tuples(st.floats(-4, 4), st.integers(0, 1), st.integers(0, 3), st.sampled_from([0.0, 0.5, 1.0, 2.0])),
    min_size=1,
    max_size=14,
)


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def plain(loss: Loss, score: Tensor, label: list[int], slate: list[int], weight: list[float]) -> Tensor:
    """The formulas in the docstrings, slate by slate and pair by pair."""
    total, importance = score.sum() * 0, 0.0
    for one in sorted(set(slate)):
        mine = [i for i in range(len(slate)) if slate[i] == one and weight[i] > 0]
        positives, negatives = [i for i in mine if label[i]], [i for i in mine if not label[i]]
        if not positives or not negatives:
            continue
        if loss is slate_softmax:
            whole = sum(weight[i] * score[i].exp() for i in mine)
            sum_of_positives = sum(weight[i] for i in positives)
            value = -sum(weight[i] / sum_of_positives * (score[i].exp() / whole).log() for i in positives)
        else:
            pairs = [(i, j, weight[i] * weight[j]) for i in positives for j in negatives]
            value = -sum(w * torch.sigmoid(score[i] - score[j]).log() for i, j, w in pairs) / sum(w for *_, w in pairs)
        counts = sum(weight[i] for i in positives) / len(positives)
        total, importance = total + counts * value, importance + counts
    return total / importance if importance else total


@either
@often
@given(rows)
def test_value_and_gradient_are_those_of_the_plain_formula(loss: Loss, data: list[tuple[float, int, int, float]]):
    numbers, label, slate, weight = map(list, zip(*data, strict=True))
    score, other = (torch.tensor(numbers, dtype=torch.float64, requires_grad=True) for _ in range(2))
    found = loss(score, torch.tensor(label), torch.tensor(slate), torch.tensor(weight, dtype=torch.float64))
    expected = plain(loss, other, label, slate, weight)
    found.backward()
    expected.backward()
    assert found.item() == pytest.approx(expected.item(), abs=1e-12)
    assert torch.allclose(score.grad, other.grad, atol=1e-12)


def test_a_softmax_by_hand() -> None:
    """Two positives among three at odds 1 : 2 : 5, and a slate of one pair at odds 1 : 3, of which 3 is right."""
    score = doubles(0.0, math.log(2), math.log(5), math.log(3), 0.0)
    label, slate = torch.tensor([1, 1, 0, 1, 0]), torch.tensor([7, 7, 7, 9, 9])
    first = -(math.log(1 / 8) + math.log(2 / 8)) / 2
    assert slate_softmax(score, label, slate).item() == pytest.approx((first - math.log(3 / 4)) / 2)


def test_pairs_by_hand() -> None:
    """Differences of ln 3 and of 0 in one slate, of -ln 3 in the other: sigmoid is 3/4, 1/2 and 1/4."""
    score = doubles(math.log(3), 0.0, math.log(3), 0.0, math.log(3))
    label, slate = torch.tensor([1, 0, 0, 1, 0]), torch.tensor([1, 1, 1, 0, 0])
    first = -(math.log(3 / 4) + math.log(1 / 2)) / 2
    assert slate_bpr(score, label, slate).item() == pytest.approx((first - math.log(1 / 4)) / 2)


@either
def test_indifferent_scores_cost_the_logarithm_of_what_there_is_to_choose_from(loss: Loss) -> None:
    label = torch.tensor([1, 0, 0, 0])
    expected = math.log(4) if loss is slate_softmax else math.log(2)
    assert loss(torch.zeros(4), label, torch.zeros(4)).item() == pytest.approx(expected)


@either
def test_slates_of_one_class_have_no_part_and_no_gradient(loss: Loss) -> None:
    score = doubles(0.3, -0.2, 5.0, 7.0, 9.0).requires_grad_()
    label, slate = torch.tensor([1, 0, 1, 1, 0]), torch.tensor([0, 0, 1, 1, 2])
    value = loss(score, label, slate)
    assert value.item() == pytest.approx(loss(score[:2], label[:2], slate[:2]).item())
    value.backward()
    assert score.grad is not None and score.grad[2:].abs().sum() == 0 and score.grad[:2].abs().min() > 0


@either
def test_without_any_slate_the_loss_is_zero_and_can_still_go_backward(loss: Loss) -> None:
    score = torch.ones(3, requires_grad=True)
    value = loss(score, torch.ones(3), torch.arange(3))
    value.backward()
    assert value.item() == 0 and score.grad is not None and not score.grad.any()


@either
def test_a_weight_of_two_is_the_row_twice(loss: Loss) -> None:
    """Within a slate; between slates, it is the weight of the positives that counts."""
    score, label = doubles(0.5, -1.0, 0.2, 0.8), torch.tensor([1, 0, 0, 1])
    weight = doubles(1.0, 2.0, 1.0, 2.0)
    twice = torch.tensor([0, 1, 1, 2, 3, 3])
    one = torch.zeros(6)
    assert loss(score, label, one[:4], weight).item() == pytest.approx(loss(score[twice], label[twice], one).item())


@either
def test_a_weight_that_a_slate_has_in_common_is_the_slates_own(loss: Loss) -> None:
    score, label, slate = doubles(0.5, -1.0, 0.2, 0.8), torch.tensor([1, 0, 0, 1]), torch.tensor([0, 0, 1, 1])
    weight = doubles(3.0, 3.0, 1.0, 1.0)
    gradients = []
    for chosen, w in ((slice(0, 2), None), (slice(2, 4), None), (slice(0, 4), weight)):
        leaf = score[chosen].clone().requires_grad_()
        loss(leaf, label[chosen], slate[chosen], w).backward()
        gradients.append(leaf.grad)
    assert torch.allclose(gradients[2], torch.cat([0.75 * gradients[0], 0.25 * gradients[1]]))


@either
def test_far_scores_stay_finite(loss: Loss) -> None:
    score = torch.tensor([-500.0, 500.0, 900.0, 1e4], requires_grad=True)
    weight = torch.tensor([1.0, 1.0, 1.0, 0.0])
    value = loss(score, torch.tensor([1, 0, 0, 1]), torch.zeros(4), weight)
    value.backward()
    assert value.isfinite() and score.grad is not None and score.grad.isfinite().all() and score.grad[3] == 0
