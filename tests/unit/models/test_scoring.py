"""Evaluation, calibration and prediction of models that score rows."""

from pathlib import Path

import polars as pl
import pytest

from ranking_world import CLICK, DWELL, INPUTS, ITEM, SCHEMA, TWO_TARGETS, USER, impressions
from tamis import ECE, GAUC, EmbeddingOptions, MLPBlock, NDCGByGroup, load_model
from tamis.data.dataset import Dataset
from tamis.errors import DataError, SchemaError, SettingError, UnknownNameError
from tamis.models import scoring
from tamis.models.deep_fm import FMModel
from tamis.models.logistic_regression import LogisticRegressionModel
from tamis.models.mlp_model import MLPModel
from tamis.models.ranking import RankingModel
from tamis.schema import Schema

TRAIN, HELD_OUT, LATER = impressions(2000, seed=1), impressions(3000, seed=2), impressions(3000, seed=3)
METHODS = pytest.mark.parametrize("method", ["isotonic", "platt"])


def too_sure() -> RankingModel:
    """Finds the order and, since positives weigh nine times, says far too much."""
    model = FMModel(SCHEMA, embedding_options=EmbeddingOptions(embedding_dim_default=4))
    model.compile(learning_rate=0.02, positive_weight=9.0)
    model.fit(TRAIN, batch_size=100, epochs=8, verbose=False)
    return model


def predicted(model: RankingModel, **settings: bool) -> pl.Series:
    return model.predict(LATER, **settings).compute()["click_score"]


@METHODS
def test_calibrated_scores_come_true_on_later_rows_and_keep_their_order(method: str) -> None:
    model = too_sure()
    before = model.evaluate(LATER, metrics=["ece", "auc", "normalized_entropy"])
    model.calibrate(HELD_OUT, method)
    after = model.evaluate(LATER, metrics=["ece", "auc", "normalized_entropy"])
    assert before["ece"] > 0.2 > 0.07 > after["ece"]
    assert after["normalized_entropy"] < before["normalized_entropy"]
    assert after["auc"] == pytest.approx(before["auc"], abs=0.005)
    assert model.evaluate(LATER, metrics=["ece"], calibrated=False)["ece"] == before["ece"]


@METHODS
def test_calibration_is_saved_with_the_model_and_dropped_by_fit(method: str, tmp_path: Path) -> None:
    model = too_sure()
    raw = predicted(model)
    model.calibrate(HELD_OUT, method)
    assert predicted(model, calibrated=False).equals(raw)
    assert not predicted(model).equals(raw)
    model.save(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    assert isinstance(loaded, FMModel)
    assert loaded.calibrators == model.calibrators
    assert predicted(loaded).equals(predicted(model))
    model.fit(TRAIN, batch_size=100, verbose=False)
    assert predicted(model).equals(predicted(model, calibrated=False))
    model.save(tmp_path / "m")
    assert not (tmp_path / "m" / "calibration.json").exists()


def test_calibrating_again_starts_from_the_models_own_scores() -> None:
    model = too_sure()
    model.calibrate(HELD_OUT, "platt")
    once = dict(model.calibrators)
    model.calibrate(HELD_OUT, "platt")
    assert model.calibrators == once


def test_amounts_are_left_as_they_are() -> None:
    model = MLPModel(TWO_TARGETS, MLPBlock([8]))
    model.calibrate(HELD_OUT)
    assert list(model.calibrators) == ["click"]
    assert set(model.reliability(LATER)["target"]) == {"click"}


def test_a_reliability_table_shows_both_sides() -> None:
    model = too_sure()
    raw = model.reliability(LATER, bins=5)
    model.calibrate(HELD_OUT, "platt")
    assert raw.equals(model.reliability(LATER, bins=5, calibrated=False))
    found = model.reliability(LATER, bins=5)
    assert found.columns == ["target", "low", "high", "rows", "score", "rate"]
    assert found["rows"].sum() == raw["rows"].sum() == 3000
    assert (raw["score"] - raw["rate"]).max() > 0.1 > 0.08 > (found["score"] - found["rate"]).abs().max()
    with pytest.raises(SettingError, match="reliability: bins is 0"):
        model.reliability(LATER, bins=0)


def test_calibration_asks_for_rows_of_both_classes() -> None:
    model = LogisticRegressionModel(SCHEMA)
    clicks = Dataset(HELD_OUT.compute().filter(pl.col("click") == 1), schema=TWO_TARGETS)
    with pytest.raises(DataError, match=r"calibrate: the target 'click' is 1 in every row"):
        model.calibrate(clicks)
    with pytest.raises(UnknownNameError, match="calibrate: there is no method 'isotone'"):
        model.calibrate(HELD_OUT, "isotone")


def test_amounts_alone_cannot_come_true() -> None:
    model = LogisticRegressionModel(INPUTS + Schema([DWELL]))
    with pytest.raises(SchemaError, match=r"calibrate: the targets \['dwell'\] are amounts, and only a probability"):
        model.calibrate(HELD_OUT)
    with pytest.raises(SchemaError, match=r"reliability: the targets \['dwell'\] are amounts"):
        model.reliability(HELD_OUT)


def test_a_target_has_the_metrics_that_suit_it() -> None:
    model = MLPModel(TWO_TARGETS, MLPBlock([8]))
    found = model.evaluate(LATER, metrics=["auc", "rmse", NDCGByGroup(5)])
    assert {name for name in found if not name.endswith("left_out")} == {
        "click_auc",
        "click_rmse",
        "click_ndcg_by_group_at_5",
        "dwell_rmse",
        "dwell_ndcg_by_group_at_5",
    }


def test_a_metric_of_probabilities_is_refused_where_all_targets_are_amounts() -> None:
    model = LogisticRegressionModel(INPUTS + Schema([DWELL]))
    with pytest.raises(SettingError, match=r"compile: the metric 'auc' is about probabilities, .* Choose 'rmse'"):
        model.compile(metrics=["auc"])
    with pytest.raises(SettingError, match=r"evaluate: the metric 'ece' is about probabilities"):
        model.evaluate(LATER, metrics=["ece"])


def test_metrics_by_query_go_by_the_user_or_the_column_named() -> None:
    model = too_sure()
    rows = model.predict(LATER).compute()
    for column, found in (
        ("user_id", model.evaluate(LATER, metrics=["gauc"])),
        ("item_id", model.evaluate(LATER, metrics=["gauc"], group="item_id")),
    ):
        aucs = [(len(own), _auc(own)) for _, own in rows.group_by(column)]
        assert found["gauc"] == pytest.approx(sum(n * auc for n, auc in aucs) / len(rows))
        assert found["gauc_groups_left_out"] == 0


def _auc(rows: pl.DataFrame) -> float:
    """By counting pairs."""
    positive, negative = (rows.filter(pl.col("click") == label)["click_score"].to_numpy() for label in (1, 0))
    above, equal = positive[:, None] > negative, positive[:, None] == negative
    return float((above + equal / 2).mean())


def test_metrics_by_query_without_a_query_are_refused_before_training() -> None:
    model = LogisticRegressionModel(Schema([ITEM, CLICK]))
    model.compile(metrics=[GAUC()])
    with pytest.raises(SettingError, match=r"evaluate: the metric 'gauc' needs the queries .* no input is tagged USER"):
        model.fit(TRAIN, LATER, verbose=False)
    assert model.evaluate(LATER, group=USER.name)["gauc"] > 0


def test_a_loaded_model_measures_what_was_compiled(tmp_path: Path) -> None:
    model = LogisticRegressionModel(SCHEMA)
    model.compile(metrics=["gauc", ECE(5, equal_width=True), NDCGByGroup(3)])
    model.save(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    assert isinstance(loaded, LogisticRegressionModel)
    assert loaded.metrics == model.metrics
    assert loaded.evaluate(LATER) == model.evaluate(LATER)


def test_many_rows_are_judged_the_same_through_files(monkeypatch: pytest.MonkeyPatch) -> None:
    model = LogisticRegressionModel(SCHEMA)
    expected = model.evaluate(LATER, batch_size=500)
    for rows_per_part in (1000, 700):
        monkeypatch.setattr(scoring, "_ROWS_PER_PART", rows_per_part)
        assert model.evaluate(LATER, batch_size=500) == pytest.approx(expected)
