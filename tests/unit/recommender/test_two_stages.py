"""Both stages as one object: what the ranker is given, what comes out, and what is refused when it is built."""

import numpy as np
import polars as pl
import pytest

from tamis import Dataset, DCNModel, Recommender, Tags, Workflow, ops
from tamis.errors import DataError, NotFittedError, SchemaError, SettingError, UnknownColumnError, UnknownNameError
from tamis.recommender.sources.retrieval_source import Retrieval
from two_stage_world import clicks, fitted, graph, impressions, raw_items, two_stages


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    return two_stages()


def test_the_ranker_predicts_what_it_predicts_for_the_rows_written_out(recommender: Recommender) -> None:
    """The user's part is computed once a request; the rows repeated by hand must give the same."""
    workflow, _, _, ranker = fitted()
    found = recommender.recommend(["u1", "u2"], k=5, context={"hour": 20})
    assert found.columns == ["user", "rank", "item", "score", "retrieval_score", "ranker_click", "sources"]
    raw = impressions()
    users = raw.unique("user", keep="last").select("user", "age")
    items = raw.unique("item", keep="last").select("item", "category", "price")
    written = (
        found.select("user", "item")
        .join(users, on="user", maintain_order="left")
        .join(items, on="item", maintain_order="left")
    )
    written = written.with_columns(hour=pl.lit(20, pl.Int64), click=pl.lit(0, pl.Int8))
    coded = Dataset(
        workflow.transform(written.select(workflow.input_schema.column_names)), schema=workflow.output_schema
    )
    expected = ranker.predict(coded).compute()[ranker.predict(coded).column_names[-1]]
    np.testing.assert_allclose(found["ranker_click"].to_numpy(), expected.to_numpy(), atol=1e-5)
    assert found["score"].to_list() == found["ranker_click"].to_list()


def test_lists_are_in_the_rankers_order_and_cheap_items_of_the_users_taste_lead(recommender: Recommender) -> None:
    found = recommender.recommend(["u1"], k=10, exclude_seen=False, show=["category", "price"])
    scores = found["ranker_click"].to_list()
    assert scores == sorted(scores, reverse=True)
    assert found["category"].to_list()[:5] == ["games"] * 5  # items 1, 5, 9, 13, 17 are cheap games
    assert set(found["price"].to_list()[:5]) <= {5.0, 15.0}


def test_the_context_changes_the_scores_and_a_default_stands_in_for_it(recommender: Recommender) -> None:
    noon = recommender.recommend(["u1"], k=3)
    assert recommender.recommend(["u1"], k=3, context={"hour": 12}).equals(noon)
    evening = recommender.recommend(["u1"], k=3, context={"hour": 20})
    assert evening["ranker_click"].to_list() != noon["ranker_click"].to_list()
    each = recommender.recommend(["u1", "u1"], k=3, context=pl.DataFrame({"hour": [12, 20]}))
    assert each["ranker_click"].to_list() == pytest.approx([*noon["ranker_click"], *evening["ranker_click"]], abs=1e-6)


def test_a_context_that_is_missing_unknown_or_of_another_length_is_refused() -> None:
    without = two_stages(context=None)
    with pytest.raises(SettingError, match=r"recommend: the context 'hour' is missing.*context=\{'hour': ...\}"):
        without.recommend(["u1"], k=3)
    with pytest.raises(UnknownColumnError, match=r"no context column 'hours'. Did you mean 'hour'\?"):
        without.recommend(["u1"], k=3, context={"hours": 1})
    with pytest.raises(SettingError, match=r"the context has 1 rows for 2 users. Give one a user"):
        without.recommend(["u1", "u2"], k=3, context=pl.DataFrame({"hour": [1]}))
    with pytest.raises(UnknownColumnError, match=r"Recommender: context: the data has no context column 'our'"):
        two_stages(context={"our": 1})


def test_an_unknown_user_with_features_gets_both_stages_and_one_without_the_popular_items(
    recommender: Recommender,
) -> None:
    """The age tells the taste."""
    found = recommender.recommend([{"user": "new", "age": 30.0}], k=5, exclude_seen=False, show=["category"])
    assert found.columns[0] == "query"
    assert found["sources"].to_list() == [["retrieval"]] * 5
    assert found["category"].to_list().count("games") >= 4
    assert found["ranker_click"].null_count() == 0
    nobody = recommender.recommend([{"age": 30.0}], k=5)
    assert nobody["user"].to_list() == [None] * 5
    plain = recommender.recommend(["new"], k=3)
    assert plain["sources"].to_list() == [["popularity"]] * 3
    assert plain["ranker_click"].to_list() == [None] * 3
    counts = impressions().filter(pl.col("click") == 1)["item"].value_counts().sort("count", descending=True)
    assert plain["score"].to_list() == pytest.approx([n / counts["count"].sum() for n in counts["count"][:3]])


def test_what_a_request_says_of_a_known_user_wins_over_what_is_stored(recommender: Recommender) -> None:
    stored = recommender.recommend(["u1"], k=5)
    same = recommender.recommend([{"user": "u1", "age": 30.0}], k=5)
    assert same.drop("query").equals(stored)
    older = recommender.recommend([{"user": "u1", "age": 50.0}], k=5)
    assert older["retrieval_score"].to_list() != stored["retrieval_score"].to_list()
    frame = recommender.recommend(pl.DataFrame({"user": ["u1"], "age": [30.0]}), k=5)
    assert frame.equals(same)


def test_a_feature_that_is_none_is_answered_with_the_nearest(recommender: Recommender) -> None:
    with pytest.raises(UnknownColumnError, match=r"recommend: the data has no column 'ag'. Did you mean 'age'\?"):
        recommender.recommend([{"user": "u1", "ag": 30.0}], k=5)
    with pytest.raises(DataError, match="'age'"):
        recommender.recommend([{"user": "u1", "age": "old"}], k=5)


def test_filters_of_the_request_and_of_the_recommender_hold(recommender: Recommender) -> None:
    found = recommender.recommend(
        ["u1"], k=10, filters="category == 'music' and price < 20", exclude_seen=False, show=["category", "price"]
    )
    assert set(found["category"]) == {"music"}
    assert found["price"].max() < 20
    with pytest.warns(UserWarning, match=r"1 lists are empty: no item is left: Where\('price < 0'\) leaves 0 of 40"):
        nothing = recommender.recommend(["u1"], k=3, filters="price < 0")
    assert len(nothing) == 0
    assert nothing.schema == recommender.recommend(["u1"], k=3).schema


def test_a_new_item_is_recommended_at_once_and_a_removed_one_no_more() -> None:
    recommender = two_stages()
    new = pl.DataFrame({"item": [100, 101], "category": ["games", "tools"], "price": [5.0, 5.0], "title": ["g", "t"]})
    assert recommender.upsert_items(new) == 2
    assert recommender.num_items == 42
    found = recommender.recommend(["u1", "u3"], k=20, exclude_seen=False, show=["title"])
    lists = dict(found.group_by("user").agg("item").iter_rows())
    assert 100 in lists["u1"]
    assert 101 in lists["u3"]
    assert found.filter(pl.col("item") == 100)["title"].unique().to_list() == ["g"]
    assert recommender.remove_items([100, 9999]) == 1
    assert recommender.num_items == 41
    assert 100 not in recommender.recommend(["u1"], k=20, exclude_seen=False)["item"].to_list()
    assert recommender.upsert_items(new[:1]) == 0  # it comes back under its old row
    assert 100 in recommender.recommend(["u1"], k=20, exclude_seen=False)["item"].to_list()


def test_a_change_of_what_is_shown_alone_needs_no_features() -> None:
    recommender = two_stages()
    assert recommender.upsert_items(pl.DataFrame({"item": [5], "title": ["other"], "in_stock": [False]})) == 0
    found = recommender.recommend(["u1"], k=20, exclude_seen=False, show=["title", "in_stock"])
    assert found.filter(pl.col("item") == 5).select("title", "in_stock").row(0) == ("other", False)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"item": [200], "title": ["x"]}, r"\['category', 'price'\] are missing, but 1 items are new"),
        ({"item": [1], "price": [2.0]}, r"\['category'\] are missing, but \['price'\] alone"),
        ({"item": [1, 1], "title": ["x", "y"]}, "the item 1 is given more than once"),
        ({"item": [None], "title": ["x"]}, "1 items have no 'item'"),
    ],
)
def test_items_that_cannot_be_put_in_change_nothing(rows: dict[str, list[object]], message: str) -> None:
    recommender = two_stages()
    before = recommender.recommend(["u1"], k=5)
    with pytest.raises(DataError, match=message):
        recommender.upsert_items(pl.DataFrame(rows))
    with pytest.raises(UnknownColumnError, match=r"upsert_items: the data has no column 'titel'. Did you mean 'title'"):
        recommender.upsert_items(pl.DataFrame({"item": [1], "titel": ["x"]}))
    assert recommender.recommend(["u1"], k=5).equals(before)


def test_a_ranker_that_nobody_can_feed_is_refused_when_it_is_built() -> None:
    crossed = graph() + ([["user", "category"]] >> ops.HashedCross(100))
    raw = Dataset(impressions(500))
    workflow = Workflow(crossed).fit(raw)
    rows = workflow.transform(raw)
    cross = [name for name in workflow.output_schema.column_names if "user" in name and "category" in name]
    ranker = DCNModel(rows.schema)
    ranker.fit(rows, verbose=False)
    with pytest.raises(SchemaError, match=rf"the ranker DCNModel: the columns \['{cross[0]}'\] cannot be supplied at"):
        Recommender(Retrieval(fitted()[2]), ranker=ranker).fit(workflow, rows)


def test_what_a_recommender_must_have() -> None:
    towers = fitted()[2]
    with pytest.raises(SettingError, match="there are no sources"):
        Recommender([])
    with pytest.raises(SettingError, match=r"two sources are named 'retrieval'. Give one another name"):
        Recommender([Retrieval(towers), Retrieval(towers)])
    with pytest.raises(UnknownNameError, match=r"no blend 'scores'. Did you mean 'score'"):
        Recommender([towers], blend="scores")
    with pytest.raises(SettingError, match=r"Retrieval: the quota is 0. Give 1 candidate or more"):
        Retrieval(towers, quota=0)
    with pytest.raises(NotFittedError, match=r"it knows no users and items yet. Call fit"):
        Recommender([towers]).recommend(["u1"])
    with pytest.raises(SettingError, match=r"the source 'retrieval' has a quota of 41, but the catalogue has 40 items"):
        two_stages([Retrieval(towers, quota=41)])
    with pytest.raises(SettingError, match=r"k is 21, but the sources give 20 candidates at most"):
        two_stages().recommend(["u1"], k=21)
    with pytest.raises(UnknownColumnError, match=r"Recommender: time: the data has no column 'tim'"):
        Recommender([towers]).fit(fitted()[0], clicks(), time="tim")


def test_both_stages_come_back_from_their_folder(tmp_path: object, recommender: Recommender) -> None:
    recommender.save(f"{tmp_path}/bundle")
    loaded = Recommender.load(f"{tmp_path}/bundle")
    asked = ["u1", "new", "u7"]
    assert loaded.recommend(asked, k=8, show=["title"]).equals(recommender.recommend(asked, k=8, show=["title"]))
    features = [{"user": "new", "age": 30.0}]
    assert loaded.recommend(features, k=8, filters="price < 20").equals(
        recommender.recommend(features, k=8, filters="price < 20")
    )
    assert loaded.upsert_items(pl.DataFrame({"item": [100], "category": ["games"], "price": [5.0]})) == 1


def test_metrics_on_held_out_rows_beat_popularity(recommender: Recommender) -> None:
    found = recommender.evaluate(Dataset(impressions(3000, seed=1)), metrics=["ndcg_at_5"], exclude_seen=False)
    assert found["ndcg_at_5"] > 2 * found["popularity_ndcg_at_5"]
    assert raw_items().height == 40
    assert Tags.CONTEXT in fitted()[0].output_schema["hour"].tags
