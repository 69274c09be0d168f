"""The exact best k against a stable sort of all scores."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import DataError, SettingError
from tamis.evaluation.pairs import Pairs
from tamis.evaluation.top_k import top_k


def by_sorting(queries, candidates, k, excluded=None):
    """All scores, excluded ones -inf, sorted stably: equal ones stay in the order of their positions."""
    scores = queries.double() @ candidates.double().T
    for row, position in excluded or []:
        scores[row, position] = -torch.inf
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    found = scores.gather(1, order)
    return found, order.masked_fill(found == -torch.inf, -1)


def whole_numbers(generator, rows, dim, largest):
    """Vectors whose inner products are exact and massively tied."""
    return torch.from_numpy(generator.integers(-largest, largest + 1, (rows, dim))).float()


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    num_candidates=st.sampled_from([1, 2, 63, 64, 65, 700, 5_000]),
    k=st.integers(1, 40),
    largest=st.integers(0, 3),
    block_rows=st.sampled_from([None, 1, 3]),
)
def test_tied_scores_come_in_the_order_of_their_positions(seed, num_candidates, k, largest, block_rows) -> None:
    k = min(k, num_candidates)
    generator = np.random.default_rng(seed)
    queries = whole_numbers(generator, 7, 4, largest)
    candidates = whole_numbers(generator, num_candidates, 4, largest)
    pairs = generator.integers(0, (7, num_candidates), (10 * num_candidates // 3, 2))
    excluded = Pairs.from_arrays(pairs[:, 0], pairs[:, 1], 7)
    for left_out, listed in ((None, None), (excluded, pairs.tolist())):
        scores, positions = top_k(queries, candidates, k, excluded=left_out, block_rows=block_rows)
        expected_scores, expected = by_sorting(queries, candidates, k, listed)
        assert torch.equal(positions, expected)
        assert torch.equal(scores.double(), expected_scores)


@pytest.mark.parametrize("largest", [0, 1, 30])
@pytest.mark.parametrize("k", [1, 10, 300])
def test_lists_over_several_tiles_of_candidates_are_exact(largest, k) -> None:
    generator = np.random.default_rng(k)
    queries, candidates = whole_numbers(generator, 20, 8, largest), whole_numbers(generator, 40_001, 8, largest)
    pairs = generator.integers(0, (20, 40_001), (5_000, 2))
    excluded = Pairs.from_arrays(pairs[:, 0], pairs[:, 1], 20)
    _, positions = top_k(queries, candidates, k, excluded=excluded)
    assert torch.equal(positions, by_sorting(queries, candidates, k, pairs.tolist())[1])


def test_a_k_of_the_whole_catalogue_is_a_sort() -> None:
    generator = np.random.default_rng(0)
    queries, candidates = whole_numbers(generator, 5, 4, 2), whole_numbers(generator, 20_000, 4, 2)
    _, positions = top_k(queries, candidates, 20_000)
    assert torch.equal(positions, by_sorting(queries, candidates, 20_000)[1])


def test_equal_vectors_have_equal_scores_wherever_they_stand() -> None:
    torch.manual_seed(0)
    vector = torch.randn(1, 64)
    _, positions = top_k(torch.randn(3, 64), vector.expand(16_391, 64), 5)
    assert positions.tolist() == [[0, 1, 2, 3, 4]] * 3
    _, positions = top_k(torch.randn(1, 64), vector.expand(7, 64), 5)
    assert positions.tolist() == [[0, 1, 2, 3, 4]]


def test_where_too_few_candidates_are_left_the_list_ends_with_minus_one() -> None:
    excluded = Pairs.from_arrays([0, 0, 1], [0, 2, 0], 2)
    scores, positions = top_k(torch.ones(2, 1), torch.tensor([[3.0], [2.0], [1.0]]), 2, excluded=excluded)
    assert positions.tolist() == [[1, -1], [1, 2]]
    assert scores.tolist() == [[2.0, -torch.inf], [2.0, 1.0]]


def test_half_precision_is_computed_in_float32_and_double_in_double() -> None:
    candidates = torch.tensor([[1.0], [2.0]])
    assert top_k(torch.ones(1, 1).half(), candidates.half(), 1)[0].dtype == torch.float32
    assert top_k(torch.ones(1, 1).double(), candidates.double(), 1)[0].dtype == torch.float64


def test_no_queries_give_no_lists() -> None:
    scores, positions = top_k(torch.ones(0, 3), torch.ones(4, 3), 2)
    assert scores.shape == positions.shape == (0, 2)


@pytest.mark.parametrize(
    ("k", "message"),
    [
        (0, "top_k: k is 0. Give a length of 1 or more."),
        (11, "top_k: k is 11, but the catalogue has only 10 candidates. Give a k of at most 10, or add candidates."),
    ],
)
def test_an_impossible_k_is_refused(k, message) -> None:
    with pytest.raises(SettingError, match=re.escape(message)):
        top_k(torch.ones(1, 2), torch.ones(10, 2), k)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SettingError, match=r"queries of shape \[1, 2\] and candidates of shape \[3, 4\] do not fit"):
        top_k(torch.ones(1, 2), torch.ones(3, 4), 1)
    with pytest.raises(SettingError, match="the excluded pairs are those of 2 queries, but there are 1"):
        top_k(torch.ones(1, 2), torch.ones(3, 2), 1, excluded=Pairs.from_arrays([], [], 2))
    with pytest.raises(DataError, match="the excluded pairs hold position 3, but there are 3 candidates"):
        top_k(torch.ones(1, 2), torch.ones(3, 2), 1, excluded=Pairs.from_arrays([0], [3], 1))


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_vectors_that_are_not_finite_are_named(wrong) -> None:
    vectors = torch.ones(5, 2)
    vectors[3, 1] = wrong
    with pytest.raises(DataError, match="top_k: 1 query vectors are not finite, the first at row 3"):
        top_k(vectors, torch.ones(4, 2), 1)
    with pytest.raises(DataError, match="top_k: 1 candidate vectors are not finite, the first at row 3"):
        top_k(torch.ones(4, 2), vectors, 1)


def test_scores_that_overflow_are_refused_but_large_sums_are_not() -> None:
    large = torch.full((2, 2), 3e38)
    with pytest.raises(DataError, match="top_k: scores overflow although all vectors are finite"):
        top_k(large, large, 1)
    assert top_k(large, torch.zeros(2, 2), 1)[0].tolist() == [[0.0], [0.0]]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_lists_of_the_cpu() -> None:
    generator = np.random.default_rng(0)
    queries, candidates = whole_numbers(generator, 50, 8, 2), whole_numbers(generator, 200_000, 8, 2)
    excluded = Pairs.from_arrays(generator.integers(0, 50, 500), generator.integers(0, 200_000, 500), 50)
    expected = top_k(queries, candidates, 20, excluded=excluded)
    found = top_k(queries.cuda(), candidates.cuda(), 20, excluded=excluded)
    assert found[0].is_cuda
    assert torch.equal(found[1].cpu(), expected[1])
