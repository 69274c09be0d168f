"""L2, clipping, weight decay, groups and schedules in a step, by hand on a table of two rows."""

import pytest
import torch
from torch import nn

from tamis.errors import SettingError
from tamis.nn.embeddings import EmbeddingOptions, EmbeddingTables
from tamis.schema import ColumnSchema
from tamis.training.ftrl import FTRL
from tamis.training.model_optimizer import ModelOptimizer
from tamis.training.optimizers import SGD, Adagrad, Adam, OptimizerSettings
from tamis.training.schedules import ConstantSchedule, CosineSchedule, LinearSchedule


class TwoRows(nn.Module):
    """A table with the rows (1, 2) and (3, 4), and a number 10."""

    def __init__(self) -> None:
        super().__init__()
        options = EmbeddingOptions(embedding_dim_default=2)
        self.tables = EmbeddingTables([ColumnSchema("item").with_domain(1)], options)
        self.rows.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        self.number = nn.Parameter(torch.tensor([10.0]))

    @property
    def rows(self) -> torch.Tensor:
        return self.tables.weights["2"].data

    def step(self, optimizer: ModelOptimizer, rows: list[int], scale: tuple[float, float, float] = (0, 0, 0)) -> None:
        """The gradient of each looked-up row is the first two numbers of the scale, that of the number the last."""
        row_loss = (self.tables(2, torch.tensor(rows)) * torch.tensor(scale[:2])).sum()
        (row_loss + scale[2] * self.number.sum()).backward()
        optimizer.step()


def test_l2_is_the_gradient_of_half_the_squared_norm_of_the_touched_rows() -> None:
    """Row 1, touched twice, counts once: its gradient is 2 * (1, 1) + .5 * (3, 4)."""
    model = TwoRows()
    model.step(ModelOptimizer(model, SGD(0.1), embedding_l2=0.5), [1, 1], (1, 1, 0))
    torch.testing.assert_close(model.rows, torch.tensor([[1.0, 2.0], [3 - 0.1 * 3.5, 4 - 0.1 * 4.0]]))
    assert model.number.item() == 10


def test_a_row_gets_the_l2_of_the_steps_that_did_not_touch_it_at_its_next_touch() -> None:
    """Row 1 is touched in step 3 alone and stood still until then: its gradient is 3 * .5 * (3, 4)."""
    model = TwoRows()
    optimizer = ModelOptimizer(model, SGD(0.1), embedding_l2=0.5)
    for rows in ([0], [0], [0, 1]):
        model.step(optimizer, rows)
    torch.testing.assert_close(model.rows, torch.tensor([[0.95**3, 2 * 0.95**3], [3 - 0.1 * 4.5, 4 - 0.1 * 6.0]]))
    model.step(optimizer, [1])
    torch.testing.assert_close(model.rows[1], torch.tensor([2.55 * 0.95, 3.4 * 0.95]))


def test_the_owed_l2_survives_a_checkpoint() -> None:
    model, other = TwoRows(), TwoRows()
    optimizer = ModelOptimizer(model, SGD(0.1), embedding_l2=0.5)
    for rows in ([1], [0]):
        model.step(optimizer, rows)
    restored = ModelOptimizer(other, SGD(0.1), embedding_l2=0.5)
    restored.load_state(optimizer.state())
    other.rows.copy_(model.rows)
    for each, its in ((model, optimizer), (other, restored)):
        each.step(its, [1])
    torch.testing.assert_close(other.rows, model.rows)
    torch.testing.assert_close(model.rows[1], torch.tensor([3 * 0.95 * 0.9, 4 * 0.95 * 0.9]))


def test_a_gradient_longer_than_the_limit_is_scaled_to_it() -> None:
    """Row 0 has (2, 4), row 1 (1, 2) and the number 12: the norm is sqrt(4 + 16 + 1 + 4 + 144) = 13."""
    model = TwoRows()
    model.step(ModelOptimizer(model, SGD(1.0), clip_norm=6.5), [0, 1, 0], (1, 2, 12))
    torch.testing.assert_close(model.rows, torch.tensor([[0.0, 0.0], [2.5, 3.0]]))
    assert model.number.item() == pytest.approx(4)


def test_a_gradient_within_the_limit_stays() -> None:
    clipped, free = TwoRows(), TwoRows()
    for model, limit in ((clipped, 13.1), (free, None)):
        model.step(ModelOptimizer(model, SGD(1.0), clip_norm=limit), [0, 1, 0], (1, 2, 12))
    assert torch.equal(clipped.rows, free.rows) and torch.equal(clipped.number, free.number)


def test_no_gradient_at_all_is_within_every_limit() -> None:
    model = TwoRows()
    model.step(ModelOptimizer(model, SGD(1.0), clip_norm=1.0), [0])
    assert model.rows.tolist() == [[1, 2], [3, 4]] and model.number.item() == 10


def test_l2_counts_in_the_clipped_norm() -> None:
    """The gradient of row 1 is .5 * (3, 4), of length 2.5."""
    model = TwoRows()
    model.step(ModelOptimizer(model, SGD(1.0), clip_norm=1.0, embedding_l2=0.5), [1])
    torch.testing.assert_close(model.rows[1], torch.tensor([3 - 0.6, 4 - 0.8]))


@pytest.mark.parametrize("settings", [SGD(0.1, 0.5), Adam(0.1, weight_decay=0.5), Adagrad(0.1, weight_decay=0.5)])
def test_weight_decay_takes_its_share_whatever_the_gradient(settings: OptimizerSettings) -> None:
    model = TwoRows()
    model.step(ModelOptimizer(model, settings), [1])
    torch.testing.assert_close(model.rows, torch.tensor([[1.0, 2.0], [3 * 0.95, 4 * 0.95]]))
    assert model.number.item() == pytest.approx(9.5)


def test_adam_with_weight_decay_is_torchs_decoupled_one() -> None:
    model, weight = TwoRows(), nn.Parameter(torch.tensor([10.0]))
    own = ModelOptimizer(model, Adam(0.1, weight_decay=0.3))
    reference = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.3)
    for value in (3.0, -1.0, 0.5):
        model.step(own, [0], (1, 1, value))
        weight.grad = torch.tensor([value])
        reference.step()
    torch.testing.assert_close(model.number, weight)


def test_groups_move_with_their_own_rates() -> None:
    model = TwoRows()
    optimizer = ModelOptimizer(model, {"embeddings": SGD(0.5), "number": SGD(2.0)})
    model.step(optimizer, [0], (1, 1, 1))
    assert model.rows.tolist() == [[0.5, 1.5], [3, 4]] and model.number.item() == 8


def test_groups_of_different_kinds_keep_their_own_state() -> None:
    model, alone = TwoRows(), TwoRows()
    mixed = ModelOptimizer(model, {"embeddings": FTRL(0.1), "*": Adam(0.2)})
    rows, number = ModelOptimizer(alone, FTRL(0.1)), TwoRows()
    dense = ModelOptimizer(number, Adam(0.2))
    for scale in ((1, 2, 3), (2, -1, 0.5), (0.1, 4, -2)):
        for one, optimizer in ((model, mixed), (alone, rows), (number, dense)):
            one.step(optimizer, [1], scale)
    assert torch.equal(model.rows, alone.rows) and torch.equal(model.number, number.number)


def test_a_schedule_scales_the_rates_of_all_groups() -> None:
    """Warm-up in two steps: half the rates, then the full ones."""
    model = TwoRows()
    optimizer = ModelOptimizer(
        model, {"embeddings": SGD(0.5, 0.1), "*": SGD(2.0, 0.1)}, schedule=ConstantSchedule(warm_up_steps=2)
    )
    model.step(optimizer, [0], (1, 1, 1))
    torch.testing.assert_close(model.rows[0], torch.tensor([1 * 0.975 - 0.25, 2 * 0.975 - 0.25]))
    assert model.number.item() == pytest.approx(10 * 0.9 - 1)
    model.number.data.fill_(10.0)
    model.step(optimizer, [1], (1, 1, 1))
    torch.testing.assert_close(model.rows[1], torch.tensor([3 * 0.95 - 0.5, 4 * 0.95 - 0.5]))
    assert model.number.item() == pytest.approx(10 * 0.8 - 2)


def test_a_fall_is_laid_out_over_the_planned_steps() -> None:
    model = TwoRows()
    optimizer = ModelOptimizer(model, SGD(1.0), schedule=LinearSchedule())
    optimizer.plan(epochs=2, steps_per_epoch=2)
    assert optimizer.horizon == 4
    moves = []
    for _ in range(4):
        before = model.number.item()
        model.step(optimizer, [0], (0, 0, 1))
        moves.append(before - model.number.item())
    assert moves == pytest.approx([1, 0.75, 0.5, 0.25])


def test_a_warm_up_longer_than_the_training_is_refused() -> None:
    optimizer = ModelOptimizer(TwoRows(), SGD(), schedule=CosineSchedule(10))
    with pytest.raises(SettingError, match=r"fit: the warm-up of 10 steps leaves nothing of a training of 6"):
        optimizer.plan(epochs=2, steps_per_epoch=3)


def test_its_name_says_what_is_not_by_default() -> None:
    model = TwoRows()
    assert repr(ModelOptimizer(model, SGD())) == repr(SGD())
    full = ModelOptimizer(model, SGD(), schedule=ConstantSchedule(1), clip_norm=2.0, embedding_l2=0.1)
    assert repr(full) == f"{SGD()!r}, schedule=ConstantSchedule(warm_up_steps=1), clip_norm=2.0, embedding_l2=0.1"
