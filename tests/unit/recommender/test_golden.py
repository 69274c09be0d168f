"""Which requests a bundle keeps with their answers, and what counts as the same answer."""

import numpy as np
import polars as pl
import pytest

from tamis import Dataset, MatrixFactorizationModel, Popular, Recommender, Workflow, ops
from tamis.recommender.golden_answers import difference, tolerances
from tamis.recommender.golden_draws import draw_golden
from tamis.recommender.raw_draws import RawDraws
from tamis.recommender.versions import changes, versions
from two_stage_world import CATEGORIES, fitted, two_stages

OLD = pl.DataFrame(
    {
        "user": ["u"] * 4,
        "rank": [1, 2, 3, 4],
        "item": [10, 20, 30, 40],
        "score": [0.9, 0.5, 0.5, 0.1],
        "retrieval_score": [4.0, 3.0, 2.0, 1.0],
        "ranker_click": [0.9, 0.5, 0.5, None],
        "sources": [["a"], ["a", "b"], ["b"], ["b"]],
    }
)
TOLERANCE = {"score": 1e-4, "retrieval_score": 1e-3, "ranker_click": 1e-4}


def changed(**columns: object) -> pl.DataFrame:
    return OLD.with_columns(pl.Series(name, values) for name, values in columns.items())


def rows(*places: int) -> pl.DataFrame:
    """The list in another order; ranks, and scores by rank, stay."""
    return OLD[list(places)].with_columns(OLD["rank"], OLD["score"])


@pytest.mark.parametrize(
    "same",
    [
        OLD,
        changed(score=[0.90005, 0.5, 0.5, 0.1]),  # machines round differently
        changed(retrieval_score=[4.0009, 3.0, 2.0, 1.0]),
        rows(0, 2, 1, 3),  # two that tie changed places
        changed(item=[10, 20, 30, 50], score=[0.9, 0.5, 0.5, 0.10005]),  # one that tied with the last came in
    ],
)
def test_lists_that_differ_by_rounding_alone_are_the_same(same: pl.DataFrame) -> None:
    assert difference(OLD, same.cast(OLD.schema), "item", TOLERANCE) is None


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (OLD[:3], "the list has 3 items, but had 4"),
        (OLD.drop("ranker_click"), "the columns are ['user', 'rank', 'item', 'score', 'retrieval_score', 'sources'], "),
        (
            changed(item=[20, 10, 30, 40], score=[0.5, 0.9, 0.5, 0.1]),  # neighbours, but their scores do not tie
            "rank 1 holds item 20 with the score 0.5, but held item 10 with the score 0.9",
        ),
        (
            changed(item=[10, 20, 30, 50], score=[0.9, 0.5, 0.5, 0.11]),
            "rank 4 holds item 50 with the score 0.11, but held item 40 with the score 0.1",
        ),
        (changed(item=[50, 20, 30, 40]), "rank 1 holds item 50 with the score 0.9, but held item 10"),
        (changed(score=[0.91, 0.5, 0.5, 0.1]), "the score of item 10 at rank 1 is 0.91, but was 0.9"),
        (changed(ranker_click=[0.9, 0.5, None, None]), "the ranker_click of item 30 at rank 3 is None, but was 0.5"),
        (changed(ranker_click=[0.9, 0.5, 0.5, 0.1]), "the ranker_click of item 40 at rank 4 is 0.1, but was None"),
        (
            changed(sources=[["a"], ["a"], ["b"], ["b"]]),
            "the sources of item 20 at rank 2 is ['a'], but was ['a', 'b']",
        ),
        (changed(user=["v"] * 4), "the user of item 10 at rank 1 is 'v', but was 'u'"),
    ],
)
def test_the_first_difference_is_told_with_rank_item_and_numbers(other: pl.DataFrame, message: str) -> None:
    found = difference(OLD, other, "item", TOLERANCE)
    assert found is not None
    assert found.startswith(message)


def test_scores_may_differ_by_a_ten_thousandth_of_the_largest_and_reciprocal_ranks_by_two_hundredths() -> None:
    one = two_stages()
    assert tolerances(one, OLD) == pytest.approx({"score": 9e-5, "retrieval_score": 4e-4, "ranker_click": 9e-5})
    _, _, towers, _ = fitted()
    several = two_stages([Popular(quota=5), Popular(quota=5, name="b")])
    assert tolerances(several, OLD) == pytest.approx({"score": 9e-5, "retrieval_score": 0.08, "ranker_click": 9e-5})
    unranked = two_stages([Popular(quota=5), Popular(quota=5, name="b")], ranker=None, context=None)
    assert tolerances(unranked, OLD)["score"] == pytest.approx(0.018)
    assert towers is fitted()[2]


def test_a_dozen_requests_are_one_of_each_kind() -> None:
    golden = draw_golden(two_stages())
    told = [request.what for request in golden.requests]
    assert len(golden) == 12
    assert told.count("a known user") == 3
    for kind in ("seen items too", "best item alone", "long list", "known user with features", "nothing is known"):
        assert any(kind in what for what in told), kind
    assert sum(what.endswith("unknown user with features") for what in told) == 2
    assert sum("Where(" in what for what in told) == 2
    assert {request.exclude_seen for request in golden.requests} == {True, False}
    assert {request.k for request in golden.requests} == {1, 10, 20}
    hours = {request.asked.context["hour"][0] for request in golden.requests}
    assert 12 in hours and len(hours) > 3
    for request, answer in zip(golden.requests, golden.answers, strict=True):
        assert 1 <= len(answer) <= request.k
    assert golden.check(two_stages()) is None


def test_the_draw_is_the_same_each_time_and_another_with_another_seed() -> None:
    first, again, other = (draw_golden(two_stages(), seed=seed) for seed in (1, 1, 2))
    users = [[request.asked.ids[0] for request in one.requests] for one in (first, again, other)]
    assert users[0] == users[1] != users[2]


def test_another_model_is_told_by_number_and_kind_of_the_request() -> None:
    golden = draw_golden(two_stages())
    found = golden.check(two_stages([Popular(quota=20)]))
    assert found is not None
    assert found.startswith("golden request 1 of 12 (a known user, k=10): rank 2 holds item ")


def ids_alone(**settings: object) -> Recommender:
    rows = pl.DataFrame({"user": [1, 1, 2, 2, 3], "item": [1, 2, 1, 3, 2]})
    graph = (["user"] >> ops.Categorify() >> ops.TagAsUserID()) + (["item"] >> ops.Categorify() >> ops.TagAsItemID())
    workflow = Workflow(graph).fit(Dataset(rows))
    train = workflow.transform(Dataset(rows))
    model = MatrixFactorizationModel(train.schema, dim=2)
    model.fit(train, epochs=1, batch_size=4, verbose=False)
    return Recommender(model, **settings).fit(workflow, train)


def test_without_features_and_item_columns_known_users_and_denied_items_stand_in() -> None:
    golden = draw_golden(ids_alone())
    told = [request.what for request in golden.requests]
    assert len(golden) == 12
    assert not any("features" in what for what in told)
    assert sum("DenyItems(3 ids)" in what for what in told) == 2
    assert max(request.k for request in golden.requests) == 3


def test_where_nothing_is_on_offer_there_is_no_golden_request(tmp_path) -> None:
    recommender = ids_alone()
    recommender.remove_items([1, 2, 3])
    assert len(draw_golden(recommender)) == 0
    recommender.save(tmp_path / "r")
    assert Recommender.load(tmp_path / "r").num_items == 0


def test_made_up_rows_are_of_known_categories_and_plain_values() -> None:
    raw = Dataset(
        pl.DataFrame(
            {
                "kind": ["a", "b"],
                "words": [["x", "y"], ["z"]],
                "age": [20, 30],
                "share": [0.5, 0.25],
                "is_new": [True, False],
                "day": pl.Series(["2026-01-01", "2026-01-02"]).str.to_date(),
            }
        )
    )
    graph = ["kind", "words", "day"] >> ops.Categorify()
    workflow = Workflow(graph + "age" + "share" + "is_new").fit(raw)
    draws = RawDraws(workflow, ["kind", "words", "age", "share", "is_new", "day"], np.random.default_rng(0))
    assert draws.is_possible
    for _ in range(20):
        row = draws.row()
        assert row["kind"] in ("a", "b")
        assert len(row["words"]) == 2 and set(row["words"]) <= {"x", "y", "z"}
        assert isinstance(row["age"], int) and isinstance(row["share"], float) and isinstance(row["is_new"], bool)
        assert str(row["day"]) in ("2026-01-01", "2026-01-02")
    assert len(workflow.transform(pl.DataFrame([draws.row()], schema=raw.scan().collect_schema()))) == 1
    assert CATEGORIES


def test_a_column_that_nothing_can_be_made_up_for_is_said_to_be_one() -> None:
    raw = Dataset(pl.DataFrame({"day": pl.Series(["2026-01-01"]).str.to_date()}))
    workflow = Workflow(["day"] >> ops.AddTags(["x"])).fit(raw)
    assert not RawDraws(workflow, ["day"], np.random.default_rng(0)).is_possible


def test_versions_are_compared_in_words() -> None:
    assert changes({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}) == "b 2 then and 3 now, c none then and 4 now"
    assert changes(versions(), versions()) == ""
