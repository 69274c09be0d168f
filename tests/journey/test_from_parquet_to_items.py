"""Parquet in, recommended items out, on a world whose best answer is known."""

from pathlib import Path

import polars as pl
import pytest

from known_world import NUM_ITEMS, interactions, kind_of, write_world
from tamis import Dataset, Recommender
from tamis.journey.config import TrainConfig
from tamis.journey.pipeline import Trained, train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("world")
    return train(TrainConfig.read(write_world(folder)), say=lambda line: None, verbose=False)


def test_fans_of_cats_get_cat_items_and_fans_of_dogs_dog_items(trained: Trained) -> None:
    found = trained.recommender.recommend([f"u{i}" for i in range(60)], k=3)
    right = [
        kind_of(int(user[1:])) == kind_of(int(item[1:])) for user, item in found.select("user", "item").iter_rows()
    ]
    assert len(right) == 180
    assert sum(right) / len(right) > 0.95


def test_the_held_out_item_is_found_far_more_often_than_by_popularity(trained: Trained) -> None:
    # Four or five unseen items of the own kind are left among 24, so lists of ten hold the right one if kinds do.
    assert trained.metrics["recall_at_10"] > 0.95
    assert trained.metrics["popularity_recall_at_10"] < 0.8
    assert trained.metrics["num_users"] == 60


def test_what_a_user_saw_in_training_and_validation_is_left_out(trained: Trained) -> None:
    before_test = interactions().filter(pl.col("time") < 7)
    found = trained.recommender.recommend([f"u{i}" for i in range(60)], k=NUM_ITEMS)
    assert len(found.join(before_test, on=["user", "item"], how="semi")) == 0
    assert found.group_by("user").len()["len"].unique().to_list() == [NUM_ITEMS - 7]  # fewer rows than k
    shown = trained.recommender.recommend(["u0"], k=NUM_ITEMS, exclude_seen=False)
    assert sorted(shown["item"]) == sorted(f"i{i}" for i in range(NUM_ITEMS))


def test_the_folder_gives_the_same_answers_and_metrics(trained: Trained) -> None:
    loaded = Recommender.load(trained.folder / "recommender")
    asked = ["u3", "u2", "nobody"]
    assert loaded.recommend(asked, k=5).equals(trained.recommender.recommend(asked, k=5))
    test = interactions().filter(pl.col("time") == 7)
    assert loaded.evaluate(Dataset(test)) == pytest.approx(trained.metrics)


def test_the_folder_holds_a_report_and_the_metrics(trained: Trained) -> None:
    names = sorted(path.name for path in trained.folder.iterdir())
    assert names == ["config.json", "manifest.json", "metrics.json", "model", "recommender", "report.html"]
    report = (trained.folder / "report.html").read_text()
    assert "<svg" in report
    assert "http://" not in report.replace("http://www.w3.org", "")  # self-contained


def test_training_on_the_latest_rows_only_still_leaves_everything_seen_out(tmp_path: Path) -> None:
    file = write_world(tmp_path)
    file.write_text(file.read_text().replace('order = "time"', 'order = "time"\nlatest = 2').replace("= 12", "= 1"))
    said: list[str] = []
    latest = train(TrainConfig.read(file), say=said.append, verbose=False)
    assert "120 rows to train, 60 to validate, 60 to test" in said[0]
    assert len(latest.recommender.recommend(["u0"], k=NUM_ITEMS)) == NUM_ITEMS - 7


@pytest.mark.parametrize(
    "kind", ["auto-int", "dcn", "deep-fm", "dlrm", "final-mlp", "fm", "logistic-regression", "mlp", "wide-and-deep"]
)
def test_both_stages_are_trained_from_a_file(tmp_path: Path, kind: str) -> None:
    file = write_world(tmp_path)
    ranking = (
        f'\n[sources]\nretrieval = 12\npopular = 24\n[ranking]\nkind = "{kind}"\ndim = 8\nlayers = [8]\nepochs = 2\n'
    )
    file.write_text(file.read_text() + ranking)
    said: list[str] = []
    trained = train(TrainConfig.read(file), say=said.append, verbose=False)
    assert [line.split()[0] for line in said if not line.startswith(" ")][:5] == [
        "data", "features", "candidates", "ranker", "model",
    ]  # fmt: skip
    assert any("first stage alone" in line for line in said)
    assert "<svg" in (trained.folder / "funnel.html").read_text()
    found = Recommender.load(trained.folder / "recommender").recommend(["u1"], k=5)
    assert found["ranker_taken"].is_between(0, 1).all()
    assert found["score"].to_list() == sorted(found["score"], reverse=True)


def test_a_split_by_time_and_matrix_factorization_go_the_same_way(tmp_path: Path) -> None:
    file = write_world(tmp_path)
    text = file.read_text().replace('order = "time"', 'order = "time"\nsplit = "time"').replace("= 12", "= 1")
    file.write_text(text.replace("[model]", '[model]\nkind = "matrix-factorization"'))
    result = train(TrainConfig.read(file), say=lambda line: None, verbose=False)
    assert result.metrics["num_users"] == 60
