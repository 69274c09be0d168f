import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.data.row_pool import PoolColumn, RowPool, pool_column
from tamis.errors import DataError
from tamis.schema import ColumnSchema, Tags

FRAME = pl.DataFrame(
    {
        "id": [10, 11, 12, 13],
        "big": [1, 2, 3, 2**40],
        "x": [0.5, 1.5, 2.5, 3.5],
        "tags": [[1, 2], [], None, [3]],
        "vector": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]],
        "click": [True, False, False, True],
    },
    schema_overrides={"id": pl.Int32, "vector": pl.Array(pl.Float32, 2)},
)
COLUMNS = [
    pool_column(ColumnSchema(name), dtype, is_target=name == "click") for name, dtype in FRAME.collect_schema().items()
]


def pool_of(frame: pl.DataFrame, parts: int = 1) -> RowPool:
    pool = RowPool(COLUMNS, len(frame))
    for part in frame.iter_slices(max(1, len(frame) // parts)):
        pool.append(part.to_arrow(), "here")
    return pool


def rows_of(pool: RowPool) -> list[tuple]:
    """Back to Python rows, by the batch's own definition."""
    batch = pool.to_batch()
    f, rows = batch.features, []
    for i in range(len(batch)):
        tags = f["tags__values"][f["tags__offsets"][i] : f["tags__offsets"][i + 1]].tolist()
        numbers = (f["id"][i].item(), f["big"][i].item(), f["x"][i].item())
        rows.append((*numbers, tags, f["vector"][i].tolist(), bool(batch.targets["click"][i])))
    return rows


EXPECTED = [(a, b, c, d or [], e, f) for a, b, c, d, e, f in FRAME.rows()]


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_a_pool_holds_what_its_tables_held(parts: int) -> None:
    assert rows_of(pool_of(FRAME, parts)) == EXPECTED


@given(st.lists(st.integers(0, 3), max_size=9))
def test_any_rows_are_taken_in_any_order(rows: list[int]) -> None:
    taken = pool_of(FRAME, 2).take(np.array(rows, dtype=np.int64))
    assert rows_of(taken) == [EXPECTED[row] for row in rows]


@given(st.integers(0, 4), st.integers(0, 4))
def test_a_slice_is_a_view_of_its_rows(start: int, stop: int) -> None:
    start, stop = min(start, stop), max(start, stop)
    assert rows_of(pool_of(FRAME, 2).take(slice(start, stop))) == EXPECTED[start:stop]


def test_pools_join_in_order() -> None:
    pool = pool_of(FRAME)
    joined = RowPool.joined([pool.take(np.array([3, 0])), pool.take(slice(2, 2)), pool.take(slice(1, 3))])
    assert rows_of(joined) == [EXPECTED[3], EXPECTED[0], EXPECTED[1], EXPECTED[2]]
    assert RowPool.joined([pool]) is pool


def test_many_rows_survive_the_weaving_in_blocks() -> None:
    frame = pl.DataFrame({"a": range(10_000), "b": range(10_000, 20_000)}, schema={"a": pl.Int32, "b": pl.Int32})
    pool = RowPool([PoolColumn("a", "int32"), PoolColumn("b", "int32")], 10_000)
    pool.append(frame.to_arrow(), "here")
    features = pool.to_batch().features
    assert features["a"].tolist() == frame["a"].to_list() and features["b"].tolist() == frame["b"].to_list()


@pytest.mark.parametrize(
    ("column", "dtype", "expected"),
    [
        (ColumnSchema("a"), pl.Int32, "int32"),
        (ColumnSchema("a"), pl.UInt16, "int32"),
        (ColumnSchema("a"), pl.Int64, "int64"),
        (ColumnSchema("a"), pl.UInt32, "int64"),
        (ColumnSchema("a").with_domain(2**31 - 1), pl.Int64, "int32"),
        (ColumnSchema("a").with_domain(2**31), pl.Int64, "int64"),
        (ColumnSchema("a"), pl.Float64, "float32"),
        (ColumnSchema("a"), pl.Boolean, "float32"),
        (ColumnSchema("a", tags=[Tags.CATEGORICAL]), pl.Boolean, "int32"),
    ],
    ids=str,
)
def test_each_dtype_has_its_tensor(column: ColumnSchema, dtype, expected: str) -> None:
    assert pool_column(column, dtype(), is_target=False).dtype == expected
    assert pool_column(column, pl.List(dtype()), is_target=False) == PoolColumn("a", expected, None, False)
    assert pool_column(column, pl.Array(dtype(), 3), is_target=True) == PoolColumn("a", expected, 3, False, True)


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        (pl.String(), r"Loader: the column 'a' holds string, .* Categorify it first, or leave it out with `columns`."),
        (pl.List(pl.String()), r"the column 'a' holds string, .* Categorify it first"),
        (pl.Categorical(), r"the column 'a' holds categorical, .* Categorify it first"),
        (pl.Date(), r"the column 'a' holds date, .* Cast it to numbers first"),
        (pl.List(pl.List(pl.Int8())), r"the column 'a' holds list\(int8\), .* Cast it to numbers first"),
    ],
    ids=str,
)
def test_what_no_tensor_can_hold_is_refused(dtype, message: str) -> None:
    with pytest.raises(DataError, match=message):
        pool_column(ColumnSchema("a"), dtype, is_target=False)


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (
            PoolColumn("a", "int32"),
            [1, None],
            r"^here: the column 'a' has 1 nulls. Fill them with `FillMissing`, encode",
        ),
        (PoolColumn("a", "float32"), [1.0, None], r"the column 'a' has 1 nulls"),
        (PoolColumn("a", "int32", None), [[1, None]], r"the column 'a' has 1 nulls"),
        (PoolColumn("a", "int32"), [1, 2**31], r"^here: the column 'a' holds a number that int32 cannot .*Correct its"),
        (PoolColumn("a", "int64"), [2**63], r"holds a number that int64 cannot"),
    ],
)
def test_values_that_would_become_wrong_are_refused(column: PoolColumn, values, message: str) -> None:
    with pytest.raises(DataError, match=message):
        RowPool([column], len(values)).append(pl.DataFrame({"a": values}).to_arrow(), "here")


def test_null_vectors_are_refused() -> None:
    frame = pl.DataFrame({"a": [[1.0, 2.0], None]}, schema={"a": pl.Array(pl.Float32, 2)})
    with pytest.raises(DataError, match=r"^here: the column 'a' has nulls among its vectors. Drop or fill these rows."):
        RowPool([PoolColumn("a", "float32", 2, False)], 2).append(frame.to_arrow(), "here")
