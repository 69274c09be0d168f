"""One request goes a quicker way than many, to the same list."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tamis import Dataset, Recommender
from tamis.errors import DataError, UnknownColumnError
from tamis.models.tower_rows import encode_rows
from tamis.recommender.row_values import RowValues
from two_stage_world import NUM_USERS, fitted, two_stages

USERS = [f"u{number}" for number in range(NUM_USERS)]


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    return two_stages()


@pytest.mark.parametrize("filters", ["", "price < 10 and category == 'music'"])
def test_users_one_by_one_get_the_lists_that_they_get_together(recommender: Recommender, filters: str) -> None:
    """The second filter leaves fewer items than are asked for."""
    more = [filters] if filters else []
    asked = {"k": 20, "filters": more, "exclude_seen": not more}
    together = recommender.recommend([*USERS, "nobody"], **asked)
    alone = pl.concat(recommender.recommend([user], **asked) for user in [*USERS, "nobody"])
    assert_frame_equal(alone, together, abs_tol=1e-5)


def test_rows_of_features_one_by_one_get_the_lists_that_they_get_together(recommender: Recommender) -> None:
    rows = [{"user": "new", "age": 30.0, "hour": 20}, {"user": "u3", "age": 40.0, "hour": 3}]
    together = recommender.recommend(rows, k=20)
    alone = pl.concat(recommender.recommend([row], k=20) for row in rows)
    assert_frame_equal(alone.drop("query"), together.drop("query"), abs_tol=1e-5)


def test_a_frame_is_encoded_as_a_dataset_of_it_is() -> None:
    """The first goes straight to tensors, the second through a loader."""
    _, rows, towers, _ = fitted()
    frame = rows.compute().head(50)
    for encoder in (towers.query_encoder, towers.candidate_encoder):
        loaded = encode_rows(encoder.tower, Dataset(frame)).numpy()
        for size in (1, 7, 50):
            direct = np.concatenate([encoder.encode(part).numpy() for part in frame.iter_slices(size)])
            np.testing.assert_allclose(direct, loaded, rtol=1e-5, atol=1e-6)


def test_the_query_of_one_user_is_that_of_a_list_of_one(recommender: Recommender) -> None:
    for user in ("u3", "nobody", None):
        for context in (None, {"hour": 20}, {"hour": 20}, {"hour": 20.0}, {"hour": None}):
            alone, listed = recommender.queries_of([user], context), recommender.queries([user], context)
            assert alone.users.tolist() == listed.users.tolist()
            assert alone.has_features.tolist() == listed.has_features.tolist()
            assert_frame_equal(alone.features, listed.features)
            assert [one.tolist() for one in alone.seen] == [one.tolist() for one in listed.seen]


def test_the_queries_of_a_few_users_are_those_of_a_list(recommender: Recommender) -> None:
    users, some = ["u3", None, "nobody", "u5"], np.array([3, 0])
    for context in (None, {"hour": 20}):
        few, listed = recommender.queries_of(users, context), recommender.queries(users, context)
        for mine, theirs in ((few, listed), (few.select(some), listed.select(some))):
            assert mine.users.tolist() == theirs.users.tolist()
            assert mine.has_features.tolist() == theirs.has_features.tolist()
            assert mine.each is not None and mine.each == theirs.features.to_dicts()
            assert_frame_equal(mine.features, theirs.features)
            assert [one.tolist() for one in mine.seen] == [one.tolist() for one in theirs.seen]


def test_rows_that_hold_more_than_one_number_are_read_out_of_the_frame() -> None:
    plain = pl.DataFrame({"code": [3, 1], "share": [0.5, 2.0]}, schema={"code": pl.Int32, "share": pl.Float32})
    values = RowValues(plain)
    assert values.is_quick and [values.of(row) for row in (0, 1)] == plain.to_dicts()
    assert {type(value) for value in values.of(0).values()} == {int, float}
    for other in (
        plain.with_columns(more=pl.Series([[1], [2, 3]])),
        plain.with_columns(more=pl.Series([None, 1])),
        plain.with_columns(more=pl.Series(["a", "b"])),
        pl.concat([plain, plain], rechunk=False),
        plain.with_columns(more=pl.Series([True, False])),
        plain.with_columns(more=pl.col("code").cast(pl.Int128)),
        plain.with_columns(more=pl.col("code").cast(pl.Decimal(10, 2))),
    ):
        assert not RowValues(other).is_quick


def test_a_context_that_cannot_be_is_refused_each_time(recommender: Recommender) -> None:
    for _ in range(2):
        with pytest.raises(DataError, match="'hour' got 'noon'"):
            recommender.queries_of(["u1"], {"hour": "noon"})
        with pytest.raises(DataError, match="'hour' got"):
            recommender.queries_of(["u1"], {"hour": [1, 2]})  # a list cannot be looked up
        with pytest.raises(UnknownColumnError, match="Did you mean 'hour'"):
            recommender.queries_of(["u1"], {"hours": 3})
