import datetime as dt

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.recommender.id_rows import IdRows

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


def by_hand(ids: list[object], asked: list[object]) -> list[int]:
    return [ids.index(one) if one is not None and one in ids else -1 for one in asked]


@pytest.mark.parametrize("length", [3, 30], ids=["few", "many"])
@pytest.mark.parametrize(("dtype", "values"), [(pl.Int64, st.integers(-50, 50)), (pl.String, TEXT)], ids=["int", "str"])
@settings(deadline=None)  # other builds share the machine
@given(data=st.data())
def test_rows_are_those_of_a_look_through_the_list(data, dtype, values, length: int) -> None:
    """Few ids and many go different ways."""
    ids = data.draw(st.lists(values, unique=True, max_size=40))
    asked = data.draw(st.lists(st.none() | values | st.sampled_from(ids or [None]), min_size=length, max_size=length))
    found = IdRows(pl.Series("id", ids, dtype=dtype)).rows_of(pl.Series("id", asked, dtype=dtype))
    assert found.tolist() == by_hand(ids, asked)


@pytest.mark.parametrize("times", [1, 20])
def test_ids_that_python_orders_otherwise_are_found_too(times: int) -> None:
    sizes = pl.Series("id", ["s", "m", "l"], dtype=pl.Enum(["s", "m", "l"]))
    assert IdRows(sizes).rows_of(sizes.reverse()).tolist() == [2, 1, 0]
    days = [dt.date(2026, 1, 2), dt.date(2026, 1, 1)]
    asked = pl.Series([days[1], dt.date(2027, 1, 1), days[0]] * times)
    assert IdRows(pl.Series("id", days)).rows_of(asked).tolist() == [1, -1, 0] * times


@pytest.mark.parametrize(("dtype", "values"), [(pl.Int64, st.integers(-50, 50)), (pl.String, TEXT)], ids=["int", "str"])
@settings(deadline=None)
@given(data=st.data())
def test_more_ids_are_found_as_if_they_had_been_there_from_the_start(data, dtype, values) -> None:
    ids = data.draw(st.lists(values, unique=True, max_size=40))
    border = data.draw(st.integers(0, len(ids)))
    before, more = (pl.Series("id", part, dtype=dtype) for part in (ids[:border], ids[border:]))
    longer = IdRows(before).with_more(more)
    assert longer.ids.to_list() == ids and len(longer) == len(ids)
    asked = [*ids, *data.draw(st.lists(values, max_size=9))]
    assert longer.rows_of(pl.Series("id", asked, dtype=dtype)).tolist() == by_hand(ids, asked)
    assert [longer.row_of(one) for one in asked] == by_hand(ids, asked)


def test_many_more_texts_at_once() -> None:
    longer = IdRows(pl.Series(["m", "c"])).with_more(pl.Series([f"{n:03}" for n in range(300)]))
    assert [longer.row_of(one) for one in ("m", "c", "000", "299", "300", None)] == [0, 1, 2, 301, -1, -1]


def test_one_id_of_a_kind_that_python_orders_otherwise() -> None:
    sizes = IdRows(pl.Series("id", ["s", "m", "l"], dtype=pl.Enum(["s", "m", "l"])))
    assert [sizes.row_of(one) for one in ("l", "m", None)] == [2, 1, -1]
    assert IdRows(pl.Series("id", [], dtype=pl.Int64)).row_of(1) == -1


@pytest.mark.parametrize("ids", [pl.Series("id", [7, 3, 5]), pl.Series("id", ["m", "c", "x"])], ids=["int", "str"])
def test_the_order_of_ids_comes_back_beside_other_columns(ids: pl.Series) -> None:
    frame = pl.DataFrame({"price": [1.0, 2.0, 3.0]}).with_columns(IdRows(ids).columns())
    for table in (frame, frame.drop("__sorted_id", "__sorted_row")):  # bundles of before do not have the order
        found, rest = IdRows.of_columns(table)
        assert rest.columns == ["price"]
        assert found.ids.to_list() == ids.to_list()
        assert [found.row_of(one) for one in ids] == [0, 1, 2]
        assert found.with_more(ids.clear()).rows_of(ids.reverse()).tolist() == [2, 1, 0]
