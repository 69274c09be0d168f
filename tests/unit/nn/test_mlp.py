import pytest
import torch
from torch import nn

from tamis.errors import SettingError, UnknownNameError
from tamis.nn.mlp import ACTIVATIONS, BatchNorm, MLPBlock


def kinds(block: MLPBlock) -> list[str]:
    return [type(layer).__name__ for layer in block.build(7)]


def test_each_layer_is_followed_by_its_activation_and_dropout() -> None:
    assert kinds(MLPBlock([8, 4])) == ["Linear", "ReLU", "Linear", "ReLU"]
    assert kinds(MLPBlock([8, 4], "gelu", dropout=0.5)) == ["Linear", "GELU", "Dropout", "Linear", "GELU", "Dropout"]


def test_the_last_layer_may_stay_linear() -> None:
    assert kinds(MLPBlock([8, 4], no_activation_last_layer=True, dropout=0.1)) == [
        "Linear", "ReLU", "Dropout", "Linear",
    ]  # fmt: skip
    assert kinds(MLPBlock([4], no_activation_last_layer=True)) == ["Linear"]


def test_a_normalization_stands_before_the_activation_and_never_last() -> None:
    assert kinds(MLPBlock([8], normalization="batch", dropout=0.5)) == ["Linear", "BatchNorm", "ReLU", "Dropout"]
    block = MLPBlock([8, 4], normalization="layer", no_activation_last_layer=True)
    assert kinds(block) == ["Linear", "LayerNorm", "ReLU", "Linear"]


def test_batch_normalization_by_hand() -> None:
    """Mean 2 and variance 1; the running figures move a tenth of the way, the variance to the unbiased 2."""
    layer = BatchNorm(1)
    torch.testing.assert_close(layer(torch.tensor([[1.0], [3.0]])), torch.tensor([[-1.0], [1.0]]), atol=1e-4, rtol=0)
    assert layer.running_mean.tolist() == pytest.approx([0.2])
    assert layer.running_var.tolist() == pytest.approx([0.9 + 0.2])


def test_one_row_is_normalized_by_the_running_figures_and_does_not_move_them() -> None:
    layer = BatchNorm(1)
    layer(torch.tensor([[1.0], [3.0]]))
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    x = torch.tensor([[4.2]], requires_grad=True)
    found = layer(x)
    assert found.item() == pytest.approx(4.0 / (1.1 + 1e-5) ** 0.5)
    found.sum().backward()
    assert x.grad is not None and x.grad.item() == pytest.approx(1 / (1.1 + 1e-5) ** 0.5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in layer.state_dict().items())
    assert layer.eval()(x).item() == found.item()


def test_widths_follow_each_other() -> None:
    layers = MLPBlock([8, 4]).build(7)
    assert [list(layer.weight.shape) for layer in layers if isinstance(layer, nn.Linear)] == [[8, 7], [4, 8]]
    assert layers(torch.zeros(2, 7)).shape == (2, 4)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_builds(name: str) -> None:
    assert MLPBlock([3], name).build(2)(torch.ones(1, 2)).shape == (1, 3)


def test_a_block_builds_fresh_layers_each_time() -> None:
    block = MLPBlock([3])
    assert block.build(2)[0] is not block.build(2)[0]


def test_equal_settings_are_equal_blocks() -> None:
    assert MLPBlock([8, 4]) == MLPBlock((8, 4)) and hash(MLPBlock([8, 4])) == hash(MLPBlock((8, 4)))


@pytest.mark.parametrize("widths", [[], [8, 0], [-1]])
def test_widths_below_one_are_refused(widths: list[int]) -> None:
    with pytest.raises(SettingError, match=r"MLPBlock: the widths \[.*\] must be 1 or more\. Give at least one"):
        MLPBlock(widths)


def test_an_unknown_activation_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"MLPBlock: there is no activation 'rellu'\. Did you mean 'relu'\?"):
        MLPBlock([3], "rellu")


def test_an_unknown_normalization_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"MLPBlock: there is no normalization 'bath'\. Did you mean 'batch'\?"):
        MLPBlock([3], normalization="bath")


@pytest.mark.parametrize("dropout", [1.0, -0.1, float("nan")])
def test_a_dropout_that_leaves_nothing_is_refused(dropout: float) -> None:
    with pytest.raises(SettingError, match=r"MLPBlock: dropout is .*\. Choose it from 0 up to, not including, 1"):
        MLPBlock([3], dropout=dropout)
