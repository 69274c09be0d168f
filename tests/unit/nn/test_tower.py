"""A tower against the same thing written by hand."""

import polars as pl
import pytest
import torch

from tamis.errors import SchemaError, SettingError
from tamis.nn.embeddings import EmbeddingOptions, EmbeddingTables
from tamis.nn.inputs import input_width, split_inputs
from tamis.nn.mlp import MLPBlock
from tamis.nn.tower import Tower
from tamis.schema import ColumnSchema, Schema, Tags

AGE = ColumnSchema("age", "float32", Tags.CONTINUOUS)
USER = ColumnSchema("user").with_domain(6)
CITY = ColumnSchema("city").with_domain(3)
JOB = ColumnSchema("job").with_domain(4)
SEEN = ColumnSchema("seen", is_list=True).with_domain(6, name="item")
SCHEMA = Schema([AGE, USER, SEEN, CITY, JOB])
OPTIONS = EmbeddingOptions(embedding_dims={"city": 2, "user": 3, "job": 3}, embedding_dim_default=4)
BATCH = {
    "age": torch.tensor([0.5, -2.0, 3.0]),
    "user": torch.tensor([6, 0, 3], dtype=torch.int32),
    "city": torch.tensor([1, 3, 0], dtype=torch.int32),
    "job": torch.tensor([4, 4, 1], dtype=torch.int32),
    "seen__values": torch.tensor([5, 0, 2, 6], dtype=torch.int32),
    "seen__offsets": torch.tensor([0, 3, 3, 4]),
}


def tower(schema: Schema = SCHEMA, **settings: object) -> Tower:
    torch.manual_seed(0)
    return Tower(schema, EmbeddingTables(split_inputs(schema)[0], OPTIONS), **settings)  # type: ignore[arg-type]


def by_hand(built: Tower) -> torch.Tensor:
    """Scalars by width (city; user, job), the list, the number."""
    look = built.tables.vectors_of
    rows = []
    for i, seen in enumerate([[5, 2], [], [6]]):
        mean = sum(look("item")[code] for code in seen) / len(seen) if seen else torch.zeros(4)
        parts = [look("city")[BATCH["city"][i]], look("user")[BATCH["user"][i]], look("job")[BATCH["job"][i]]]
        rows.append(torch.cat([*parts, mean, BATCH["age"][i : i + 1]]))
    return torch.stack(rows)


def test_inputs_are_embeddings_lists_and_numbers_side_by_side() -> None:
    built = tower()
    torch.testing.assert_close(built.inputs(BATCH), by_hand(built))
    assert input_width(SCHEMA, OPTIONS) == built.inputs(BATCH).shape[1] == 2 + 3 + 3 + 4 + 1


def test_vectors_of_one_length_enter_as_they_are_and_code_matrices_as_lists() -> None:
    picture = ColumnSchema("picture", pl.Array(pl.Float32, 2), Tags.EMBEDDING)
    last = ColumnSchema("last", pl.Array(pl.Int32, 2)).with_domain(6, name="item")
    built = tower(Schema([picture, last]))
    batch = {"picture": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "last": torch.tensor([[0, 5], [2, 6]])}
    item = built.tables.vectors_of("item")
    expected = torch.cat([torch.stack([item[5], (item[2] + item[6]) / 2]), batch["picture"]], dim=1)
    torch.testing.assert_close(built.inputs(batch), expected)
    assert input_width(built.schema, OPTIONS) == 4 + 2


def test_lists_of_numbers_of_any_length_are_refused_with_the_way_out() -> None:
    with pytest.raises(SchemaError, match=r"column 'prices': a list of float32 .* make its lists arrays of one length"):
        split_inputs(Schema([ColumnSchema("prices", pl.List(pl.Float32))]))


def test_layers_come_after_the_inputs_and_length_one_at_the_end() -> None:
    layers = MLPBlock([5, 2], no_activation_last_layer=True).build(13)
    built = tower(layers=layers, l2_normalization=True)
    x = by_hand(built)
    x = torch.relu(x @ layers[0].weight.T + layers[0].bias) @ layers[2].weight.T + layers[2].bias
    torch.testing.assert_close(built(BATCH), x / x.norm(dim=1, keepdim=True))
    torch.testing.assert_close(built(BATCH).norm(dim=1), torch.ones(3))


def test_gradients_reach_scalars_lists_and_layers() -> None:
    built = tower(layers=torch.nn.Linear(13, 1))
    built(BATCH).sum().backward()
    weight = built.layers.weight[0].detach()
    gradients = built.tables.row_gradients()
    assert built.layers.bias.grad.item() == 3.0
    table = built.tables.tables["item"]
    rows, gradient = gradients["4"]
    expected = torch.zeros(7, 4)
    expected[5] += weight[8:12] / 2
    expected[2] += weight[8:12] / 2
    expected[6] += weight[8:12]
    torch.testing.assert_close(torch.zeros(7, 4).index_add_(0, rows - table.first, gradient), expected)


def test_a_zero_vector_keeps_its_length() -> None:
    built = tower(Schema([AGE]), l2_normalization=True)
    assert built({"age": torch.tensor([0.0, 2.0])}).tolist() == [[0.0], [1.0]]


def test_a_tower_of_numbers_only_has_no_tables() -> None:
    assert tower(Schema([AGE]))({"age": torch.tensor([0.0, 2.0])}).tolist() == [[0.0], [2.0]]


def test_wide_codes_do_as_well_as_narrow_ones() -> None:
    built = tower()
    wide = {name: t.long() if t.dtype == torch.int32 else t for name, t in BATCH.items()}
    torch.testing.assert_close(built(wide), built(BATCH))
    mixed = {**BATCH, "job": BATCH["job"].long()}
    torch.testing.assert_close(built(mixed), built(BATCH))


def test_a_code_outside_its_table_is_refused_by_column() -> None:
    with pytest.raises(SettingError, match=r"column 'job': the code 5 is outside its 5 categories"):
        tower()({**BATCH, "job": torch.tensor([0, 5, 1])})
    with pytest.raises(SettingError, match=r"column 'seen': the code 7 is outside its 7 categories"):
        tower()({**BATCH, "seen__values": torch.tensor([1, 7, 1, 1])})


def test_fractional_codes_are_refused_by_column() -> None:
    with pytest.raises(SettingError, match=r"column 'city': .*float32.*whole numbers"):
        tower()({**BATCH, "city": torch.tensor([0.0, 1.0, 1.0])})
    with pytest.raises(SettingError, match=r"column 'seen': .*float32.*whole numbers"):
        tower()({**BATCH, "seen__values": torch.ones(4)})


def test_what_is_neither_categorical_nor_continuous_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"column 'name': a string is neither categorical nor continuous\. Encode"):
        split_inputs(Schema([ColumnSchema("name", "string")]))
    with pytest.raises(SchemaError, match=r"column 'n': a list of float32 is neither"):
        split_inputs(Schema([ColumnSchema("n", "float32", is_list=True)]))
    with pytest.raises(SchemaError, match=r"column 'n': a int64 is neither"):
        split_inputs(Schema([ColumnSchema("n")]))


def test_a_number_with_a_domain_stays_a_number() -> None:
    price = ColumnSchema("price", "float32").with_domain(100)
    count = ColumnSchema("count", "int64", Tags.CONTINUOUS).with_domain(100)
    coded = ColumnSchema("coded", "float32", Tags.CATEGORICAL).with_domain(100)
    categorical, continuous = split_inputs(Schema([price, count, coded]))
    assert [c.name for c in categorical] == ["coded"] and [c.name for c in continuous] == ["price", "count"]


def test_a_tower_does_not_own_the_tables_it_shares() -> None:
    built = tower(layers=torch.nn.Linear(13, 1))
    assert sorted(built.state_dict()) == ["layers.bias", "layers.weight"]
