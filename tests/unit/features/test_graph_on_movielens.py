"""The graph tools together, on MovieLens-1M, where its files are: the features of a recommender, fitted and served."""

import os
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tamis.features.ops import Categorify, FillMissing, Filter, Normalize, TagAsItemID, TagAsUserFeatures, TagAsUserID
from tamis.features.subgraph import Subgraph
from tamis.features.workflow import Workflow


@pytest.fixture(scope="module")
def log() -> pl.DataFrame:
    root = Path(os.environ.get("TAMIS_DATA", Path(__file__).parents[4] / "shared" / "data")) / "movielens-1m"
    if not root.is_dir():
        pytest.skip(f"the real data sets are not at {root}")
    rows, users, movies = (pl.read_parquet(root / f"{name}.parquet") for name in ("interactions", "users", "movies"))
    return rows.join(users, on="user_id").join(movies, on="movie_id")


@pytest.mark.real_data
def test_parts_serving_saving_and_explaining_agree(log, tmp_path) -> None:
    user = (["user_id"] >> Categorify() >> TagAsUserID()) + (["gender", "a?e", "occ*"] >> Categorify())
    item = (["movie_id", "genres"] >> Categorify())["movie_id"] >> TagAsItemID()
    year = ["year"] >> FillMissing() >> Normalize()
    nodes = Subgraph("user", user >> TagAsUserFeatures()) + Subgraph("item", item + year) + ["rating"]
    workflow = Workflow(nodes >> Filter(lambda df: df["rating"] >= 4)).fit(log)
    out = workflow.transform(log)
    assert len(out) == 575_281  # ratings of 4 and 5 in MovieLens-1M
    liked = log.filter(pl.col("rating") >= 4)
    assert_frame_equal(workflow.get_subworkflow("user").transform(liked), out[:, :4])
    serving = workflow.remove_inputs("rating")
    assert_frame_equal(serving.transform(liked.drop("rating")), out.drop("rating"))
    serving.save(tmp_path / "w")
    assert_frame_equal(Workflow.load(tmp_path / "w").transform(liked), out.drop("rating"))
    explained = workflow.explain()
    assert explained.num_passes == 1
    assert "Categorify user_id: vocabulary of 6,040 rows" in explained.text
    assert "Categorify movie_id: vocabulary of 3,706 rows" in explained.text
