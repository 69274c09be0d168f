"""What each filter takes out, and what is said when nothing is left."""

import datetime as dt
import json

import numpy as np
import polars as pl
import pytest

from tamis.errors import FormatError, NotSavableError, SettingError, UnknownColumnError, UnknownNameError
from tamis.recommender.allowed_items import allowed_for_all, combine
from tamis.recommender.catalogue import Catalogue
from tamis.recommender.filters import AllowItems, Available, DenyItems, Filter, SeenItems, Where, check_filters
from tamis.recommender.queries import Queries


def catalogue() -> Catalogue:
    """Five items, a to e."""
    columns = pl.DataFrame({"price": [1.0, 2.0, 3.0, None, 5.0], "in_stock": [True, None, True, True, False]})
    ids = pl.Series("item", ["a", "b", "c", "d", "e"])
    return Catalogue(ids, pl.DataFrame({"code": range(5)}), columns, np.zeros(5, np.int64))


def numbered() -> Catalogue:
    """Three items without columns, 10, 20, 30."""
    ids = pl.Series("item", [10, 20, 30])
    return Catalogue(ids, pl.DataFrame({"code": range(3)}), pl.DataFrame(), np.zeros(3, np.int64))


def queries(*seen: list[int]) -> Queries:
    lists = [np.array(rows, np.int64) for rows in seen]
    return Queries(np.arange(len(seen)), pl.DataFrame({"user": range(len(seen))}), np.ones(len(seen), np.bool_), lists)


def left(one: Filter, items: Catalogue) -> list[object]:
    mask = one.allowed(items)
    return items.ids.to_list() if mask is None else items.ids.filter(pl.Series(mask)).to_list()


@pytest.mark.parametrize(
    ("one", "items"),
    [
        (AllowItems(["d", "a", "new"]), ["a", "d"]),
        (AllowItems([]), []),
        (DenyItems(("d", "a", "new")), ["b", "c", "e"]),
        (DenyItems([]), ["a", "b", "c", "d", "e"]),
        (Where("price >= 2"), ["b", "c", "e"]),
        (Where("not price >= 2"), ["a"]),
        (Where("item in ['a', 'd'] and price is null"), ["d"]),
        (Available("in_stock"), ["a", "c", "d"]),
        (SeenItems(), ["a", "b", "c", "d", "e"]),
    ],
    ids=repr,
)
def test_a_filter_leaves_what_it_says(one: Filter, items: list[str]) -> None:
    assert left(one, catalogue()) == items


@pytest.mark.parametrize(
    "ids", [[30, 10], (30.0, 10.0), np.array([30, 10]), pl.Series([30, 10], dtype=pl.Int8), ["30", "10"], {10, 30}]
)
def test_ids_may_come_in_any_list(ids: object) -> None:
    assert left(AllowItems(ids), numbered()) == [10, 30]
    assert left(DenyItems(ids), numbered()) == [20]


def test_a_condition_may_ask_for_the_id_of_a_catalogue_without_columns() -> None:
    assert left(Where("item > 10"), numbered()) == [20, 30]


def test_ids_that_the_catalogue_lacks_are_named_and_count_once_the_item_comes() -> None:
    items, deny = catalogue(), DenyItems(["a", "new"])
    assert deny.unknown_ids(items) == ["new"]
    assert SeenItems().unknown_ids(items) == []
    items.upsert(pl.Series(["new"]), pl.DataFrame({"code": [5]}), pl.DataFrame({"price": [9.0]}))
    assert deny.unknown_ids(items) == []
    assert left(deny, items) == ["b", "c", "d", "e"]
    assert left(Available("in_stock"), items) == ["a", "c", "d"]  # nobody said that the new item is in stock


def test_seen_items_are_each_requests_own() -> None:
    asked = queries([3, 1, 2], [], [4])
    assert [rows.tolist() for rows in SeenItems().excluded(asked)] == [[3, 1, 2], [], [4]]
    assert [rows.tolist() for rows in SeenItems(latest=2).excluded(asked)] == [[1, 2], [], [4]]
    assert Where("price > 1").excluded(asked) is None


def test_all_filters_together_leave_what_each_of_them_does() -> None:
    filters = [SeenItems(), Where("price < 5"), Available("in_stock")]
    found = combine(filters, catalogue(), queries([0, 1], [0, 2], []))
    assert found.rows.tolist() == [0, 2]
    assert [rows.tolist() for rows in found.exclude] == [[0, 1], [0, 2], []]
    assert found.for_all.left == {"Where('price < 5')": 3, "Available('in_stock')": 3}
    assert {name: counts.tolist() for name, counts in found.excluded.items()} == {"SeenItems()": [1, 2, 0]}
    assert found.allows(np.array([0, 1, 2])).tolist() == [
        [False, False, True],
        [False, False, False],
        [True, False, True],
    ]
    assert found.reason() is None and found.reason(0) is None and found.reason(2) is None
    assert found.reason(1) == "no item is left: of 2 items, SeenItems() takes out 2"


def test_without_filters_everything_on_offer_is_allowed() -> None:
    items = catalogue()
    found = combine([], items, queries([0]))
    assert found.rows is None and found.exclude is None and found.reason(0) is None
    items.remove(np.array([1]))
    found = combine([], items, queries([0]))
    assert found.rows.tolist() == [0, 2, 3, 4]
    assert found.for_all.num_offered == found.for_all.num_left == 4


def test_the_part_that_is_the_same_for_all_can_be_kept() -> None:
    filters = [Where("price < 5"), SeenItems()]
    kept = allowed_for_all(filters, catalogue())
    found = combine(filters, catalogue(), queries([0]), for_all=kept)
    assert found.for_all is kept
    assert kept.masks["Where('price < 5')"].tolist() == [True, True, True, False, False]


def test_two_filters_for_requests_join_their_lists() -> None:
    found = combine([SeenItems(), SeenItems(latest=1), SeenItems(latest=1)], catalogue(), queries([0, 1], []))
    assert [rows.tolist() for rows in found.exclude] == [[0, 1, 1, 1], []]
    assert list(found.excluded) == ["SeenItems()", "SeenItems(1)", "SeenItems(1) #2"]


@pytest.mark.parametrize(
    ("filters", "reason"),
    [
        ([Where("price < 0"), Available("in_stock")], "no item is left: Where('price < 0') leaves 0 of 5"),
        (
            [AllowItems(["x", "y"])],
            "no item is left: AllowItems(2 ids) leaves 0 of 5 (2 of its ids are not in the catalogue)",
        ),
        (
            [Where("price > 4"), AllowItems(["a"])],
            "no item is left: Where('price > 4') leaves 1 of 5 and AllowItems(1 id) leaves 1 of 5, but no item passes "
            "all of them",
        ),
    ],
)  # fmt: skip
def test_filters_that_remove_everything_say_so(filters: list[Filter], reason: str) -> None:
    found = combine(filters, catalogue(), queries([]))
    assert found.rows.tolist() == []
    assert found.reason() == found.reason(0) == reason


def test_a_catalogue_with_nothing_on_offer_says_so() -> None:
    items = catalogue()
    items.remove(np.arange(5))
    assert combine([], items, queries([])).reason() == "no item is left: the catalogue has none on offer"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SeenItems(latest=0), r"SeenItems: latest is 0. Give 1 or more, or None for all seen items."),
        (lambda: AllowItems("abc"), r"AllowItems: 'abc' is not a list of item ids. Give a list, \[1, 2\] say."),
        (lambda: DenyItems(7), r"DenyItems: 7 is not a list of item ids."),
        (lambda: Where("price ? 3"), r"Where: the sign '\?' means nothing here. Leave it out."),
        (lambda: Where(""), r"Where: the condition is ''."),
        (lambda: Where("price < 'a'").allowed(catalogue()), r"Where: `<` cannot compare 'price' \(Float64\) with the"),
        (
            lambda: Available("price").allowed(catalogue()),
            r"Available: 'price' holds Float64, not true and false. Write a condition instead, Where\('price > 0'\)",
        ),
        (
            lambda: check_filters([SeenItems(), "price < 20"], catalogue()),
            r"Recommender: 'price < 20' is no filter. Give SeenItems\(\), Where\('price < 20'\) and the like.",
        ),
    ],
)
def test_a_wrong_setting_is_refused(make: object, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        make()


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (Where("prise < 3"), r"Where: the data has no column 'prise'. Did you mean 'price'\?"),
        (Available("instock"), r"Available: the data has no item column 'instock'. Did you mean 'in_stock'\?"),
    ],
)
def test_columns_are_checked_before_anything_is_asked(one: Filter, message: str) -> None:
    with pytest.raises(UnknownColumnError, match=message):
        check_filters([SeenItems(), one], catalogue())


@pytest.mark.parametrize(
    "one",
    [SeenItems(), SeenItems(latest=3), AllowItems([1, 2]), DenyItems(np.array(["a"])), Where("price<3"),
     Available("in_stock")],
    ids=repr,
)  # fmt: skip
def test_a_filter_comes_back_from_its_description(one: Filter) -> None:
    assert Filter.from_description(json.loads(json.dumps(one.describe()))) == one


def test_descriptions_are_plain() -> None:
    assert Where("price<3").describe() == {"kind": "Where", "condition": "price < 3"}
    assert AllowItems(["a"]).describe() == {"kind": "AllowItems", "ids": ["a"]}


def test_a_description_that_is_none_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"Recommender: there is no filter 'Were'. Did you mean 'Where'\?"):
        Filter.from_description({"kind": "Were"})
    with pytest.raises(FormatError, match=r"Where: the settings {'text': 'a'} do not fit \(.*\). Save it again."):
        Filter.from_description({"kind": "Where", "text": "a"})
    with pytest.raises(SettingError, match="the condition is ''"):
        Filter.from_description({"kind": "Where", "condition": ""})
    with pytest.raises(NotSavableError, match=r"DenyItems: ids is datetime.date"):
        DenyItems([dt.date(2026, 1, 1)]).describe()
