"""Item-to-item weights and lists against the plain formulas, in float64 and dense matrices."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from source_world import audience_of, catalogue_of, expected_list, interactions_of, lists_of, queries_of, random_pairs
from tamis.errors import DataError, NotFittedError, SettingError, UnknownNameError
from tamis.recommender.sources import item_weights
from tamis.recommender.sources.item_item import METHODS, ItemItem

NUM_USERS, NUM_ITEMS = 30, 23
PAIRS = random_pairs(NUM_USERS, NUM_ITEMS, 200)


def fitted(source: ItemItem, pairs=PAIRS, num_items: int = NUM_ITEMS) -> ItemItem:
    source.fit(catalogue_of(num_items), interactions_of(pairs), audience_of(NUM_USERS))
    return source


def dense(source: ItemItem) -> np.ndarray:
    """The kept weights as a matrix; rows are items of the history."""
    weights = source.weights
    matrix = np.zeros((len(weights), len(weights)))
    for item in range(len(weights)):
        place = slice(weights.offsets[item], weights.offsets[item + 1])
        matrix[item, weights.values[place]] = weights.weights[place]
    return matrix


def choices(pairs=PAIRS, num_items: int = NUM_ITEMS) -> np.ndarray:
    matrix = np.zeros((NUM_USERS, num_items))
    matrix[tuple(np.array(pairs).T)] = 1
    return matrix


def plain_weights(method: str, *, l2: float = 300.0, shrinkage: float = 20.0) -> np.ndarray:
    chosen = choices()
    if method == "ease":
        inverse = np.linalg.inv(chosen.T @ chosen + l2 * np.eye(NUM_ITEMS))
        weights = -inverse / np.diag(inverse)
    elif method == "knn":
        counts = chosen.sum(0)
        weights = chosen.T @ chosen / (np.sqrt(np.outer(counts, counts)) + shrinkage)
    else:
        of_user, of_item = np.diag(chosen.sum(1) ** -0.5), np.diag(np.maximum(chosen.sum(0), 1) ** -0.5)
        scaled = of_user @ chosen @ of_item
        weights = of_item @ scaled.T @ scaled @ np.linalg.inv(of_item)
    np.fill_diagonal(weights, 0)
    return weights


@pytest.mark.parametrize("method", METHODS)
def test_the_weights_are_those_of_the_formula(method) -> None:
    found = dense(fitted(ItemItem(method, num_neighbours=NUM_ITEMS, l2=5, shrinkage=2)))
    assert found == pytest.approx(plain_weights(method, l2=5, shrinkage=2), rel=1e-4, abs=1e-6)


def test_two_items_of_the_same_two_users_are_counted_by_hand() -> None:
    """Items 0 and 1 are chosen by users 0 and 1, item 2 by user 1 alone."""
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]
    knn = dense(fitted(ItemItem("knn", shrinkage=1), pairs, 3))
    assert knn[0] == pytest.approx([0, 2 / (2 + 1), 1 / (2**0.5 + 1)])
    graph = dense(fitted(ItemItem("graph"), pairs, 3))
    assert graph[0] == pytest.approx([0, (1 / 2 + 1 / 3) / 2, (1 / 3) / 2])
    assert graph[2] == pytest.approx([1 / 3, 1 / 3, 0])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("num_neighbours", [1, 4])
def test_each_item_keeps_the_weights_that_are_largest_in_size(method, num_neighbours) -> None:
    everything = dense(fitted(ItemItem(method, num_neighbours=NUM_ITEMS)))
    kept = dense(fitted(ItemItem(method, num_neighbours=num_neighbours)))
    for whole, row in zip(everything, kept, strict=True):
        best = expected_list(np.abs(whole), num_neighbours, above=0)
        assert np.flatnonzero(row).tolist() == sorted(best)
        assert row[best].tolist() == whole[best].tolist()


def test_how_often_a_user_met_an_item_does_not_count() -> None:
    assert dense(fitted(ItemItem("knn"))).tolist() == dense(fitted(ItemItem("knn"), PAIRS + PAIRS[:50])).tolist()


@pytest.mark.parametrize("method", METHODS)
def test_votes_of_many_users_are_added_up_in_parts_with_the_same_result(method, monkeypatch) -> None:
    whole = dense(fitted(ItemItem(method)))
    monkeypatch.setattr(item_weights, "_ENTRIES", 7)
    assert dense(fitted(ItemItem(method))) == pytest.approx(whole, rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    method=st.sampled_from(METHODS),
    num_items=st.sampled_from([2, 23, 400]),
    num_neighbours=st.sampled_from([2, 400]),
    k=st.sampled_from([1, 5, 500]),
    latest=st.sampled_from([None, 1, 3]),
    half_life=st.sampled_from([None, 1.5]),
    limited=st.booleans(),
)
def test_lists_are_those_of_the_plain_sum(
    seed, method, num_items, num_neighbours, k, latest, half_life, limited
) -> None:
    """Also where the votes are few beside the catalogue, and for items that came after the fit."""
    generator = np.random.default_rng(seed)
    pairs = random_pairs(NUM_USERS, num_items, 150, seed=seed)
    source = fitted(
        ItemItem(method, l2=2, num_neighbours=num_neighbours, latest=latest, half_life=half_life), pairs, num_items
    )
    weights = dense(source)
    newer = num_items + 2
    seen = [generator.permutation(newer)[: generator.integers(0, 6)].tolist() for _ in range(8)]
    exclude = [generator.permutation(newer)[: generator.integers(0, newer)].tolist() for _ in seen] if limited else None
    allow = generator.permutation(newer)[: 1 + newer // 2] if limited else None
    queries = queries_of(seen)
    found = source.search(queries, k, exclude=exclude, allow=allow)
    answered = source.can_answer(queries)
    for row, history in enumerate(seen):
        scores = np.zeros(num_items)
        for age, item in enumerate(reversed(history[-latest:] if latest else history)):
            if item < num_items:
                scores += weights[item] * (1 if half_life is None else 0.5 ** (age / half_life))
        scores = scores.astype(np.float32)
        expected = expected_list(
            scores, k, exclude=exclude[row] if limited else (), allow=None if allow is None else allow.tolist(), above=0
        )
        assert lists_of(found)[row] == expected
        assert found.scores[row, : len(expected)].tolist() == scores[expected].tolist()
        voters = [item for item in (history[-latest:] if latest else history) if item < num_items]
        assert answered[row] == bool((weights[voters] != 0).any())


def test_equal_scores_come_in_the_order_of_their_rows() -> None:
    """All items are chosen by the same users, so each speaks for all others alike."""
    pairs = [(user, item) for user in range(5) for item in range(9)]
    source = fitted(ItemItem("knn"), pairs, 9)
    assert lists_of(source.search(queries_of([[4], [0, 8]]), 4)) == [[0, 1, 2, 3], [1, 2, 3, 4]]


def test_an_item_against_which_the_history_speaks_is_no_candidate() -> None:
    """Users take 0 with 1, or 2 with 1, never 0 with 2: given 1 is known, 0 speaks against 2."""
    pairs = [(user, item) for user in range(20) for item in ([0, 1] if user % 2 else [2, 1])]
    source = fitted(ItemItem("ease", l2=1), pairs, 3)
    assert dense(source)[0, 2] < 0
    assert lists_of(source.search(queries_of([[0]]), 3)) == [[1]]


def test_recent_items_of_the_history_count_more_when_asked_for() -> None:
    pairs = [(0, 0), (0, 1), (1, 2), (1, 3), (2, 0), (2, 1), (3, 2), (3, 3)]
    both = queries_of([[0, 2]])
    assert lists_of(fitted(ItemItem("knn"), pairs, 4).search(both, 4, exclude=[[0, 2]])) == [[1, 3]]
    assert lists_of(fitted(ItemItem("knn", half_life=1), pairs, 4).search(both, 4, exclude=[[0, 2]])) == [[3, 1]]
    assert lists_of(fitted(ItemItem("knn", latest=1), pairs, 4).search(both, 4, exclude=[[0, 2]])) == [[3]]


@pytest.mark.parametrize("method", METHODS)
def test_a_loaded_source_answers_like_the_saved_one(method, tmp_path) -> None:
    source = fitted(ItemItem(method, quota=9, l2=7, num_neighbours=5, latest=4, half_life=2.0, name="together"))
    source.save(tmp_path)
    again = ItemItem.load(tmp_path, json.loads(json.dumps(source.settings())))
    assert again.settings() == source.settings()
    queries = queries_of([[0, 5], [3], []])
    assert again.search(queries, 5).scores.tolist() == source.search(queries, 5).scores.tolist()
    assert again.search(queries, 5).ids.tolist() == source.search(queries, 5).ids.tolist()


def test_the_name_is_that_of_the_class_unless_one_is_given() -> None:
    assert (ItemItem().name, ItemItem(name="with_it").name, ItemItem().quota) == ("item_item", "with_it", 100)


def test_a_catalogue_too_large_for_a_dense_matrix_is_refused_with_the_way_out() -> None:
    with pytest.raises(
        SettingError,
        match=r"item_item: EASE over 23 items inverts .* takes 0\.0 GB, and max_dense_items is 22\. Choose ",
    ):
        fitted(ItemItem(max_dense_items=22))
    fitted(ItemItem("knn", max_dense_items=22))


def test_a_regularisation_below_the_precision_is_refused() -> None:
    pairs = [(user, item) for user in range(NUM_USERS) for item in range(4)]  # four equal columns
    with pytest.raises(
        SettingError, match=r"ease_weights: with l2 1e-20 the matrix cannot be inverted\. Give a larger"
    ):
        fitted(ItemItem(l2=1e-20), pairs, 4)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"ItemItem: there is no method 'eas'\. Did you mean 'ease'\?"):
        ItemItem("eas")
    for name in ("l2", "num_neighbours", "latest", "half_life"):
        with pytest.raises(SettingError, match=rf"ItemItem: {name} is 0\. Give a number above 0\."):
            ItemItem(**{name: 0})
    with pytest.raises(SettingError, match=r"ItemItem: shrinkage is -1\. Give a number from 0 on\."):
        ItemItem(shrinkage=-1)
    with pytest.raises(SettingError, match=r"ItemItem: the quota is 0\. Give 1 candidate or more\."):
        ItemItem(quota=0)


def test_searching_before_the_fit_and_fitting_on_nothing_are_refused() -> None:
    with pytest.raises(NotFittedError, match=r"item_item: there are no weights yet\. Call Recommender\.fit first\."):
        ItemItem().search(queries_of([[0]]), 1)
    with pytest.raises(DataError, match=r"item_item: there are no interactions to learn from\."):
        fitted(ItemItem(), [])


def test_wrong_requests_are_refused() -> None:
    source = fitted(ItemItem("knn"))
    with pytest.raises(SettingError, match=r"item_item\.search: k is 0\. Give a length of 1 or more\."):
        source.search(queries_of([[0]]), 0)
    with pytest.raises(SettingError, match=r"item_item\.search: exclude holds 2 lists for 1 queries\."):
        source.search(queries_of([[0]]), 1, exclude=[[1], [2]])
