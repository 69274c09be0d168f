"""Crosses, products and linear parts against the same written by hand."""

import pytest
import torch

from ranking_world import INPUTS, SCHEMA
from tamis.errors import SettingError
from tamis.models.dlrm import DLRMModel
from tamis.nn.cross import CrossNetwork
from tamis.nn.embeddings import EmbeddingOptions, EmbeddingTables
from tamis.nn.fields import Fields
from tamis.nn.inputs import Inputs, split_inputs
from tamis.nn.interaction import DotInteraction, pairwise_sum
from tamis.nn.linear import OwnFirstOrder
from tamis.nn.mlp import MLPBlock
from tamis.schema import Schema

OPTIONS = EmbeddingOptions(embedding_dim_default=4)
BATCH = {
    "user_id": torch.tensor([3, 4]),
    "item_id": torch.tensor([5, 5]),
    "genres__values": torch.tensor([3, 4]),
    "genres__offsets": torch.tensor([0, 2, 2]),
    "age": torch.tensor([0.5, 2.0]),
    "photo": torch.tensor([[1.0, 0.0], [0.0, 3.0]]),
}


def inputs(schema: Schema, options: EmbeddingOptions) -> Inputs:
    torch.manual_seed(0)
    return Inputs(schema, EmbeddingTables(split_inputs(schema)[0], options), combiner=options.combiner)


def test_a_full_cross_layer_multiplies_by_the_first_input() -> None:
    cross = CrossNetwork(3, depth=2)
    x0 = torch.tensor([[1.0, -2.0, 0.5]])
    x = x0
    for layer in cross.layers:
        x = x0 * (x @ layer.weight.T + layer.bias) + x
    torch.testing.assert_close(cross(x0), x)


def test_a_low_rank_cross_layer_is_a_product_of_two_matrices() -> None:
    cross = CrossNetwork(3, depth=1, low_rank=2)
    down, up = cross.layers[0]
    x0 = torch.tensor([[1.0, -2.0, 0.5]])
    torch.testing.assert_close(cross(x0), x0 * (up.weight @ down.weight @ x0[0] + up.bias) + x0)


def test_a_mixture_weighs_its_experts_by_the_gate() -> None:
    torch.manual_seed(0)
    cross = CrossNetwork(3, depth=1, low_rank=2, num_experts=2)
    mixture, x0 = cross.layers[0], torch.randn(3)
    gates = torch.softmax(mixture.gate.weight @ x0, dim=0)
    expected = torch.zeros(3)
    for i in range(2):
        low = torch.tanh(mixture.down.weight[2 * i : 2 * i + 2] @ x0)
        low = torch.tanh(mixture.inner[i].T @ low)
        expected = expected + gates[i] * (mixture.up[i].T @ low + mixture.bias)
    torch.testing.assert_close(cross(x0[None])[0], x0 * expected + x0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 0}, "CrossNetwork: depth is 0. Choose 1 or more"),
        ({"low_rank": 4, "num_experts": 0}, "num_experts is 0"),
        ({"num_experts": 2}, "2 experts want a low rank each. Give low_rank too"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        CrossNetwork(3, **settings)


def test_the_pairwise_sum_is_the_sum_over_all_pairs() -> None:
    fields = torch.tensor([[[1.0, 2.0], [3.0, -1.0], [0.5, 4.0]]])
    assert pairwise_sum(fields).tolist() == [(3 - 2) + (0.5 + 8) + (1.5 - 4)]


def test_dot_products_come_once_a_pair() -> None:
    fields = torch.tensor([[[1.0, 2.0], [3.0, -1.0], [0.5, 4.0]]])
    assert DotInteraction(3)(fields).tolist() == [[1.0, 8.5, -2.5]]


def test_a_number_is_a_field_that_scales_its_vector() -> None:
    fields = Fields(inputs(INPUTS, OPTIONS), OPTIONS)
    tables, found = fields.inputs.tables, fields(BATCH)
    assert fields.num_fields == 6 and found.shape == (2, 6, 4)
    genres = tables.vectors_of("genres")
    torch.testing.assert_close(found[0, 2], (genres[3] + genres[4]) / 2)
    torch.testing.assert_close(found[1, 0], tables.vectors_of("user_id")[4])
    torch.testing.assert_close(found[1, 3], 2.0 * fields.numbers[0])
    torch.testing.assert_close(found[1, 5], 3.0 * fields.numbers[2])


def test_fields_of_several_widths_are_refused() -> None:
    uneven = EmbeddingOptions({"user_id": 8}, embedding_dim_default=4)
    with pytest.raises(SettingError, match=r"all embeddings need one width, but here are \[4, 8\]"):
        Fields(inputs(INPUTS, uneven), uneven)


def test_the_linear_part_adds_a_weight_for_each_category_and_number() -> None:
    linear = OwnFirstOrder(INPUTS)
    assert linear(BATCH).tolist() == [0.0, 0.0]
    for name, weight in {"user_id": 1.0, "item_id": 10.0, "genres": 100.0}.items():
        linear.tables.vectors_of(name).fill_(weight)
    assert linear.numbers is not None
    linear.numbers.data = torch.tensor([2.0, 5.0, 7.0])
    assert linear(BATCH).tolist() == [211.0 + 1.0 + 5.0, 11.0 + 4.0 + 21.0]


def test_bottom_layers_of_another_width_are_refused() -> None:
    with pytest.raises(SettingError, match="DLRMModel: bottom_block ends at 8, but its vector meets embeddings of 4"):
        DLRMModel(SCHEMA, MLPBlock([8]), embedding_options=OPTIONS)


def test_each_expert_of_a_mixture_starts_like_a_matrix_of_its_own() -> None:
    """Xavier's uniform weights have a variance of 2 / (rows + columns)."""
    torch.manual_seed(0)
    mixture = CrossNetwork(400, depth=1, low_rank=32, num_experts=4).layers[0]
    assert mixture.up.std().item() == pytest.approx((2 / 432) ** 0.5, rel=0.05)
    assert mixture.inner.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.05)
