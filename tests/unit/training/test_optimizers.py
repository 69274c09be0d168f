"""Row-wise updates against torch's optimizers and hand loops."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tamis.errors import SettingError, UnknownNameError
from tamis.nn.embeddings import EmbeddingOptions, EmbeddingTables
from tamis.schema import ColumnSchema
from tamis.training.ftrl import FTRL
from tamis.training.model_optimizer import ModelOptimizer
from tamis.training.optimizers import SGD, Adagrad, Adam, OptimizerSettings, optimizer_settings
from tamis.training.schedules import ConstantSchedule
from tamis.training.weight_averaging import WeightAverage

NUM_ROWS, WIDTH = 9, 3
EVERY_KIND = [Adam(0.05), Adam(0.05, beta_1=0.8, beta_2=0.9), Adagrad(0.1), SGD(0.1), FTRL(0.1)]
STEPS = [[0, 4, 4], [4, 7], [1, 0, 8, 8], [2]]


class Small(nn.Module):
    """A table and a dense layer."""

    def __init__(self, num_rows: int = NUM_ROWS) -> None:
        super().__init__()
        torch.manual_seed(0)
        column = ColumnSchema("item").with_domain(num_rows - 1)
        self.tables = EmbeddingTables([column], EmbeddingOptions(embedding_dim_default=WIDTH))
        self.layer = nn.Linear(WIDTH, 2)

    def loss(self, rows: list[int], seed: int = 0) -> Tensor:
        mix = torch.randn(len(rows), 2, generator=torch.Generator().manual_seed(seed))
        return (self.layer(self.tables(WIDTH, torch.tensor(rows))) * mix).sum()

    @property
    def table(self) -> Tensor:
        return self.tables.weights[str(WIDTH)].data


def train(model: Small, optimizer: ModelOptimizer, steps: list[list[int]], start: int = 0) -> None:
    for seed, rows in enumerate(steps, start=start):
        model.loss(rows, seed).backward()
        optimizer.step()


class Plain(nn.Module):
    """The same with an embedding of torch's own."""

    def __init__(self, *, sparse: bool) -> None:
        super().__init__()
        small = Small()
        self.table = nn.Embedding(NUM_ROWS, WIDTH, sparse=sparse, _weight=small.table.clone())
        self.layer = small.layer

    def loss(self, rows: list[int], seed: int) -> Tensor:
        mix = torch.randn(len(rows), 2, generator=torch.Generator().manual_seed(seed))
        return (self.layer(self.table(torch.tensor(rows))) * mix).sum()


def trained_by_torch(optimizers: list[torch.optim.Optimizer], plain: Plain) -> None:
    for seed, rows in enumerate(STEPS):
        plain.loss(rows, seed).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


def test_dense_adam_is_that_of_torch_and_rows_follow_their_own_rule() -> None:
    """Rows: v <- b2^(steps since the last touch) v + (1 - b2) mean(g^2), and a step of g / sqrt(v / (1 - b2^t))."""
    plain = Plain(sparse=False)
    adam = torch.optim.Adam(plain.layer.parameters(), lr=0.05, eps=1e-12)
    square, last = torch.zeros(NUM_ROWS), torch.zeros(NUM_ROWS)
    for step, rows in enumerate(STEPS, start=1):
        plain.loss(rows, step - 1).backward()
        gradient = plain.table.weight.grad
        assert gradient is not None
        for row in set(rows):
            square[row] = 0.999 ** (step - last[row]) * square[row] + 0.001 * gradient[row].square().mean()
            last[row] = step
            plain.table.weight.data[row] -= 0.05 * gradient[row] / (square[row] / (1 - 0.999**step)).sqrt()
        adam.step()
        plain.zero_grad()
    model = Small()
    train(model, ModelOptimizer(model, Adam(0.05, epsilon=1e-12)), STEPS)
    torch.testing.assert_close(model.table, plain.table.weight.data)
    torch.testing.assert_close(model.layer.weight, plain.layer.weight)
    torch.testing.assert_close(model.layer.bias, plain.layer.bias)


def test_a_row_that_is_touched_in_every_step_has_the_second_moment_of_torchs_adam() -> None:
    weight = torch.nn.Parameter(torch.tensor([[1.0]]))
    adam = torch.optim.Adam([weight], lr=0.1, betas=(0.0, 0.9), eps=1e-12)  # without momentum, one number a row
    settings, own = Adam(0.1, beta_2=0.9, epsilon=1e-12), torch.tensor([[1.0]])
    state = settings.new_state(own)
    for step, value in enumerate([3.0, -1.0, 0.5, 2.0], start=1):
        weight.grad = torch.tensor([[value]])
        adam.step()
        settings.update(own, state, torch.tensor([0]), torch.tensor([[value]]), step)
    torch.testing.assert_close(own, weight.data)


def test_sgd_is_that_of_torch() -> None:
    plain = Plain(sparse=False)
    trained_by_torch([torch.optim.SGD(plain.parameters(), lr=0.1)], plain)
    model = Small()
    train(model, ModelOptimizer(model, SGD(0.1)), STEPS)
    torch.testing.assert_close(model.table, plain.table.weight.data)
    torch.testing.assert_close(model.layer.weight, plain.layer.weight)


def test_one_step_of_each_kind_by_hand() -> None:
    """Row 1 holds (1, -2) and gets the gradient (3, 4); the mean of its squares is 12.5."""
    rows, gradient = torch.tensor([1]), torch.tensor([[3.0, 4.0]])

    def after_one(settings: OptimizerSettings) -> list[float]:
        weight = torch.tensor([[9.0, 9.0], [1.0, -2.0]])
        settings.update(weight, settings.new_state(weight), rows, gradient.clone(), 1)
        assert weight[0].tolist() == [9.0, 9.0]
        return weight[1].tolist()

    assert after_one(SGD(0.1)) == pytest.approx([0.7, -2.4])
    assert after_one(SGD(0.1, weight_decay=0.5)) == pytest.approx([1 - 0.1 * 3.5, -2 - 0.1 * 3.0])
    root = 12.5**0.5
    assert after_one(Adam(0.1)) == pytest.approx([1 - 0.3 / root, -2 - 0.4 / root])  # the first step is as Adagrad's
    assert after_one(Adagrad(0.1)) == pytest.approx([1 - 0.3 / root, -2 - 0.4 / root])


def test_row_wise_adagrad_adds_up_the_mean_squares_of_its_row() -> None:
    settings, weight = Adagrad(1.0), torch.zeros(2, 2)
    state = settings.new_state(weight)
    expected, square = torch.zeros(2), 0.0
    for step, values in enumerate([[1.0, 1.0], [0.0, 2.0], [2.0, 2.0]], start=1):
        settings.update(weight, state, torch.tensor([1]), torch.tensor([values]), step)
        square += sum(value * value for value in values) / 2
        expected -= torch.tensor(values) / square**0.5
        assert weight[1].tolist() == pytest.approx(expected.tolist())
    assert state["square"].tolist() == [0.0, 1.0 + 2.0 + 4.0]


@pytest.mark.parametrize("settings", EVERY_KIND, ids=repr)
def test_rows_that_no_step_touches_stay_as_they_were(settings: OptimizerSettings) -> None:
    model = Small()
    before = model.table.clone()
    train(model, ModelOptimizer(model, settings), STEPS)
    untouched = [3, 5, 6]
    assert torch.equal(model.table[untouched], before[untouched])
    assert all((model.table[row] != before[row]).all() for row in (0, 1, 2, 4, 7, 8))


@pytest.mark.parametrize("settings", EVERY_KIND, ids=repr)
def test_a_row_looked_up_twice_moves_by_the_sum(settings: OptimizerSettings) -> None:
    twice, once = Small(), Small()
    with torch.no_grad():
        values = twice.tables.vectors_of("item")[4].clone()
    for model, rows in ((twice, [4, 4]), (once, [4])):
        optimizer = ModelOptimizer(model, settings)
        ((3 - len(rows)) * model.tables(WIDTH, torch.tensor(rows)).sum()).backward()
        optimizer.step()
    torch.testing.assert_close(twice.table[4], once.table[4])
    assert not torch.equal(twice.table[4], values)


@pytest.mark.parametrize("settings", EVERY_KIND, ids=repr)
def test_a_saved_state_continues_to_the_same_numbers(settings: OptimizerSettings) -> None:
    straight, broken = Small(), Small()
    train(straight, ModelOptimizer(straight, settings), STEPS)
    first = ModelOptimizer(broken, settings)
    train(broken, first, STEPS[:2])
    second = ModelOptimizer(broken, settings)
    second.load_state({name: tensor.clone() for name, tensor in first.state().items()})
    assert second.num_steps == 2
    train(broken, second, STEPS[2:], start=2)
    assert torch.equal(straight.table, broken.table)
    assert torch.equal(straight.layer.weight, broken.layer.weight)


@pytest.mark.parametrize("settings", EVERY_KIND, ids=repr)
def test_a_state_from_before_the_first_step_is_a_state(settings: OptimizerSettings) -> None:
    model, other = Small(), Small()
    optimizer = ModelOptimizer(other, settings)
    optimizer.load_state(ModelOptimizer(model, settings).state())
    train(model, ModelOptimizer(model, settings), STEPS)
    train(other, optimizer, STEPS)
    assert torch.equal(model.table, other.table)


class LargestResult(TorchDispatchMode):
    """Remembers how many elements the largest newly made tensor has."""

    def __init__(self) -> None:
        super().__init__()
        self.num_elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        known = {t.untyped_storage().data_ptr() for t in args if isinstance(t, Tensor)}
        if isinstance(result, Tensor) and result.untyped_storage().data_ptr() not in known:
            self.num_elements = max(self.num_elements, result.numel())
        return result


EVERYTHING = {"clip_norm": 1.0, "embedding_l2": 0.1, "average": WeightAverage(0.9), "schedule": ConstantSchedule(9)}


@pytest.mark.parametrize("more", [{}, EVERYTHING], ids=["plain", "everything"])
@pytest.mark.parametrize("settings", EVERY_KIND, ids=repr)
def test_a_step_makes_nothing_of_a_tables_size(settings: OptimizerSettings, more: dict[str, Any]) -> None:
    """The first step may: the state of all rows starts there."""
    found = []
    for num_rows in (100, 100_000):
        model = Small(num_rows)
        optimizer = ModelOptimizer(model, settings, **more)
        train(model, optimizer, STEPS[:1])
        with LargestResult() as largest:
            train(model, optimizer, STEPS[1:])
        found.append(largest.num_elements)
    assert 0 < found[0] == found[1] < 100


def test_a_module_without_dense_parameters_moves_its_tables() -> None:
    tables = EmbeddingTables([ColumnSchema("item").with_domain(4)], EmbeddingOptions(embedding_dim_default=2))
    optimizer = ModelOptimizer(tables, SGD(1.0))
    before = tables.vectors_of("item").clone()
    tables(2, torch.tensor([3])).sum().backward()
    optimizer.step()
    torch.testing.assert_close(tables.vectors_of("item")[3], before[3] - 1)
    assert int(optimizer.state()["num_steps"]) == 1


def test_optimizers_have_names() -> None:
    assert optimizer_settings("adam") == Adam()
    assert optimizer_settings("Adagrad", 0.3) == Adagrad(0.3)
    assert optimizer_settings(SGD(0.7)) == SGD(0.7)


def test_an_unknown_optimizer_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"compile: there is no optimizer 'adem'\. Did you mean 'adam'\?"):
        optimizer_settings("adem")


def test_a_learning_rate_belongs_to_a_name() -> None:
    with pytest.raises(SettingError, match=r"compile: learning_rate=0\.1 beside SGD\(.*\)\. Set it inside"):
        optimizer_settings(SGD(), 0.1)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_learning_rate_that_is_not_above_zero_is_refused(rate: float) -> None:
    with pytest.raises(SettingError, match=r"compile: the learning rate is .*\. Choose one above 0"):
        optimizer_settings("sgd", rate)
    with pytest.raises(SettingError, match=r"compile: the learning rate is .*\. Choose one above 0"):
        optimizer_settings(Adam(rate))


def test_adam_by_element_is_torchs_adam_without_momentum_where_all_rows_move() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 4, generator=generator)
    expected = torch.nn.Parameter(weight.clone())
    ours, theirs = Adam(0.1, row_wise=False), torch.optim.Adam([expected], lr=0.1, betas=(0.0, 0.999), eps=1e-8)
    state = ours.new_state(weight)
    for step in range(1, 6):
        gradient = torch.randn(3, 4, generator=generator)
        ours.update(weight, state, torch.arange(3), gradient, step)
        expected.grad = gradient.clone()
        theirs.step()
    torch.testing.assert_close(weight, expected.detach())


def test_adam_by_element_decays_the_moments_of_rows_that_stood_still() -> None:
    """Row 0 moves in steps 1 and 3; a dense Adam with a zero gradient in step 2 has the same moment in step 3."""
    ours, weight = Adam(0.1, row_wise=False), torch.zeros(1, 2)
    state = ours.new_state(weight)
    ours.update(weight, state, torch.tensor([0]), torch.tensor([[1.0, 2.0]]), 1)
    ours.update(weight, state, torch.tensor([0]), torch.tensor([[3.0, 0.0]]), 3)
    expected = [0.001 * 1 * 0.999**2 + 0.001 * 9, 0.001 * 4 * 0.999**2]
    torch.testing.assert_close(state["square"], torch.tensor([expected]))
