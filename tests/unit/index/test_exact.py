"""Exact search against a stable sort of all scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import DataError
from tamis.index import exact
from tamis.index.exact import ExactIndex


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    num_vectors=st.sampled_from([1, 2, 63, 64, 65, 500]),
    k=st.integers(1, 70),
    largest=st.integers(0, 3),
)
def test_equal_scores_come_in_the_order_of_their_ids(seed, num_vectors, k, largest) -> None:
    generator = np.random.default_rng(seed)
    vectors, queries = (generator.integers(-largest, largest + 1, (n, 4)).astype(float) for n in (num_vectors, 6))
    ids = generator.permutation(3 * num_vectors)[:num_vectors]
    exclude = [generator.choice(3 * num_vectors, num_vectors // 2) for _ in queries]
    found = ExactIndex().build(vectors, ids).search(queries, k, exclude=exclude)
    for row, query in enumerate(queries):
        left = sorted((-float(vector @ query), item) for vector, item in zip(vectors, ids, strict=True))
        left = [(-score, int(item)) for score, item in left if item not in exclude[row]][:k]
        missing = k - len(left)
        assert found.ids[row].tolist() == [item for _, item in left] + [-1] * missing
        assert found.scores[row].tolist() == [score for score, _ in left] + [-np.inf] * missing


def test_equal_vectors_have_equal_scores_wherever_they_stand() -> None:
    generator = np.random.default_rng(0)
    vector = generator.normal(size=(1, 64))
    for num_vectors in (7, 64, 1_000, 16_391):
        index = ExactIndex().build(np.repeat(vector, num_vectors, axis=0), np.arange(num_vectors))
        for num_queries in (1, 3):
            found = index.search(generator.normal(size=(num_queries, 64)), 5)
            assert found.ids.tolist() == [[0, 1, 2, 3, 4]] * num_queries


def test_queries_come_in_blocks_with_the_same_result(monkeypatch) -> None:
    generator = np.random.default_rng(0)
    index = ExactIndex().build(generator.integers(-2, 3, (300, 4)), np.arange(300))
    queries, exclude = generator.integers(-2, 3, (10, 4)), [[row, 2 * row] for row in range(10)]
    whole = index.search(queries, 7, exclude=exclude)
    monkeypatch.setattr(exact, "_ENTRIES", 700)  # two queries a block
    assert np.array_equal(index.search(queries, 7, exclude=exclude).ids, whole.ids)


def test_duplicate_ids_are_named() -> None:
    with pytest.raises(DataError, match=r"ExactIndex.build: the id 4 is given more than once \(1 such rows\)"):
        ExactIndex().build(np.ones((3, 2)), [4, 5, 4])


def test_the_index_says_what_it_holds() -> None:
    assert repr(ExactIndex()) == "ExactIndex(0 vectors of width 0)"
    assert repr(ExactIndex().build(np.ones((2, 3)), [1, 2])) == "ExactIndex(2 vectors of width 3)"
