"""What people give as ids, and whom it means."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest

from tamis.errors import SettingError
from tamis.recommender.raw_ids import as_ids

DAY = datetime.date(2026, 3, 1)


@pytest.mark.parametrize(
    "given",
    [[1, 2], (1, 2), range(1, 3), iter([1, 2]), np.array([1, 2]), pd.Series([1, 2]), pl.Series([1, 2], dtype=pl.Int8),
     ["1", "2"], [1.0, 2.0], [1, "2"]],
    ids=lambda given: type(given).__name__,
)  # fmt: skip
def test_any_list_will_do(given: object) -> None:
    ids = as_ids(given, "user", pl.Int64())
    assert (ids.name, ids.dtype, ids.to_list()) == ("user", pl.Int64, [1, 2])


@pytest.mark.parametrize(
    "stranger",
    [None, 1.5, float("nan"), float("inf"), 2**70, "x", "1.0", b"1", True, DAY, datetime.datetime(2026, 3, 1), [1],
     {"a": 1}, object()],
    ids=lambda given: type(given).__name__,
)  # fmt: skip
def test_what_cannot_be_a_number_is_nobody(stranger: object) -> None:
    assert as_ids([stranger], "user", pl.Int64()).to_list() == [None]


def test_text_ids_take_numbers_as_they_are_written() -> None:
    assert as_ids([12, 7], "user", pl.String()).to_list() == ["12", "7"]
    assert as_ids([None], "user", pl.String()).to_list() == [None]
    assert as_ids([True], "user", pl.String()).to_list() == [None]


@pytest.mark.parametrize(
    ("given", "dtype"), [(20513, pl.Date()), ("2026-03-01", pl.Date()), (1, pl.Boolean())], ids=str
)
def test_dates_and_truth_values_come_from_their_own_kind_alone(given: object, dtype: pl.DataType) -> None:
    assert as_ids([given], "day", dtype).to_list() == [None]
    assert as_ids([DAY], "day", pl.Date()).to_list() == [DAY]


def test_no_ids_are_an_empty_column_of_the_right_dtype() -> None:
    assert as_ids([], "user", pl.Int32()).dtype == pl.Int32


@pytest.mark.parametrize("no_list", ["12", b"1", 12, None])
def test_one_value_is_no_list(no_list: object) -> None:
    with pytest.raises(SettingError, match=r"is not a list of user ids. Give a list"):
        as_ids(no_list, "user", pl.Int64())


def test_a_frame_is_no_list() -> None:
    with pytest.raises(SettingError, match=r"a frame with the columns \['user'\] is not a list of user ids"):
        as_ids(pl.DataFrame({"user": [1]}), "user", pl.Int64())
