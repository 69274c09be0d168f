"""Metrics from places alone, against the lists that the places come from."""

import numpy as np
import pytest

from tamis.errors import SettingError
from tamis.evaluation.list_judging import Pairs, judge_lists, popular_lists
from tamis.evaluation.rank_values import accuracy_metrics, ranks_in, values_of_ranks

METRICS = ["ndcg_at_3", "recall_at_2", "mrr_at_3", "map_at_3", "hit_rate_at_1", "precision_at_2", "capped_recall_at_2"]


def test_places_are_counted_from_one_and_an_item_that_is_not_there_has_none() -> None:
    lists = np.array([[7, 3, -1], [4, 5, 6]])
    query, item = np.array([0, 0, 0, 1, 1, 0]), np.array([3, 7, 4, 6, 3, -1])
    assert ranks_in(lists, query, item).tolist() == [2, 1, 0, 3, 0, 0]
    assert ranks_in(np.zeros((2, 0), np.int64), query, item).tolist() == [0] * 6


def test_values_are_those_of_the_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr("tamis.evaluation.rank_values._ENTRIES", 7)  # several rounds
    generator = np.random.default_rng(3)
    lists = np.array([generator.permutation(12)[:5] for _ in range(30)])
    relevant = np.array([generator.permutation(12)[:4] for _ in range(30)])
    query, item = np.repeat(np.arange(30), 4), relevant.reshape(-1)
    found = values_of_ranks(accuracy_metrics(METRICS, 5, where="x"), query, ranks_in(lists, query, item), 30)
    judged = judge_lists(torch.from_numpy(lists), Pairs.from_arrays(query, item, 30), 12, metrics=METRICS)
    for name in METRICS:
        assert found[name] == pytest.approx(judged.per_query[name].double().numpy())


def test_metrics_without_a_value_per_query_or_beyond_the_lists_are_refused() -> None:
    with pytest.raises(SettingError, match=r"funnel: item_coverage_at_5 is about all lists together.*Ask evaluate"):
        accuracy_metrics(["item_coverage_at_5"], 10, where="funnel")
    with pytest.raises(SettingError, match=r"funnel: ndcg_at_20 looks further than the lists of k=10. Give k=20"):
        accuracy_metrics(["ndcg_at_20"], 10, where="funnel")


@pytest.mark.parametrize("excluded", [None, Pairs.from_arrays([0, 0, 1], [2, 4, 0], 2)])
def test_popular_lists_keep_to_what_may_be_listed(excluded: Pairs | None) -> None:
    order = np.array([4, 2, 1])  # 0 and 3 may be shown to nobody
    found = popular_lists(order, 4, 2, 5, excluded).tolist()
    assert found == ([[4, 2, 1, -1]] * 2 if excluded is None else [[1, -1, -1, -1], [4, 2, 1, -1]])
    assert popular_lists(order[:0], 2, 2, 5, excluded).tolist() == [[-1, -1], [-1, -1]]
