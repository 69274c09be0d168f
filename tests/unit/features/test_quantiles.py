import polars as pl
import pytest

from tamis.features.quantiles import counts_together, quantiles


def counts(values) -> pl.DataFrame:
    return pl.DataFrame({"value": values, "count": [1] * len(values)}, schema_overrides={"count": pl.Int64})


def test_a_quantile_between_two_values_is_taken_on_the_line_between_them() -> None:
    assert quantiles(counts([30.0, 10.0, 20.0, 40.0]), [0.0, 0.25, 0.5, 1.0]) == [10.0, 17.5, 25.0, 40.0]


def test_values_count_as_often_as_they_come() -> None:
    frame = pl.DataFrame({"value": [1, 5, 2], "count": [1, 2, 4]})  # 1 2 2 2 2 5 5
    assert quantiles(frame, [0.0, 0.5, 0.9, 1.0]) == [1, 2, 5, 5]


def test_whole_numbers_are_rounded_down_and_lose_no_digit() -> None:
    assert quantiles(counts([-3, 0]), [0.5]) == [-2]
    assert quantiles(counts([2**63 - 1, 2**63 - 1]), [0.5]) == [2**63 - 1]
    assert quantiles(counts([2**63 - 1, 2**63 - 3]), [0.5]) == [2**63 - 2]
    assert quantiles(counts([-(2**63), 2**63 - 1]), [0.5]) == [-1]


def test_two_large_floats_do_not_overflow() -> None:
    assert quantiles(counts([1.6e308, 1.7e308]), [0.5]) == [pytest.approx(1.65e308)]


def test_counts_of_parts_add_up() -> None:
    both = counts_together(
        [pl.DataFrame({"value": ["a", "b"], "count": [1, 2]}), pl.DataFrame({"value": ["b"], "count": [5]})]
    )
    assert dict(both.iter_rows()) == {"a": 1, "b": 7}
    assert counts_together([both]) is both
