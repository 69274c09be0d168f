import polars as pl
import pytest

from tamis.data.dataset import Dataset
from tamis.errors import DataError, SettingError, UnknownColumnError
from tamis.recommender.item_columns import one_row_per_item, with_columns

FOUND = pl.DataFrame({"item": [3, 1, 9], "rank": [1, 2, 3]})
ITEMS = pl.DataFrame({"item": [1, 3, 3], "title": ["one", "three", "again"]}, schema_overrides={"item": pl.Int32})


def test_the_first_row_of_an_item_counts_and_a_missing_item_is_null() -> None:
    items = one_row_per_item(Dataset(ITEMS), "item", pl.Int64())
    assert items.to_dict(as_series=False) == {"item": [1, 3], "title": ["one", "three"]}
    shown = with_columns(FOUND, items, "item", ["title"])
    assert shown["title"].to_list() == ["three", "one", None]
    assert shown.schema["item"] == pl.Int64


def test_items_without_ids_or_with_ids_of_another_kind_are_refused() -> None:
    with pytest.raises(UnknownColumnError, match=r"Recommender: items: the data has no column 'itm'. Did you mean"):
        one_row_per_item(Dataset(ITEMS), "itm", pl.Int64())
    with pytest.raises(DataError, match=r"'item' holds int32, but string in the interactions. Cast one"):
        one_row_per_item(Dataset(ITEMS), "item", pl.String())


def test_a_column_that_is_in_every_answer_already_is_refused() -> None:
    items = ITEMS.with_columns(rank=0)
    with pytest.raises(SettingError, match=r"there is a column 'rank' in every answer. Leave it out"):
        with_columns(FOUND, items, "item", ["rank"])
