import numpy as np
import pytest

from tamis.recommender.negative_draws import NegativeDraws, Negatives, NegativeSettings


def draw(
    num_negatives: int = 2,
    *,
    uniform: float = 0.0,
    popular: float = 0.0,
    counts: list[int] | None = None,
    requests: int = 1,
) -> Negatives:
    """One user with the candidates 1, 2, 2, -1, 3 out of eight items, who took items 1 and 7."""
    settings = NegativeSettings(num_negatives, uniform, popular, seed=0)
    draws = NegativeDraws(settings, 8, None if counts is None else np.array(counts))
    pools, taken = np.array([[1, 2, 2, -1, 3]]), np.array([7, 1])
    keys = np.arange(requests, dtype=np.uint64)
    return draws.draw(np.zeros(requests, np.int64), np.ones(requests, np.int64), keys, pools, taken)


def test_a_candidate_that_comes_twice_is_one() -> None:
    found = draw(5)
    assert sorted(found.items.tolist()) == [2, 3]
    assert found.stands_for.tolist() == [1.0, 1.0]


def test_each_drawn_candidate_stands_for_its_share_of_the_free_ones() -> None:
    found = draw(1, requests=1000)
    assert found.requests.tolist() == list(range(1000))
    assert set(found.stands_for.tolist()) == {2.0}
    assert abs((found.items == 2).mean() - 0.5) < 0.06  # four deviations


def test_all_items_but_the_taken_and_the_chosen_are_drawn_from() -> None:
    """Two candidates, then even draws: the six that are free in all, each once."""
    found = draw(8, uniform=0.75)
    assert sorted(found.items.tolist()) == [0, 2, 3, 4, 5, 6]
    assert found.stands_for.tolist() == [1.0] * 6


def test_items_without_rows_are_never_popular() -> None:
    found = draw(1, popular=1.0, counts=[0, 5, 0, 0, 10, 0, 30, 5], requests=2000)
    counts = np.bincount(found.items, minlength=8)
    assert counts[[0, 1, 2, 3, 5, 7]].sum() == 0 and counts.sum() == 2000
    assert abs(counts[6] / counts.sum() - 0.75) < 0.05


def test_no_request_and_no_candidates_give_nothing() -> None:
    draws = NegativeDraws(NegativeSettings(2, 0.0, 0.0, seed=0), 8)
    none = np.zeros(0, np.int64)
    assert len(draws.draw(none, none, none.astype(np.uint64), np.zeros((0, 3), np.int64), none).items) == 0
    empty = np.zeros((1, 0), np.int64)
    assert len(draws.draw(np.zeros(1, np.int64), np.ones(1, np.int64), np.ones(1, np.uint64), empty, none).items) == 0


@pytest.mark.parametrize("seed", [-1, 2**64, 2**70])
def test_any_whole_number_is_a_seed(seed: int) -> None:
    draws = NegativeDraws(NegativeSettings(1, 0.0, 0.0, seed=seed), 8)
    found = draws.draw(
        np.zeros(1, np.int64), np.ones(1, np.int64), np.ones(1, np.uint64), np.array([[4]]), np.zeros(0, int)
    )
    assert found.items.tolist() == [4]
