"""An item's bias, and the 1 that takes it, against numbers by hand."""

import math

import pytest
import torch

from tamis.nn.embeddings import EmbeddingOptions, EmbeddingTables
from tamis.nn.inputs import split_inputs
from tamis.nn.item_bias import BiasTaker, ItemBias
from tamis.nn.tower import Tower
from tamis.schema import ColumnSchema, Schema, Tags

ITEM = ColumnSchema("item", "int32", [Tags.ITEM_ID, Tags.CATEGORICAL]).with_domain(4)  # codes 0 to 4
CODES = {"item": torch.tensor([2, 0, 4, 2], dtype=torch.int32)}


def learned() -> ItemBias:
    """Item 2 was seen 8 times, item 4 twice, item 3 never; 0 and 1 are not in the catalogue."""
    bias = ItemBias(ITEM)
    bias.learn(torch.tensor([2, 3, 4]), torch.tensor([8, 0, 2]), 0.5)
    return bias


def test_the_bias_is_the_weighted_logarithm_of_the_share_of_the_most_frequent() -> None:
    rare = 0.5 * math.log(1 / 8)
    expected = [rare, rare, 0.0, rare, 0.5 * math.log(2 / 8)]
    assert learned().values.tolist() == pytest.approx(expected)


def test_item_vectors_end_with_the_bias_and_query_vectors_with_a_one() -> None:
    vectors = torch.arange(8.0).view(4, 2)
    bias = learned()
    item, query = bias(vectors, CODES), BiasTaker()(vectors, {})
    assert torch.equal(item[:, :2], vectors) and torch.equal(query[:, :2], vectors)
    assert torch.equal(item[:, 2], bias.values[[2, 0, 4, 2]]) and query[:, 2].tolist() == [1.0] * 4


def test_another_fit_forgets_the_counts_of_the_first() -> None:
    bias = learned()
    bias.learn(torch.tensor([1]), torch.tensor([1]), 0.5)
    assert bias.values.tolist() == [0.0] * 5


def test_the_bias_stands_beside_a_vector_of_length_one_and_is_not_trained() -> None:
    schema = Schema([ITEM])
    tables = EmbeddingTables(split_inputs(schema)[0], EmbeddingOptions(embedding_dim_default=3, init_std=1.0))
    tower = Tower(schema, tables, l2_normalization=True, bias=learned())
    vectors = tower(CODES)
    torch.testing.assert_close(vectors[:, :3].norm(dim=1), torch.ones(4))
    assert torch.equal(vectors[:, 3], learned().values[[2, 0, 4, 2]])
    assert list(tower.state_dict()) == ["bias.values"] and not list(tower.parameters())
