"""What users did since the bundle was made is at the end of the histories that models read."""

import polars as pl
import pytest

from tamis import Dataset, Popular, Recommender, Tags, Workflow, ops
from tamis.errors import DataError
from tamis.serving.asked_users import AskedUser, UserQueries
from tamis.serving.update_log import UserState


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    """Users a and b took items; each row has what the user took before, up to three of them."""
    raw = pl.DataFrame(
        {
            "user": ["a", "b", "a", "a", "b"],
            "item": [10, 20, 20, 30, 40],
            "history": [[], [], [10], [10, 20], [20]],
            "colour": ["red", "blue", "blue", "red", "green"],
        },
        schema_overrides={"history": pl.List(pl.Int64)},
    )
    item = [["item", "history"]] >> ops.Categorify()
    graph = (
        (["user"] >> ops.Categorify() >> ops.TagAsUserID())
        + (item["item"] >> ops.TagAsItemID())
        + (item["history"] >> ops.TagAsUserFeatures())
        + (["colour"] >> ops.Categorify() >> ops.AddTags([Tags.ITEM]))
    )
    workflow = Workflow(graph).fit(Dataset(raw))
    rows = Dataset(workflow.transform(raw), schema=workflow.output_schema)
    return Recommender(Popular(quota=4)).fit(workflow, rows)


def history(recommender: Recommender, user: AskedUser, *met: int) -> list[int]:
    queries = UserQueries(recommender).queries([user], [UserState(met=met)], None)
    return recommender.workflow.decode("item", queries.features["history"][0]).to_list()


def test_fresh_events_come_last_and_what_the_bundle_knows_is_not_counted_twice(recommender: Recommender) -> None:
    assert history(recommender, AskedUser("a")) == [10, 20]
    assert history(recommender, AskedUser("a"), 40) == [10, 20, 40]
    assert history(recommender, AskedUser("a"), 10, 40, 999) == [10, 20, 40]


def test_a_stranger_has_a_history_from_the_first_event_on(recommender: Recommender) -> None:
    queries = UserQueries(recommender).queries([AskedUser("nobody")], [UserState(met=[20, 30])], None)
    ids = recommender.catalogue.ids
    assert ids.gather(queries.seen[0]).to_list() == [20, 30]
    assert not queries.has_features[0]


def test_values_of_different_kinds_in_one_list_are_told(recommender: Recommender) -> None:
    with pytest.raises(DataError, match="features: the users give values of different kinds for one column"):
        UserQueries(recommender).queries([AskedUser(None, {"history": [1, "x"]})], [UserState()], None)
