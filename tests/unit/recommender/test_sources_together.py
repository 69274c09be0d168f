"""All sources in one recommender, from raw ids to raw ids, saved and loaded."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import tamis
from tamis import Dataset, ItemItem, MatrixFactorizationModel, Popular, Recent, Recommender, SimilarItems, Workflow, ops
from tamis.errors import SettingError

# 1 and 2 are read by the young, 3 and 4 by the old; 5 came last
ROWS = pl.DataFrame(
    {
        "user": ["a", "a", "b", "c", "c", "d", "d", "e", "f", "f"],
        "age": ["young", "young", "young", "old", "old", "young", "young", "old", "old", "old"],
        "item": [1, 2, 1, 3, 4, 2, 1, 3, 4, 5],
    }
)
GRAPH = (
    (["user"] >> ops.Categorify() >> ops.TagAsUserID())
    + (["age"] >> ops.Categorify() >> ops.TagAsUserFeatures())
    + (["item"] >> ops.Categorify() >> ops.TagAsItemID())
)


@pytest.fixture(scope="module")
def workflow() -> Workflow:
    return Workflow(GRAPH).fit(Dataset(ROWS))


def built(workflow: Workflow, sources: list) -> Recommender:
    return Recommender(sources).fit(workflow, workflow.transform(Dataset(ROWS)))


def items_of(recommender: Recommender, user: str, k: int) -> list[int]:
    return recommender.recommend([user], k=k)["item"].to_list()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (ItemItem("knn"), [2]),
        (Popular(by="age", shrinkage=1), [2, 3, 4, 5]),
        (Recent(), [5, 4, 3, 2]),
        (SimilarItems(vectors=pl.DataFrame({"item": [5, 4, 1], "x": [1.0, 2.0, 1.0], "y": [1.0, 1.0, 1.0]})), [5, 4]),
    ],
    ids=lambda one: getattr(one, "name", ""),
)
def test_a_young_reader_of_item_1_gets(source, expected, workflow) -> None:
    assert items_of(built(workflow, [source]), "b", 4) == expected


def test_a_loaded_recommender_gives_the_same_candidates_of_the_same_sources(workflow, tmp_path) -> None:
    train = workflow.transform(Dataset(ROWS))
    model = MatrixFactorizationModel(train.schema.select_by_name(["user", "item"]), dim=4)
    model.fit(train, epochs=1, batch_size=4, verbose=False)
    sources = [ItemItem("graph", half_life=2), Popular(by="age"), Recent(), SimilarItems(model), model]
    recommender = built(workflow, sources)
    found = recommender.recommend(["a", "c", "nobody"], k=5)
    named = set(found["sources"].explode())
    assert named == {"item_item", "popular", "recent", "similar_items", "retrieval"}
    recommender.save(tmp_path / "recommender")
    assert_frame_equal(tamis.Recommender.load(tmp_path / "recommender").recommend(["a", "c", "nobody"], k=5), found)


def test_a_quota_above_the_catalogue_is_refused(workflow) -> None:
    with pytest.raises(SettingError, match=r"the source 'popular' has a quota of 6, but the catalogue has 5 items\."):
        built(workflow, [Popular(quota=6)])


def test_a_user_whom_no_source_of_several_knows_gets_the_popular_items(workflow: Workflow) -> None:
    """Alone in the request, so that there is not one candidate before."""
    found = built(workflow, [ItemItem("knn"), ItemItem("knn", name="other")]).recommend(["nobody"], k=2)
    assert found["item"].to_list() == [1, 2] and found["sources"].to_list() == [["popularity"]] * 2
