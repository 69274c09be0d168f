"""One request goes a quicker way than many, to the same list."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tamis import Dataset, Recommender
from tamis.models.tower_rows import encode_rows
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
