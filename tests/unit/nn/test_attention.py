"""Attention and padding against the same written by hand."""

import torch

from tamis.nn.attention import FieldAttention, TargetAttention
from tamis.nn.sequences import padded


def test_a_field_is_a_mixture_weighted_by_inner_products() -> None:
    torch.manual_seed(0)
    attention, fields = FieldAttention(3, head_dim=2, num_heads=2), torch.randn(1, 4, 3)
    query, key, value = (fields[0] @ attention.query_key_value.weight.T).split(4, dim=1)
    heads = []
    for head in (slice(0, 2), slice(2, 4)):
        weights = torch.softmax(query[:, head] @ key[:, head].T, dim=1)
        heads.append(weights @ value[:, head])
    expected = torch.relu(torch.cat(heads, dim=1) + fields[0] @ attention.residual.weight.T)
    torch.testing.assert_close(attention(fields)[0], expected)


def test_a_history_counts_by_what_the_network_says_of_each_pair() -> None:
    torch.manual_seed(0)
    attention = TargetAttention(2, hidden=3)
    candidate, history = torch.randn(1, 2), torch.randn(1, 3, 2)
    there = torch.tensor([[True, True, False]])
    expected = torch.zeros(2)
    for vector in history[0, :2]:
        own = candidate[0]
        expected += attention.weight(torch.cat([own, vector, own - vector, own * vector])) * vector
    torch.testing.assert_close(attention(candidate, history, there)[0], expected)


def test_a_history_that_is_all_padding_gives_zeros() -> None:
    attention = TargetAttention(2)
    assert attention(torch.ones(1, 2), torch.ones(1, 3, 2), torch.zeros(1, 3, dtype=torch.bool)).tolist() == [[0, 0]]
    assert attention(torch.ones(1, 2), torch.ones(1, 0, 2), torch.zeros(1, 0, dtype=torch.bool)).tolist() == [[0, 0]]


def test_lists_become_rows_with_zeros_behind() -> None:
    values, offsets = torch.tensor([5, 6, 7, 8]), torch.tensor([0, 3, 3, 4])
    assert padded(values, offsets).tolist() == [[5, 6, 7], [0, 0, 0], [8, 0, 0]]
    assert padded(values, offsets, 2).tolist() == [[6, 7], [0, 0], [8, 0]]


def test_lists_without_values_become_rows_without_columns() -> None:
    empty = torch.tensor([], dtype=torch.int64)
    assert padded(empty, torch.tensor([0, 0, 0])).shape == (2, 0)
