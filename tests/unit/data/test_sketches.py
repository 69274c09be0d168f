"""Sketches against counting it all."""

from collections import Counter

import numpy as np
import polars as pl
import pytest

from tamis.data.sketches import DistinctCount, FrequentValues, RowSample


def hashes(values) -> np.ndarray:
    return pl.Series(values).hash(seed=0).to_numpy()


def test_few_distinct_values_are_counted_exactly_however_they_come() -> None:
    count = DistinctCount(100)
    for part in ([1, 2, 2, 3], [3, 4], [], [1]):
        count.add(hashes(pl.Series(part, dtype=pl.Int64)))
    assert (count.estimate, count.is_exact) == (4, True)


@pytest.mark.parametrize("number", [100_000, 1_000_000])
def test_many_distinct_values_are_counted_within_three_percent(number: int) -> None:
    count = DistinctCount()
    for start in range(0, number, 50_000):
        count.add(hashes(np.arange(start, start + 50_000)))
        count.add(hashes(np.arange(start // 2, start // 2 + 50_000)))  # values seen before
    assert not count.is_exact
    assert count.estimate == pytest.approx(number, rel=0.03)


def test_frequent_values_are_exact_while_they_fit() -> None:
    frequent = FrequentValues(pl.String(), size=3)
    for part in (["a", "b", "a"], ["c", "b"]):
        frequent.add(pl.Series("value", part).value_counts(name="count"))
    assert frequent.top(2) == [("a", 2), ("b", 2)] and frequent.missed == 0


def test_no_value_is_frequenter_than_its_count_and_what_was_missed() -> None:
    values = np.random.default_rng(0).zipf(1.3, 20_000) % 5000
    frequent = FrequentValues(pl.Int64(), size=50)
    for part in np.array_split(values, 40):
        frequent.add(pl.Series("value", part).value_counts(name="count"))
    true, found = Counter(values.tolist()), dict(frequent.top(50))
    assert frequent.missed > 0
    assert all(found.get(value, 0) <= count <= found.get(value, 0) + frequent.missed for value, count in true.items())
    assert frequent.top(1)[0][0] == true.most_common(1)[0][0]


def test_a_sample_holds_all_of_few_rows_and_a_fair_draw_of_many() -> None:
    few = RowSample(10)
    few.add(pl.DataFrame({"x": [1, 2]}))
    few.add(pl.DataFrame({"x": [3]}))
    assert sorted(few.rows["x"]) == [1, 2, 3]
    many = RowSample(2000)
    for start in range(0, 100_000, 10_000):
        many.add(pl.DataFrame({"x": range(start, start + 10_000)}))
    drawn = many.rows["x"]
    assert len(drawn) == drawn.n_unique() == 2000
    assert drawn.mean() == pytest.approx(50_000, rel=0.04)  # two and a half standard errors
    per_part = (drawn // 10_000).value_counts()["count"]
    assert len(per_part) == 10 and per_part.min() > 140 and per_part.max() < 260
    assert drawn[:1000].mean() == pytest.approx(50_000, rel=0.06)  # halves are random, too


def test_a_sample_of_nothing_is_empty() -> None:
    assert RowSample().rows.is_empty()
