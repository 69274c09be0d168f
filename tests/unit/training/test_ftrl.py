"""FTRL by hand, and beside gradient descent with the same rates."""

import pytest
import torch
from torch import Tensor

from tamis.errors import SettingError
from tamis.training.ftrl import FTRL


def moved(settings: FTRL, start: float, gradients: list[float]) -> list[float]:
    """One weight after each of the gradients."""
    weight = torch.tensor([[start], [7.0]])
    state, values = settings.new_state(weight), []
    for step, gradient in enumerate(gradients, start=1):
        settings.update(weight, state, torch.tensor([0]), torch.tensor([[gradient]]), step)
        values.append(weight[0].item())
    assert weight[1].item() == 7.0
    return values


def test_two_steps_by_hand() -> None:
    """1 / rate is (1 + 3) / .1 = 40, then (1 + 5) / .1 = 60; the sum is 3, then 3 + 4 - (60 - 40) * w."""
    first = -(3 - 1) / (40 + 2)
    assert moved(FTRL(0.1, l1=1.0, l2=2.0), 0.0, [3.0, 4.0]) == pytest.approx([first, -(7 - 20 * first - 1) / (60 + 2)])


def test_without_l1_and_l2_it_is_gradient_descent_from_where_the_weight_stood() -> None:
    expected, square = [0.5], 0.0
    for gradient in (3.0, -4.0, 0.0, 1.0):
        square += gradient**2
        expected.append(expected[-1] - 0.1 / (1 + square**0.5) * gradient)
    assert moved(FTRL(0.1), 0.5, [3.0, -4.0, 0.0, 1.0]) == pytest.approx(expected[1:])


def test_a_weight_stays_0_while_its_gradients_add_up_to_little() -> None:
    assert moved(FTRL(0.1, l1=1.0), 0.0, [0.6, -0.5, 0.4]) == [0.0, 0.0, 0.0]


def test_no_beta_and_no_gradient_leave_the_weight() -> None:
    assert moved(FTRL(0.1, beta=0.0), 0.5, [0.0, 2.0]) == pytest.approx([0.5, 0.5 - 0.1 / 2 * 2])


def test_the_end_of_a_schedule_leaves_the_weight() -> None:
    assert moved(FTRL(0.0), 0.5, [3.0]) == [0.5]


def test_dense_weights_move_as_rows_do() -> None:
    weight = torch.nn.Parameter(torch.tensor([[0.5]]))
    optimizer = FTRL(0.1, l1=0.1).dense([weight])
    values: list[float] = []
    for gradient in (3.0, -4.0, 1.0):
        weight.grad = torch.tensor([[gradient]])
        optimizer.step()
        values.append(weight.item())
    assert values == pytest.approx(moved(FTRL(0.1, l1=0.1), 0.5, [3.0, -4.0, 1.0]))


def test_a_changing_rate_is_that_of_each_step() -> None:
    """Without l1 and l2 a step is that of gradient descent with this step's rate, so no change moves the weight."""
    weight = torch.tensor([[0.5]])
    state = FTRL().new_state(weight)

    def step(rate: float, gradient: float) -> Tensor:
        FTRL(rate).update(weight, state, torch.tensor([0]), torch.tensor([[gradient]]), 1)
        return weight.clone()

    step(0.1, 3.0)
    before = weight.item()
    assert step(0.01, 0.0).item() == pytest.approx(before)
    assert step(0.01, 4.0).item() == pytest.approx(before - 0.01 / 6 * 4)


@pytest.mark.parametrize("name", ["beta", "l1", "l2"])
def test_settings_below_zero_are_refused(name: str) -> None:
    with pytest.raises(SettingError, match=rf"FTRL: {name} is -1\.0\. Choose 0 or more"):
        FTRL(**{name: -1.0})
