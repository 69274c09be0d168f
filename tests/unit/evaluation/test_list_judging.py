"""Whole-catalogue judgements: a world whose lists are visible, then brute force."""

import math
import re

import numpy as np
import pytest
import torch

from tamis.errors import DataError, SettingError
from tamis.evaluation import list_judging
from tamis.evaluation.list_judging import Pairs, interval, judge, judge_lists, judge_popularity

ALL = [
    "recall_at_2",
    "capped_recall_at_2",
    "ndcg_at_3",
    "mrr_at_3",
    "map_at_3",
    "precision_at_2",
    "hit_rate_at_1",
    "item_coverage_at_2",
    "popularity_bias_at_2",
    "novelty_at_2",
]

# Scores of the items 0 to 4 are 5, 4, 3, 2, 1 for query 0 and the reverse for query 1; query 2 has nothing to find.
CANDIDATES = torch.tensor([[5.0], [4.0], [3.0], [2.0], [1.0]])
QUERIES = torch.tensor([[1.0], [-1.0], [1.0]])


def test_a_visible_world_is_judged_as_by_hand() -> None:
    relevant = Pairs.from_arrays([0, 0, 1, 1, 1], [1, 4, 0, 4, -1], 3)
    found = judge(QUERIES, CANDIDATES, relevant, metrics=["recall_at_2", "precision_at_2", "mrr_at_2"])
    # lists: query 0 -> 0, 1 (hit at rank 2, two relevant); query 1 -> 4, 3 (hit at rank 1, three relevant, one unknown)
    assert found.per_query["recall_at_2"].tolist() == pytest.approx([1 / 2, 1 / 3])
    assert found["recall_at_2"] == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert found["precision_at_2"] == pytest.approx(1 / 2)
    assert found["mrr_at_2"] == pytest.approx(3 / 4)
    assert (found.num_queries, found.num_left_out, found.num_candidates) == (2, 1, 5)
    assert found.query_rows.tolist() == [0, 1]


def test_excluded_items_stand_in_no_list() -> None:
    relevant = Pairs.from_arrays([0], [2], 3)
    excluded = Pairs.from_arrays([0, 0, 2], [0, 1, 3], 3)
    assert judge(QUERIES, CANDIDATES, relevant, metrics=["mrr_at_3"])["mrr_at_3"] == pytest.approx(1 / 3)
    assert judge(QUERIES, CANDIDATES, relevant, metrics=["mrr_at_3"], excluded=excluded)["mrr_at_3"] == 1


def test_the_number_of_relevant_items_can_be_given() -> None:
    relevant = Pairs.from_arrays([0], [0], 3)
    found = judge(QUERIES, CANDIDATES, relevant, torch.tensor([4, 0, 2]), metrics=["recall_at_1"])
    assert found.query_rows.tolist() == [0, 2]
    assert found.per_query["recall_at_1"].tolist() == [1 / 4, 0]


def brute_force(lists, relevant, num_relevant, popularity, num_candidates):
    """The ten metrics of ALL from lists of ids, with loops."""
    rows = [row for row in range(len(lists)) if num_relevant[row]]
    share = popularity / popularity.sum()
    hits = {row: [int(item in relevant[row]) for item in lists[row]] for row in rows}
    ideal = [1 / np.log2(rank + 2) for rank in range(3)]

    def mean(of):
        return float(np.mean([of(row) for row in rows]))

    shown = [item for row in rows for item in lists[row][:2] if item >= 0]
    smallest = min(p for p in share if p > 0)
    return {
        "recall_at_2": mean(lambda r: sum(hits[r][:2]) / num_relevant[r]),
        "capped_recall_at_2": mean(lambda r: sum(hits[r][:2]) / min(2, num_relevant[r])),
        "ndcg_at_3": mean(
            lambda r: sum(d * h for d, h in zip(ideal, hits[r], strict=True)) / sum(ideal[: num_relevant[r]])
        ),
        "mrr_at_3": mean(lambda r: max(h / (rank + 1) for rank, h in enumerate(hits[r]))),
        "map_at_3": mean(
            lambda r: (
                sum(h * sum(hits[r][: rank + 1]) / (rank + 1) for rank, h in enumerate(hits[r]))
                / min(3, num_relevant[r])
            )
        ),
        "precision_at_2": mean(lambda r: sum(hits[r][:2]) / 2),
        "hit_rate_at_1": mean(lambda r: hits[r][0]),
        "item_coverage_at_2": len(set(shown)) / num_candidates,
        "popularity_bias_at_2": float(np.mean([share[item] for item in shown])),
        "novelty_at_2": float(np.mean([-np.log(max(share[item], smallest)) for item in shown])),
    }


def random_world(seed, num_queries=40, num_candidates=30):
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 6, (num_queries, num_candidates)).astype(np.float32)
    relevant = [set(generator.integers(0, num_candidates, generator.integers(0, 6)).tolist()) for _ in scores]
    seen = [set(generator.integers(0, num_candidates, generator.integers(0, 29)).tolist()) for _ in scores]
    return scores, relevant, seen, generator.integers(0, 4, num_candidates)


def pairs_of(sets):
    rows = [row for row, items in enumerate(sets) for _ in items]
    return Pairs.from_arrays(rows, [item for items in sets for item in items], len(sets))


def best_three(scores, seen):
    lists = []
    for row, left_out in zip(scores, seen, strict=True):
        order = [item for item in np.argsort(-row, kind="stable").tolist() if item not in left_out][:3]
        lists.append(order + [-1] * (3 - len(order)))
    return lists


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("exclude", [False, True])
def test_all_metrics_in_one_pass_equal_brute_force(seed, exclude) -> None:
    scores, relevant, seen, popularity = random_world(seed)
    found = judge(
        torch.from_numpy(scores),
        torch.eye(30),
        pairs_of(relevant),
        metrics=ALL,
        excluded=pairs_of(seen) if exclude else None,
        popularity=torch.from_numpy(popularity),
    )
    lists = best_three(scores, seen if exclude else [set()] * 40)
    expected = brute_force(lists, relevant, [len(r) for r in relevant], popularity, 30)
    assert list(found.values) == ALL
    assert found.values == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("exclude", [False, True])
@pytest.mark.parametrize("entries", [2**22, 100])
def test_the_popularity_list_is_judged_like_a_model_with_those_scores(seed, exclude, entries, monkeypatch) -> None:
    monkeypatch.setattr(list_judging, "_ENTRIES", entries)  # 100: blocks of a few queries
    _, relevant, seen, popularity = random_world(seed)
    found = judge_popularity(
        torch.from_numpy(popularity), pairs_of(relevant), metrics=ALL, excluded=pairs_of(seen) if exclude else None
    )
    scores = np.broadcast_to(popularity, (40, 30))
    lists = best_three(scores, seen if exclude else [set()] * 40)
    expected = brute_force(lists, relevant, [len(r) for r in relevant], popularity, 30)
    assert found.values == pytest.approx(expected, abs=1e-6)


def test_a_judgement_says_over_what_it_was_measured() -> None:
    relevant = Pairs.from_arrays([0, 1], [0, 1], 3)
    found = judge(QUERIES, CANDIDATES, relevant, metrics=["recall_at_1", "hit_rate_at_2"])
    assert repr(found) == (
        "Judgement over 2 queries (1 more have no relevant item) x 5 candidates\n"
        "  recall_at_1    0.5000\n"
        "  hit_rate_at_2  0.5000"
    )


def test_an_interval_holds_the_mean_and_narrows_with_more_queries() -> None:
    few, many = (torch.tensor([0.0, 1.0]).repeat(n) for n in (10, 1000))
    mean, low, high = interval(few, seed=1)
    assert low < mean == 0.5 < high
    assert interval(few, seed=1) == (mean, low, high)
    assert interval(many, seed=1)[2] - interval(many, seed=1)[1] < (high - low) / 5
    # A mean of 2,000 fair coins has a deviation of .5 / sqrt(2000); 1.96 of it on both sides are 95 %.
    assert interval(many)[2] - 0.5 == pytest.approx(1.96 * 0.5 / 2000**0.5, rel=0.15)


RELEVANT = Pairs.from_arrays([0], [0], 3)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"metrics": ["recall_at_6"]},
            SettingError,
            "judge: k is 6, but the catalogue has only 5 candidates. Give a k of at most 5, or add candidates.",
        ),
        ({"metrics": ["novelty_at_1"]}, SettingError, "judge: novelty_at_1 needs the items' popularity."),
        (
            {"popularity": torch.ones(4)},
            SettingError,
            "judge: popularity has shape [4], but there are 5 candidates.",
        ),
        (
            {"popularity": torch.tensor([1.0, 1, 1, 1, -1])},
            DataError,
            "judge: popularity holds negative or non-finite numbers.",
        ),
        (
            {"relevant": Pairs.from_arrays([], [], 3)},
            DataError,
            "judge: none of the 3 queries has a relevant item.",
        ),
        (
            {"relevant": Pairs.from_arrays([], [], 2)},
            SettingError,
            "judge: the relevant pairs are those of 2 queries, but there are 3. Build them with num_queries=3.",
        ),
        (
            {"relevant": Pairs.from_arrays([0], [5], 3)},
            DataError,
            "judge: the relevant pairs hold position 5, but there are 5 candidates.",
        ),
        (
            {"excluded": Pairs.from_arrays([0], [5], 3)},
            DataError,
            "judge: the excluded pairs hold position 5, but there are 5 candidates.",
        ),
        ({"num_relevant": torch.ones(2)}, SettingError, "judge: num_relevant holds 2 numbers for 3 queries."),
    ],
)
def test_what_cannot_be_judged_is_refused(settings, error, message) -> None:
    with pytest.raises(error, match=re.escape(message)):
        judge(QUERIES, CANDIDATES, **{"relevant": RELEVANT, "metrics": ["recall_at_1"], **settings})


def test_given_lists_are_judged_as_they_are() -> None:
    relevant = Pairs.from_arrays([0, 0, 1], [4, 2, 0], num_queries=3)  # the third query looks for nothing
    lists = torch.tensor([[2, 3], [1, -1], [0, 1]])
    found = judge_lists(lists, relevant, 5, metrics=["recall_at_2", "ndcg_at_2"])
    assert found.values["recall_at_2"] == pytest.approx((1 / 2 + 0) / 2)
    assert found.values["ndcg_at_2"] == pytest.approx((1 / (1 + 1 / math.log2(3)) + 0) / 2)
    assert found.num_left_out == 1


def test_lists_shorter_than_a_metric_are_refused() -> None:
    relevant = Pairs.from_arrays([0], [1], num_queries=1)
    with pytest.raises(SettingError, match=r"lists of shape \[1, 2\] for 1 queries and metrics at 3"):
        judge_lists(torch.tensor([[0, 1]]), relevant, 5, metrics=["recall_at_3"])
