"""What is drawn, and how likely each item was to be among a step's candidates."""

import math

import pytest
import torch

from tamis.errors import SettingError, UnknownNameError
from tamis.training.negatives import (
    InBatchSampler,
    NegativeSource,
    PopularityBasedSampler,
    UniformSampler,
    describe_samplers,
    described_samplers,
)

COUNTS = torch.tensor([60, 25, 10, 4, 1])
ALL = torch.arange(5)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_an_item_is_in_the_batch_unless_every_other_row_holds_another() -> None:
    """Frequency .6 and .01, two other rows: 1 - .4^2 and 1 - .99^2."""
    found = NegativeSource([InBatchSampler()], COUNTS).log_q(torch.tensor([0, 4]), batch_size=3)
    assert found.exp().tolist() == pytest.approx([1 - 0.4**2, 1 - 0.99**2])


def test_uniform_and_popularity_draws_by_hand() -> None:
    uniform = NegativeSource([UniformSampler(2)], COUNTS).log_q(ALL, batch_size=1000)
    assert uniform.exp().tolist() == pytest.approx([1 - 0.8**2] * 5)
    root = NegativeSource([PopularityBasedSampler(3, power=0.5)], torch.tensor([9, 1])).log_q(torch.arange(2), 7)
    assert root.exp().tolist() == pytest.approx([1 - 0.25**3, 1 - 0.75**3])


def test_several_samplers_are_one_set() -> None:
    """Absent means absent from all: .4 for the other row, .8 and .8 for the uniform draws, .4 for the popular one."""
    source = NegativeSource([InBatchSampler(), UniformSampler(2), PopularityBasedSampler(1)], COUNTS)
    assert source.log_q(ALL[:1], batch_size=2).exp().item() == pytest.approx(1 - 0.4 * 0.8**2 * 0.4)


@pytest.mark.parametrize(
    "samplers",
    [
        [UniformSampler(3)],
        [PopularityBasedSampler(4)],
        [PopularityBasedSampler(4, power=0.5), UniformSampler(2)],
    ],
    ids=str,
)
def test_draws_bring_each_item_as_often_as_log_q_says(samplers: list[UniformSampler]) -> None:
    source, seen, num_steps = NegativeSource(samplers, COUNTS), torch.zeros(5), 4000
    random = generator()
    for _ in range(num_steps):
        drawn = source.draw(random)
        assert drawn.tolist() == sorted(set(drawn.tolist()))
        seen[drawn] += 1
    expected = source.log_q(ALL, batch_size=99).exp()
    deviation = (expected * (1 - expected) / num_steps).sqrt()
    assert ((seen / num_steps - expected).abs() < 4.5 * deviation + 1e-9).all()


def test_batches_hold_each_item_as_often_as_log_q_says() -> None:
    """Seen from one row: is the item among the others?"""
    others = torch.multinomial(COUNTS.double(), 4000 * 7, replacement=True, generator=generator()).view(4000, 7)
    share = torch.stack([(others == item).any(dim=1).double().mean() for item in ALL])
    expected = NegativeSource([InBatchSampler()], COUNTS).log_q(ALL, batch_size=8).exp().double()
    assert ((share - expected).abs() < 4.5 * (expected * (1 - expected) / 4000).sqrt() + 1e-9).all()


def test_rare_items_get_the_correction_of_the_source_up_to_a_constant() -> None:
    counts = torch.tensor([1, 2, 5, 10_000_000])
    found = NegativeSource([InBatchSampler()], counts).log_q(torch.tensor([0, 1, 2]), batch_size=257)
    assert (found - found[0]).tolist() == pytest.approx([0.0, math.log(2), math.log(5)], abs=1e-3)
    assert found[0].item() == pytest.approx(math.log(256 / counts.sum().item()), abs=1e-3)


def test_a_row_alone_in_its_batch_is_not_corrected() -> None:
    assert NegativeSource([InBatchSampler()], COUNTS).log_q(ALL, batch_size=1).tolist() == [0.0] * 5


@pytest.mark.parametrize("batch_size", [1, 2, 50])
def test_a_catalogue_of_one_item_is_certain(batch_size: int) -> None:
    source = NegativeSource([InBatchSampler(), UniformSampler(1)], torch.tensor([7]))
    assert source.log_q(torch.tensor([0]), batch_size).tolist() == pytest.approx([0.0], abs=1e-12)


def test_a_catalogue_of_one_item_in_a_batch_of_one_row_is_certain_too() -> None:
    assert NegativeSource([InBatchSampler()], torch.tensor([7])).log_q(torch.tensor([0]), 1).tolist() == [0.0]


def test_items_of_a_huge_catalogue_keep_finite_corrections() -> None:
    counts = torch.ones(3_000_000, dtype=torch.int64)
    found = NegativeSource([UniformSampler(1)], counts).log_q(torch.tensor([0, 2_999_999]), 1)
    assert found.tolist() == pytest.approx([-math.log(3_000_000)] * 2, rel=1e-4)


def test_draws_follow_the_generator() -> None:
    source = NegativeSource([UniformSampler(3)], torch.ones(1000))
    assert source.draw(generator(5)).tolist() == source.draw(generator(5)).tolist()
    assert source.draw(generator(5)).tolist() != source.draw(generator(6)).tolist()


def test_only_the_batch_means_nothing_is_drawn() -> None:
    assert not NegativeSource([InBatchSampler()], COUNTS).draws
    assert NegativeSource([InBatchSampler(), UniformSampler()], COUNTS).draws
    assert not NegativeSource([UniformSampler()], COUNTS).in_batch


@pytest.mark.parametrize("kind", [UniformSampler, PopularityBasedSampler])
def test_no_draws_are_refused(kind: type[UniformSampler]) -> None:
    with pytest.raises(SettingError, match=rf"{kind.__name__}: num_negatives is 0\. Choose 1 or more"):
        kind(0)


def test_samplers_come_back_from_what_json_holds_of_them() -> None:
    samplers = [InBatchSampler(), UniformSampler(5), PopularityBasedSampler(7, power=0.75)]
    assert described_samplers(describe_samplers(samplers)) == samplers


def test_an_unknown_sampler_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no sampler 'UniformSample'\. Did you mean 'UniformSampler'\?"):
        described_samplers([{"name": "UniformSample"}])
