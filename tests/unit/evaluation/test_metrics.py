"""Values by hand, then against plain NumPy on random lists."""

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.errors import SettingError, UnknownNameError
from tamis.evaluation.metrics import (
    METRICS,
    AvgPrecisionAt,
    HitRateAt,
    ItemCoverageAt,
    MRRAt,
    NDCGAt,
    NoveltyAt,
    PopularityBiasAt,
    PrecisionAt,
    RecallAt,
    metric_named,
    resolve_metrics,
)

# One query, five ranks, hits at ranks 2 and 5; four items are relevant.
HITS = torch.tensor([[False, True, False, False, True]])
FOUR = torch.tensor([4])


@pytest.mark.parametrize(
    ("metric", "by_hand"),
    [
        (RecallAt(5), 2 / 4),
        (RecallAt(3), 1 / 4),
        (RecallAt(3, capped=True), 1 / 3),
        (RecallAt(5, capped=True), 2 / 4),
        (PrecisionAt(5), 2 / 5),
        (PrecisionAt(1), 0),
        (HitRateAt(1), 0),
        (HitRateAt(2), 1),
        (MRRAt(5), 1 / 2),
        (MRRAt(1), 0),
        (AvgPrecisionAt(5), (1 / 2 + 2 / 5) / 4),
        (AvgPrecisionAt(3), (1 / 2) / 3),
        (
            NDCGAt(5),
            (1 / math.log2(3) + 1 / math.log2(6)) / (1 + 1 / math.log2(3) + 1 / math.log2(4) + 1 / math.log2(5)),
        ),
        (NDCGAt(2), (1 / math.log2(3)) / (1 + 1 / math.log2(3))),
    ],
    ids=lambda value: repr(value),
)
def test_an_accuracy_metric_has_the_value_derived_by_hand(metric, by_hand) -> None:
    assert metric.per_query(HITS, FOUR).tolist() == [pytest.approx(by_hand)]


@pytest.mark.parametrize("kind", [RecallAt, PrecisionAt, HitRateAt, MRRAt, AvgPrecisionAt, NDCGAt])
def test_a_list_of_hits_only_is_worth_one_and_a_list_of_misses_nothing(kind) -> None:
    hits = torch.tensor([[True, True], [False, False]])
    assert kind(2).per_query(hits, torch.tensor([2, 2])).tolist() == [1, 0]


@pytest.mark.parametrize("kind", [RecallAt, PrecisionAt, HitRateAt, MRRAt, AvgPrecisionAt, NDCGAt])
def test_a_query_without_relevant_items_gets_zero_not_nan(kind) -> None:
    assert kind(2).per_query(torch.zeros(1, 2, dtype=torch.bool), torch.tensor([0])).tolist() == [0]


def plain(name: str, hits: np.ndarray, relevant: int, k: int) -> float:
    """The definitions once more, one query and one rank at a time."""
    top = hits[:k]
    found = sum(top)
    discount = [1 / math.log2(rank + 2) for rank in range(k)]
    precision = [sum(top[: rank + 1]) / (rank + 1) * top[rank] for rank in range(len(top))]
    return {
        "recall": found / relevant,
        "capped_recall": found / min(relevant, k),
        "precision": found / k,
        "hit_rate": float(found > 0),
        "mrr": max([1 / (rank + 1) for rank in range(len(top)) if top[rank]], default=0.0),
        "map": sum(precision) / min(relevant, k),
        "ndcg": sum(d * h for d, h in zip(discount, top, strict=False)) / sum(discount[: min(relevant, k)]),
    }[name]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.booleans(), min_size=8, max_size=8), min_size=1, max_size=6),
    st.integers(1, 8),
    st.integers(0, 5),
)
def test_accuracy_metrics_equal_the_plain_definitions(rows, k, more) -> None:
    hits = np.array(rows)
    relevant = np.maximum(hits.sum(1) + more, 1)
    for name in ("recall", "capped_recall", "precision", "hit_rate", "mrr", "map", "ndcg"):
        values = metric_named(f"{name}_at_{k}").per_query(torch.from_numpy(hits), torch.from_numpy(relevant))
        expected = [plain(name, row.tolist(), int(number), k) for row, number in zip(hits, relevant, strict=True)]
        assert values.tolist() == pytest.approx(expected, abs=1e-6)


# Three lists of two out of four items with popularity .5, .3, .2, 0; the last list has one item only.
LISTS = torch.tensor([[0, 1], [0, 2], [0, -1]])
POPULARITY = torch.tensor([0.5, 0.3, 0.2, 0.0])


def test_list_metrics_have_the_values_derived_by_hand() -> None:
    assert ItemCoverageAt(2).of_lists(LISTS, POPULARITY) == pytest.approx(3 / 4)
    assert ItemCoverageAt(1).of_lists(LISTS, POPULARITY) == pytest.approx(1 / 4)
    assert PopularityBiasAt(2).of_lists(LISTS, POPULARITY) == pytest.approx((3 * 0.5 + 0.3 + 0.2) / 5)
    surprise = -(3 * math.log(0.5) + math.log(0.3) + math.log(0.2)) / 5
    assert NoveltyAt(2).of_lists(LISTS, POPULARITY) == pytest.approx(surprise)


def test_an_item_that_nobody_took_is_as_novel_as_the_rarest_one_and_not_infinitely() -> None:
    assert NoveltyAt(1).of_lists(torch.tensor([[3]]), POPULARITY) == pytest.approx(-math.log(0.2))


def test_lists_without_items_and_popularity_without_counts_give_zero() -> None:
    assert PopularityBiasAt(1).of_lists(torch.tensor([[-1]]), POPULARITY) == 0
    assert NoveltyAt(1).of_lists(torch.tensor([[0]]), torch.zeros(4)) == 0


@pytest.mark.parametrize("short_name", METRICS)
def test_a_name_leads_to_its_metric_and_back(short_name) -> None:
    name = f"{short_name}_at_20"
    assert metric_named(name) == METRICS[short_name](20)
    assert metric_named(name).name == name


def test_capped_recall_has_a_name_of_its_own() -> None:
    assert metric_named("capped_recall_at_5") == RecallAt(5, capped=True)
    assert RecallAt(5, capped=True).name == "capped_recall_at_5"


@pytest.mark.parametrize(
    ("name", "nearest"), [("recal_at_10", "recall_at_10"), ("ndgc_at_5", "ndcg_at_5"), ("recall", "recall_at_10")]
)
def test_a_misspelt_metric_is_answered_with_the_nearest(name, nearest) -> None:
    with pytest.raises(UnknownNameError, match=f"there is no metric {name!r}. Did you mean {nearest!r}"):
        metric_named(name)


def test_a_length_below_one_is_refused() -> None:
    with pytest.raises(SettingError, match=re.escape("RecallAt: k is 0. Give a length of 1 or more.")):
        RecallAt(0)


def test_metrics_are_resolved_once_each_in_order() -> None:
    assert resolve_metrics(["ndcg_at_5", RecallAt(5), NDCGAt(5)]) == [NDCGAt(5), RecallAt(5)]
    with pytest.raises(SettingError, match="metrics: none is given"):
        resolve_metrics([])
