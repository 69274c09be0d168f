"""Fused tables must be what separate tables with autograd are."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tamis.errors import SchemaError, SettingError, UnknownNameError
from tamis.nn.embeddings import EmbeddingOptions, EmbeddingTables, check_codes, combine, sum_by_row
from tamis.schema import ColumnSchema


def column(name: str, num_codes: int, domain: str | None = None) -> ColumnSchema:
    return ColumnSchema(name).with_domain(num_codes - 1, name=domain)


COLUMNS = [column("user", 7), column("item", 5), column("seen", 5, "item"), column("city", 4)]
OPTIONS = EmbeddingOptions(embedding_dims={"city": 3}, embedding_dim_default=2)


def test_columns_of_one_domain_share_a_table_and_tables_of_one_width_a_weight() -> None:
    tables = EmbeddingTables(COLUMNS, OPTIONS)
    assert sorted(tables.tables) == ["city", "item", "user"]
    assert {width: list(weight.shape) for width, weight in tables.weights.items()} == {"2": [12, 2], "3": [4, 3]}
    assert torch.equal(tables.vectors_of("user"), tables.weights["2"][:7])
    assert torch.equal(tables.vectors_of("item"), tables.weights["2"][7:])


def test_gradients_of_the_rows_are_those_of_separate_embeddings() -> None:
    tables = EmbeddingTables(COLUMNS, OPTIONS)
    apart = {
        name: nn.Embedding.from_pretrained(tables.vectors_of(name).clone(), freeze=False) for name in tables.tables
    }
    user, item, city = torch.tensor([6, 0, 6, 3]), torch.tensor([4, 4, 4, 0]), torch.tensor([1, 1, 0, 3])
    first_item = tables.tables["item"].first
    mix = torch.arange(8.0).view(4, 2) - 3

    def loss(u: Tensor, i: Tensor, c: Tensor, i_again: Tensor) -> Tensor:
        return ((u * i * mix).sum(dim=1) * c.sum(dim=1)).square().sum() + i_again.sum()

    loss(apart["user"](user), apart["item"](item), apart["city"](city), apart["item"](item[:2])).backward()
    loss(tables(2, user), tables(2, item + first_item), tables(3, city), tables(2, item[:2] + first_item)).backward()
    found = tables.row_gradients()
    dense = {"2": torch.cat([apart["user"].weight.grad, apart["item"].weight.grad]), "3": apart["city"].weight.grad}
    assert found["2"][0].tolist() == [0, 3, 6, 7, 11] and found["3"][0].tolist() == [0, 1, 3]
    for width, (rows, gradient) in found.items():
        torch.testing.assert_close(torch.zeros_like(tables.weights[width]).index_add_(0, rows, gradient), dense[width])


def test_no_gradient_of_a_tables_size_exists() -> None:
    tables = EmbeddingTables([column("item", 100_000)], OPTIONS)
    tables(2, torch.tensor([3, 99_999])).sum().backward()
    weight = tables.weights["2"]
    assert not weight.requires_grad and weight.grad is None
    ((rows, gradient),) = tables.row_gradients().values()
    assert rows.tolist() == [3, 99_999] and gradient.tolist() == [[1.0, 1.0]] * 2


def test_gradients_are_handed_out_once() -> None:
    tables = EmbeddingTables(COLUMNS, OPTIONS)
    tables(2, torch.tensor([1])).sum().backward()
    assert tables.row_gradients() and not tables.row_gradients()


def test_lookups_outside_training_are_not_remembered() -> None:
    tables = EmbeddingTables(COLUMNS, OPTIONS)
    with torch.no_grad():
        tables(2, torch.tensor([1]))
    tables.eval()
    assert not tables(2, torch.tensor([1])).requires_grad
    assert not tables._lookups


def test_a_lookup_without_a_loss_gives_no_gradient() -> None:
    tables = EmbeddingTables(COLUMNS, OPTIONS)
    tables(2, torch.tensor([1]))
    assert tables.row_gradients() == {}


def test_first_weights_have_the_deviation_asked_for() -> None:
    tables = EmbeddingTables([column("item", 20_000)], EmbeddingOptions(embedding_dim_default=4, init_std=0.2))
    vectors = tables.vectors_of("item")
    assert vectors.std().item() == pytest.approx(0.2, rel=0.02)
    assert vectors.mean().item() == pytest.approx(0.0, abs=0.01)


def test_widths_by_column_by_domain_inferred_and_rounded() -> None:
    seen = column("seen", 10_000, "item")
    assert EmbeddingOptions().width_of(seen) == 64
    assert EmbeddingOptions(embedding_dims={"item": 5}).width_of(seen) == 5
    assert EmbeddingOptions(embedding_dims={"item": 5, "seen": 6}).width_of(seen) == 6
    inferred = EmbeddingOptions(infer_embedding_sizes=True)
    assert inferred.width_of(seen) == 20  # 10,000 ** .25 * 2
    assert inferred.width_of(column("a", 10_001)) == 21
    rounded = EmbeddingOptions(infer_embedding_sizes=True, ensure_multiple_of_8=True)
    assert [rounded.width_of(column("a", n)) for n in (10_000, 256, 257)] == [24, 8, 16]


@pytest.mark.parametrize("multiplier", [0.0, -2.0, float("nan")])
def test_a_multiplier_that_leaves_no_width_is_refused(multiplier: float) -> None:
    with pytest.raises(SettingError, match=r"EmbeddingOptions: infer_embedding_sizes_multiplier is .*above 0"):
        EmbeddingOptions(infer_embedding_sizes_multiplier=multiplier)


@pytest.mark.parametrize("std", [-0.1, float("nan")])
def test_a_negative_deviation_is_refused(std: float) -> None:
    with pytest.raises(SettingError, match=r"EmbeddingOptions: init_std is .*0 or more"):
        EmbeddingOptions(init_std=std)


def test_a_width_below_one_is_refused() -> None:
    with pytest.raises(SettingError, match=r"EmbeddingOptions: the width of 'city' is 0\. Choose 1 or more"):
        EmbeddingOptions(embedding_dims={"city": 0})


def test_an_unknown_combiner_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"no combiner 'meen'\. Did you mean 'mean'\?"):
        EmbeddingOptions(combiner="meen")


def test_a_column_of_unknown_size_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"column 'zip': its number of categories is not known\. Encode it"):
        EmbeddingTables([ColumnSchema("zip")], OPTIONS)


def test_two_sizes_of_one_domain_are_refused() -> None:
    with pytest.raises(SchemaError, match=r"column 'seen': it shares the domain 'item' but has 6 categories, not 5"):
        EmbeddingTables([column("item", 5), column("seen", 6, "item")], OPTIONS)


def test_two_widths_of_one_table_are_refused() -> None:
    options = EmbeddingOptions(embedding_dims={"item_id": 8}, embedding_dim_default=4)
    shared = [column("seen", 5, "item"), column("item_id", 5, "item")]
    with pytest.raises(SchemaError, match=r"column 'item_id': .*'item'.* width 8.*not 4.*embedding_dims"):
        EmbeddingTables(shared, options)
    EmbeddingTables(shared, EmbeddingOptions(embedding_dims={"item": 8}))


def test_codes_outside_their_table_are_refused_by_column() -> None:
    check_codes(torch.tensor([[0, 3], [6, 0]]), [7, 4], ["user", "city"])
    check_codes(torch.empty(0, dtype=torch.int64), [7], ["user"])
    with pytest.raises(SettingError, match=r"column 'city': the code 4 is outside its 4 categories\. Encode the data"):
        check_codes(torch.tensor([[0, 3], [6, 4]]), [7, 4], ["user", "city"])
    with pytest.raises(SettingError, match=r"column 'user': the code -1 is outside its 7 categories"):
        check_codes(torch.tensor([0, -1]), [7], ["user"])


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=8),
    combiner=st.sampled_from(["mean", "sum", "max"]),
    seed=st.integers(0, 2**31),
)
def test_lists_combine_as_in_a_python_loop(lengths: list[int], combiner: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(sum(lengths), 3, generator=generator)
    codes = torch.randint(0, 4, (sum(lengths),), generator=generator)  # 0 is padding
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    found = combine(vectors, codes, offsets, combiner)
    for row in range(len(lengths)):
        values = [vectors[i].tolist() for i in range(int(offsets[row]), int(offsets[row + 1])) if codes[i].item() != 0]
        together = {"mean": lambda x: sum(x) / len(x), "sum": sum, "max": max}[combiner]
        expected = [together(dimension) for dimension in zip(*values, strict=True)] if values else [0.0] * 3
        assert found[row].tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("combiner", ["mean", "sum", "max"])
def test_padding_gets_no_gradient_and_an_empty_list_breaks_none(combiner: str) -> None:
    vectors = torch.tensor([[1.0], [5.0], [2.0]], requires_grad=True)
    combine(vectors, torch.tensor([3, 0, 2]), torch.tensor([0, 3, 3]), combiner).sum().backward()
    assert vectors.grad is not None
    expected = {"mean": [0.5, 0, 0.5], "sum": [1, 0, 1], "max": [0, 0, 1]}[combiner]
    assert vectors.grad[:, 0].tolist() == expected


def test_sums_by_row_keep_each_row_once() -> None:
    rows, summed = sum_by_row(torch.tensor([5, 2, 5]), torch.tensor([[1.0], [10.0], [2.0]]))
    assert rows.tolist() == [2, 5] and summed.tolist() == [[10.0], [3.0]]
