"""Columns as the arrays that an exported model takes."""

import numpy as np
import polars as pl
import pytest

from tamis.errors import DataError, SettingError, UnknownColumnError
from tamis.recommender.graph_inputs import GraphInput, GraphInputs, take, wide

CODE, NUMBER = GraphInput("code", num_codes=5), GraphInput("number")
SEEN, PHOTO = GraphInput("seen", num_codes=9, is_list=True), GraphInput("photo", width=2)
INPUTS = GraphInputs((CODE, NUMBER, SEEN, PHOTO), "Ranker")
FRAME = pl.DataFrame(
    {
        "code": [4, 0, 2],
        "number": [1, 2, 3],
        "seen": [[1, 2], None, [8]],
        "photo": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
    },
    schema={"code": pl.Int8, "number": pl.Int64, "seen": pl.List(pl.Int32), "photo": pl.Array(pl.Float64, 2)},
)


def lists(arrays: dict[str, np.ndarray]) -> dict[str, list[object]]:
    return {name: one.tolist() for name, one in arrays.items()}


def test_a_frame_becomes_arrays_with_lists_as_values_and_offsets() -> None:
    found = INPUTS.rows(FRAME)
    assert lists(found) == {
        "code": [4, 0, 2],
        "number": [1.0, 2.0, 3.0],
        "seen__values": [1, 2, 8],
        "seen__offsets": [0, 2, 2, 3],
        "photo": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
    }
    assert {name: one.dtype.name for name, one in wide(found).items()} == {
        "code": "int64",
        "number": "float32",
        "seen__values": "int64",
        "seen__offsets": "int64",
        "photo": "float32",
    }


@pytest.mark.parametrize("row", range(3))
def test_a_row_alone_gives_the_same_arrays_as_a_frame_of_it(row: int) -> None:
    alone = INPUTS.row(FRAME.row(row, named=True))
    assert lists(alone) == lists(wide(INPUTS.rows(FRAME[row : row + 1])))


def test_a_frame_cut_out_of_another_gives_its_own_lists() -> None:
    assert lists(INPUTS.rows(FRAME[1:]))["seen__offsets"] == [0, 0, 1]
    assert lists(INPUTS.rows(FRAME[1:]))["seen__values"] == [8]


def test_arrays_and_numpy_numbers_are_values_too() -> None:
    given = {"code": np.array([3]), "number": True, "seen": np.array([], np.int64), "photo": np.array([1, 2])}
    assert lists(INPUTS.row(given)) == {
        "code": [3],
        "number": [1.0],
        "seen__values": [],
        "seen__offsets": [0, 0],
        "photo": [[1.0, 2.0]],
    }


def test_rows_are_taken_with_their_lists() -> None:
    found = take(INPUTS.rows(FRAME), np.array([2, 0, 0, 1]))
    assert lists(found) == {
        "code": [2, 4, 4, 0],
        "number": [3.0, 1.0, 1.0, 2.0],
        "seen__values": [8, 1, 2, 1, 2],
        "seen__offsets": [0, 1, 3, 5, 5],
        "photo": [[5.0, 6.0], [1.0, 2.0], [1.0, 2.0], [3.0, 4.0]],
    }


def test_the_description_makes_the_same_inputs() -> None:
    assert GraphInputs.described(INPUTS.describe(), "Ranker") == INPUTS


@pytest.mark.parametrize("code", [-1, 5])
def test_codes_outside_the_categories_are_refused(code: int) -> None:
    with pytest.raises(SettingError, match=rf"column 'code': the code {code} is outside its 5 categories\. Encode"):
        CODE.of_value(code, "Ranker")
    with pytest.raises(SettingError, match=rf"column 'code': the code {code} is outside its 5"):
        CODE.of_series(pl.Series("code", [1, code]), "Ranker")


def test_codes_that_are_fractions_are_refused() -> None:
    with pytest.raises(SettingError, match=r"column 'code': its codes are float64, but must be whole numbers\. Cast"):
        CODE.of_value(1.0, "Ranker")


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(DataError, match=r"Ranker: the query's 'number' is None, which is no number\. Encode it with"):
        NUMBER.of_value(None, "Ranker")
    with pytest.raises(DataError, match=r"Ranker: the column 'number' holds String, which the model does not take"):
        NUMBER.of_series(pl.Series("number", ["x"]), "Ranker")
    with pytest.raises(DataError, match=r"Ranker: the column 'seen' holds Int64, which the model does not take"):
        SEEN.of_series(pl.Series("seen", [1]), "Ranker")


@pytest.mark.parametrize(
    ("column", "series"),
    [
        (NUMBER, pl.Series("number", [1.0, None])),
        (SEEN, pl.Series("seen", [[1, None]])),
        (PHOTO, pl.Series("photo", [[1.0, 2.0], None], dtype=pl.Array(pl.Float32, 2))),
        (PHOTO, pl.Series("photo", [[1.0, None]], dtype=pl.Array(pl.Float32, 2))),
    ],
)
def test_nulls_are_refused(column: GraphInput, series: pl.Series) -> None:
    with pytest.raises(DataError, match=rf"Ranker: the column '{column.name}' has 1 nulls\. Fill them"):
        column.of_series(series, "Ranker")


def test_a_row_of_another_width_is_refused() -> None:
    with pytest.raises(DataError, match=r"Ranker: the column 'photo' has 3 numbers, not 2 a row\. Give the features"):
        PHOTO.of_value([1.0, 2.0, 3.0], "Ranker")
    with pytest.raises(DataError, match=r"the column 'code' has 2 numbers, not 1 a row"):
        CODE.of_value([1, 2], "Ranker")


def test_a_missing_column_is_named() -> None:
    with pytest.raises(UnknownColumnError, match=r"Ranker: the data has no column 'number'"):
        INPUTS.row({"code": 1, "numbers": 2.0})
    with pytest.raises(UnknownColumnError, match=r"Ranker: the data has no column 'number'"):
        INPUTS.rows(FRAME.drop("number"))
