"""Items that come, change and go while a recommender answers: all of it, or nothing."""

from pathlib import Path

import polars as pl
import pytest

from tamis import Popular, Recommender
from tamis.errors import DataError
from tamis.recommender.sources.retrieval_source import Retrieval
from two_stage_world import fitted, two_stages

NEW = {"item": [1000], "category": ["games"], "price": [4.0], "title": ["new"], "in_stock": [True]}


def listed(recommender: Recommender, condition: str) -> list[int]:
    found = recommender.recommend(["u1"], 20, filters=condition, exclude_seen=False)
    return sorted(found["item"].to_list())


def test_checking_changes_nothing_and_refuses_what_upserting_would() -> None:
    recommender = two_stages()
    recommender.check_items(pl.DataFrame(NEW))
    assert recommender.num_items == 40
    with pytest.raises(DataError, match=r"the item 1000 has no usable number in 'price'.* Give all of \['price'\]"):
        recommender.check_items(pl.DataFrame(NEW | {"price": [None]}, schema_overrides={"price": pl.Float64}))
    with pytest.raises(DataError, match=r"'price' holds String, such as 'dear', which is no Float64"):
        recommender.check_items(pl.DataFrame({"item": [9], "price": ["dear"]}))
    assert recommender.raw_item_columns == ("category", "item", "price")


def test_a_source_that_fails_leaves_all_as_it_was() -> None:
    class Broken(Popular):
        def upsert(self, catalogue: object, rows: object) -> None:
            raise RuntimeError("no")

    recommender = two_stages([Retrieval(fitted()[2], quota=20), Broken(quota=5)])
    before = recommender.recommend(["u1"], 10)
    known = [9, "books", 1.0, "x", False]
    both = {name: [*values, value] for (name, values), value in zip(NEW.items(), known, strict=True)}
    with pytest.raises(RuntimeError, match="no"):
        recommender.upsert_items(pl.DataFrame(both))
    assert recommender.num_items == len(recommender.catalogue) == 40
    assert recommender.recommend(["u1"], 10).equals(before)


def test_an_item_that_comes_back_is_found_again() -> None:
    recommender = two_stages()
    recommender.remove_items([9])
    assert listed(recommender, "category == 'games' and price < 10") == [1, 5]
    recommender.upsert_items(pl.DataFrame({"item": [9], "title": ["back"]}))
    assert listed(recommender, "category == 'games' and price < 10") == [1, 5, 9]


def test_a_condition_may_name_the_id_also_after_loading(tmp_path: Path) -> None:
    recommender = two_stages()
    recommender.save(tmp_path / "bundle")
    assert listed(recommender, "item == 9") == listed(Recommender.load(tmp_path / "bundle"), "item == 9") == [9]


def test_a_request_may_have_quotas_of_its_own() -> None:
    recommender = two_stages()
    queries = recommender.queries(["u1"])
    allowed = recommender.allowed(queries)
    assert recommender.candidates(queries, allowed).width == 20
    more = recommender.candidates(queries, allowed, quotas={"retrieval": 30})
    assert (
        more.width == 30 and more.items[0, :20].tolist() == recommender.candidates(queries, allowed).items[0].tolist()
    )
