"""Factors at steps, by hand."""

import json
import math

import pytest

from tamis.errors import SettingError, UnknownNameError
from tamis.training.schedules import (
    ConstantSchedule,
    CosineSchedule,
    ExponentialSchedule,
    LinearSchedule,
    Schedule,
    chosen_schedule,
    describe_schedule,
    described_schedule,
)


def factors(schedule: Schedule, num_steps: int) -> list[float]:
    return [schedule.factor(done, num_steps) for done in range(num_steps)]


def test_a_warm_up_rises_in_equal_steps_and_its_last_step_has_the_full_rate() -> None:
    assert factors(ConstantSchedule(4), 6) == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
    assert factors(ConstantSchedule(), 2) == [1, 1]


def test_a_line_falls_to_its_end_after_the_last_step() -> None:
    assert factors(LinearSchedule(), 4) == pytest.approx([1, 0.75, 0.5, 0.25])
    assert factors(LinearSchedule(2, end=0.5), 6) == pytest.approx([0.5, 1, 1, 0.875, 0.75, 0.625])


def test_a_cosine_is_half_way_down_in_the_middle() -> None:
    expected = [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]
    assert factors(CosineSchedule(), 4) == pytest.approx(expected)
    assert factors(CosineSchedule(1, end=0.2), 5) == pytest.approx([1, *(0.2 + 0.8 * value for value in expected)])


def test_a_fall_of_its_own_length_ends_there_and_stays() -> None:
    assert factors(LinearSchedule(num_steps=2, end=0.1), 4) == pytest.approx([1, 0.55, 0.1, 0.1])
    assert factors(CosineSchedule(num_steps=2), 4) == pytest.approx([1, 0.5, 0, 0])


def test_an_exponential_falls_evenly_or_in_stairs() -> None:
    assert factors(ExponentialSchedule(1, factor_per_period=0.25, period_steps=2), 6) == pytest.approx(
        [1, 1, 0.5, 0.25, 0.125, 0.0625]
    )
    stairs = ExponentialSchedule(factor_per_period=0.1, period_steps=2, staircase=True)
    assert factors(stairs, 5) == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_only_a_fall_without_its_own_length_depends_on_the_trainings() -> None:
    assert LinearSchedule(3).horizon(10) == CosineSchedule().horizon(10) == 10
    for schedule in (ConstantSchedule(30), ExponentialSchedule(30), LinearSchedule(num_steps=4)):
        assert schedule.horizon(10) is None


@pytest.mark.parametrize("num_steps", [3, 5])
def test_a_warm_up_that_leaves_nothing_of_the_training_is_refused(num_steps: int) -> None:
    match = rf"fit: the warm-up of 5 steps leaves nothing of a training of {num_steps}\. Make warm_up_steps smaller, or"
    with pytest.raises(SettingError, match=match):
        CosineSchedule(5).horizon(num_steps)


def test_schedules_have_names() -> None:
    assert chosen_schedule("Cosine") == CosineSchedule()
    assert chosen_schedule("constant") == ConstantSchedule()
    assert chosen_schedule(None) is None
    assert chosen_schedule(LinearSchedule(3)) == LinearSchedule(3)
    with pytest.raises(UnknownNameError, match=r"compile: there is no schedule 'cosin'\. Did you mean 'cosine'\?"):
        chosen_schedule("cosin")


@pytest.mark.parametrize(
    "schedule",
    [ConstantSchedule(3), CosineSchedule(2, num_steps=9), LinearSchedule(end=0.5), ExponentialSchedule(staircase=True)],
    ids=repr,
)
def test_a_described_schedule_comes_back(schedule: Schedule) -> None:
    assert described_schedule(json.loads(json.dumps(describe_schedule(schedule)))) == schedule


def test_a_described_schedule_of_no_known_name_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"schedule: there is no schedule 'zigzag'\. There are 'constant'"):
        described_schedule({"name": "zigzag"})


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(SettingError, match=r"ConstantSchedule: warm_up_steps is -1\. Choose 0 or more"):
        ConstantSchedule(-1)
    for end in (-0.1, 1.1, math.nan):
        with pytest.raises(SettingError, match=r"LinearSchedule: end is .*\. Choose it from 0 to 1"):
            LinearSchedule(end=end)
    match = r"CosineSchedule: the warm-up of 5 steps leaves nothing of num_steps=5\. Make it shorter"
    with pytest.raises(SettingError, match=match):
        CosineSchedule(5, num_steps=5)
    for factor in (0.0, 1.5, math.nan):
        with pytest.raises(SettingError, match=r"ExponentialSchedule: factor_per_period is .*\. Choose it above 0, up"):
            ExponentialSchedule(factor_per_period=factor)
    with pytest.raises(SettingError, match=r"ExponentialSchedule: period_steps is 0\. Choose 1 or more"):
        ExponentialSchedule(period_steps=0)
