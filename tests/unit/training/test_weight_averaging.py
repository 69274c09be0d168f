"""The lazy average beside the plain one over all steps."""

import pytest
import torch
from torch import Tensor, nn

from tamis.errors import SettingError
from tamis.nn.embeddings import EmbeddingOptions, EmbeddingTables
from tamis.nn.mlp import BatchNorm
from tamis.schema import ColumnSchema
from tamis.training.model_optimizer import ModelOptimizer
from tamis.training.optimizers import SGD, Adam
from tamis.training.weight_averaging import WeightAverage

TOUCHED = [[0, 1], [1], [1, 1], [3, 0], [1], [], [0, 2], [1]]  # row 4 never is


class Small(nn.Module):
    """Five rows and a layer with batch normalization."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        options = EmbeddingOptions(embedding_dim_default=2)
        self.tables = EmbeddingTables([ColumnSchema("item").with_domain(4)], options)
        self.layer = nn.Sequential(nn.Linear(2, 3), BatchNorm(3))

    def step(self, optimizer: ModelOptimizer, number: int) -> None:
        generator = torch.Generator().manual_seed(number)
        rows = torch.tensor(TOUCHED[number], dtype=torch.int64)
        mix = torch.randn(len(rows) + 2, 3, generator=generator)
        fixed = torch.randn(2, 2, generator=generator)
        (self.layer(torch.cat([self.tables(2, rows), fixed])) * mix).sum().backward()
        optimizer.step()

    def values(self) -> dict[str, Tensor]:
        return {name: t.clone() for name, t in self.state_dict().items() if t.is_floating_point()}


def trained(average: WeightAverage | None, steps_per_epoch: int = 100) -> tuple[Small, ModelOptimizer, list]:  # type: ignore[type-arg]
    """A model, its optimizer, and its own weights after every step."""
    model = Small()
    optimizer = ModelOptimizer(model, Adam(0.1), average=average)
    optimizer.plan(1, steps_per_epoch)
    values = []
    for number in range(len(TOUCHED)):
        model.step(optimizer, number)
        values.append(model.values())
    return model, optimizer, values


def weighted(values: list[dict[str, Tensor]], decay: float) -> dict[str, Tensor]:
    """The average straight from its definition."""
    weights = [decay ** (len(values) - 1 - i) for i in range(len(values))]
    return {
        name: sum(w * v[name] for w, v in zip(weights, values, strict=True)) / sum(weights)  # type: ignore[misc]
        for name in values[0]
    }


@pytest.mark.parametrize(("settings", "decay"), [(WeightAverage(0.8), 0.8), (WeightAverage(None), 1.0)])
def test_the_lazy_average_is_that_over_all_steps(settings: WeightAverage, decay: float) -> None:
    model, optimizer, values = trained(settings)
    with optimizer.averaged():
        torch.testing.assert_close(model.values(), weighted(values, decay))
    torch.testing.assert_close(model.values(), values[-1], rtol=0, atol=0)


def test_an_average_of_a_number_by_hand() -> None:
    """From 10 by 1 a step: 9, 8, 7 weigh 1/4, 1/2 and 1."""
    module = nn.Module()
    module.number = nn.Parameter(torch.tensor(10.0))
    optimizer = ModelOptimizer(module, SGD(1.0), average=WeightAverage(0.5))
    for _ in range(3):
        module.number.grad = torch.tensor(1.0)
        optimizer.step()
    with optimizer.averaged():
        assert module.number.item() == pytest.approx((9 / 4 + 8 / 2 + 7) / 1.75)
    assert module.number.item() == 7


def test_averaging_does_not_change_the_training() -> None:
    _, _, with_average = trained(WeightAverage(0.9))
    _, _, without = trained(None)
    torch.testing.assert_close(with_average, without, rtol=0, atol=0)


def test_epochs_before_the_start_do_not_count() -> None:
    """Three steps an epoch: the last five count."""
    model, optimizer, values = trained(WeightAverage(0.7, start_epoch=2), steps_per_epoch=3)
    with optimizer.averaged():
        torch.testing.assert_close(model.values(), weighted(values[3:], 0.7))


def test_before_the_start_the_weights_are_judged_as_they_are() -> None:
    model, optimizer, values = trained(WeightAverage(0.7, start_epoch=2))
    with optimizer.averaged():
        torch.testing.assert_close(model.values(), values[-1], rtol=0, atol=0)
    optimizer.keep_average()
    torch.testing.assert_close(model.values(), values[-1], rtol=0, atol=0)


def test_training_goes_on_from_its_own_weights_after_each_look() -> None:
    model = Small()
    optimizer = ModelOptimizer(model, Adam(0.1), average=WeightAverage(0.8))
    values = []
    for number in range(len(TOUCHED)):
        model.step(optimizer, number)
        values.append(model.values())
        with optimizer.averaged():
            torch.testing.assert_close(model.values(), weighted(values, 0.8))
            with optimizer.unaveraged():
                torch.testing.assert_close(model.values(), values[-1], rtol=0, atol=0)
            with optimizer.averaged():
                torch.testing.assert_close(model.values(), weighted(values, 0.8))
    optimizer.keep_average()
    torch.testing.assert_close(model.values(), weighted(values, 0.8))


@pytest.mark.parametrize("start_epoch", [1, 3])
def test_a_saved_average_continues_to_the_same_bits(start_epoch: int) -> None:
    average = WeightAverage(0.8, start_epoch)
    straight, first, _ = trained(average, steps_per_epoch=2)
    broken = Small()
    before = ModelOptimizer(broken, Adam(0.1), average=average)
    before.plan(1, 2)
    for number in range(3):
        broken.step(before, number)
    after = ModelOptimizer(broken, Adam(0.1), average=average)
    after.plan(1, 2)
    after.load_state({name: tensor.clone() for name, tensor in before.state().items()})
    for number in range(3, len(TOUCHED)):
        broken.step(after, number)
    with first.averaged(), after.averaged():
        torch.testing.assert_close(straight.values(), broken.values(), rtol=0, atol=0)


def test_settings_out_of_range_are_refused() -> None:
    for decay in (0.0, 1.0, float("nan")):
        with pytest.raises(SettingError, match=r"WeightAverage: decay is .*\. Choose it between 0 and 1, or None"):
            WeightAverage(decay)
    with pytest.raises(SettingError, match=r"WeightAverage: start_epoch is 0\. Choose 1 or more"):
        WeightAverage(start_epoch=0)
