"""Histories that the workflow makes out of its log: known users have them stored, others have none."""

import polars as pl
import pytest

import tamis
from tamis import Dataset, MLPBlock, Recommender, Tags, Workflow
from tamis.data.dataset import Dataset as AnyDataset
from tamis.ops import AddTags, Categorify, HistorySequence, TagAsItemID, TagAsUserFeatures, TagAsUserID

LOG = pl.DataFrame(
    {
        "user": [1, 1, 2, 1, 2, 3],
        "item": [10, 20, 10, 30, 30, 20],
        "day": [1, 2, 3, 4, 5, 6],
        "age": [30, 30, 40, 30, 40, 50],
    }
)


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    item = ["item"] >> Categorify() >> TagAsItemID()
    graph = (["user"] >> Categorify() >> TagAsUserID()) + item + (["age"] >> Categorify() >> TagAsUserFeatures())
    graph += item >> HistorySequence("user", "day", length=5) >> AddTags([Tags.USER])
    workflow = Workflow(graph).fit(Dataset(LOG))
    coded = workflow.transform(Dataset(LOG))
    model = tamis.TwoTowerModel(coded.schema, MLPBlock([4], no_activation_last_layer=True))
    model.fit(coded, epochs=1, verbose=False)
    after: AnyDataset = workflow.transform(Dataset(LOG.with_columns(pl.col("day") + 1)))
    return Recommender(model).fit(workflow, after)


def histories(recommender: Recommender, asked: object) -> list[list[int]]:
    lists = recommender.queries(asked).features["item_history"]  # type: ignore[arg-type]
    return [recommender.workflow.decode("item", one).to_list() for one in lists]


def test_known_users_are_asked_for_with_what_they_had_at_last(recommender: Recommender) -> None:
    assert histories(recommender, [1, 2, 3]) == [[10, 20, 30], [10, 30], [20]]


def test_a_stranger_has_the_history_of_nobody(recommender: Recommender) -> None:
    assert histories(recommender, pl.DataFrame({"user": [2, 9], "age": [40, 30]})) == [[10, 30], []]
    assert recommender.recommend(pl.DataFrame({"user": [9], "age": [30]}), k=2).height == 2


def test_a_moment_alone_makes_no_history_and_is_ignored(recommender: Recommender) -> None:
    assert "day" in recommender.raw_user_columns
    assert histories(recommender, pl.DataFrame({"user": [9], "age": [30], "day": [7]})) == [[]]
