"""Schedules, groups, clipping, L2 and averages through `compile`: saved, resumed to the same bits, judged and kept."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

import ranking_world
import retrieval_world
from tamis.data.dataset import Dataset
from tamis.errors import FormatError, SettingError, UnknownNameError
from tamis.models import load_model
from tamis.models.ranking import RankingModel
from tamis.models.retrieval import RetrievalModel
from tamis.models.two_tower import TwoTowerModel
from tamis.models.wide_and_deep import WideAndDeepModel
from tamis.nn.mlp import MLPBlock
from tamis.training.callbacks import Callback, Checkpoint, EarlyStopping
from tamis.training.ftrl import FTRL
from tamis.training.optimizers import SGD, Adagrad, Adam
from tamis.training.schedules import CosineSchedule, ExponentialSchedule
from tamis.training.trainer import Trainer
from tamis.training.training_plan import TrainingPlan
from tamis.training.weight_averaging import WeightAverage

BLOCK = MLPBlock([8, 4], dropout=0.1, normalization="batch")
BATCH = 100
ROWS, VALID = ranking_world.impressions(501, seed=1), ranking_world.impressions(200, seed=2)  # a last batch of one row
VISITS = retrieval_world.interactions(501, seed=1)
HELD_OUT = retrieval_world.interactions(200, seed=2)
STEPS = 6  # an epoch

EVERYTHING: dict[str, Any] = {
    "schedule": CosineSchedule(3, end=0.1),
    "clip_norm": 0.5,
    "embedding_l2": 0.001,
    "average": WeightAverage(0.9, start_epoch=2),
}


def wide_and_deep() -> WideAndDeepModel:
    model = WideAndDeepModel(ranking_world.SCHEMA, BLOCK)
    model.compile({"wide": FTRL(0.1), "embeddings": Adagrad(0.1), "*": Adam(0.02)}, **EVERYTHING)
    return model


def two_tower() -> TwoTowerModel:
    model = TwoTowerModel(retrieval_world.SCHEMA, BLOCK)
    model.compile({"query": Adam(0.02, weight_decay=0.1), "*": Adagrad(0.05)}, metrics=["recall_at_5"], **EVERYTHING)
    return model


def fit(model: RankingModel | RetrievalModel, **settings: Any) -> Any:
    train, valid = (ROWS, VALID) if isinstance(model, RankingModel) else (VISITS, HELD_OUT)
    return model.fit(train, valid, batch_size=BATCH, **{"epochs": 3, "verbose": False, **settings})


def bits(model: RankingModel | RetrievalModel) -> list[Tensor]:
    return list(model.network.state_dict().values())


def same(one: RankingModel | RetrievalModel, other: RankingModel | RetrievalModel) -> bool:
    return all(torch.equal(a, b) for a, b in zip(bits(one), bits(other), strict=True))


each = pytest.mark.parametrize("make", [wide_and_deep, two_tower])


class Interrupted(Exception):
    pass


class InterruptAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, trainer: Trainer) -> None:
        if trainer.optimizer.num_steps == self.step:
            raise Interrupted


@each
@pytest.mark.parametrize(("step", "every_steps"), [(7, None), (13, None), (4, 2), (15, 7), (13, 6)])
def test_a_resumed_training_ends_at_the_same_bits(
    make: Callable[[], Any], step: int, every_steps: int | None, tmp_path: Path
) -> None:
    """Interrupted within the warm-up, between epochs, and while the average runs."""
    straight = make()
    history = fit(straight)
    broken = make()
    with pytest.raises(Interrupted):
        fit(broken, callbacks=[Checkpoint(tmp_path / "c", every_steps), InterruptAt(step)])
    resumed = make()
    again = fit(resumed, resume_from=tmp_path / "c")
    assert same(straight, resumed)
    for name in set(history.history) - {"rows_per_s"}:
        assert history.history[name] == again.history[name]


@each
def test_early_stopping_and_resuming_keep_the_averaged_weights_of_the_best_epoch(
    make: Callable[[], Any], tmp_path: Path
) -> None:
    """The best epoch is the second, judged by its average; the callbacks stand in both orders."""
    figure = "val_auc" if make is wide_and_deep else "val_recall_at_5"

    class Judge(Callback):
        """Puts made-up figures in place of the measured ones."""

        def on_epoch_end(self, trainer: Trainer) -> None:
            trainer.history.history[figure] = [0.1, 0.9, 0.2, 0.3][: trainer.history.num_epochs]

    def run(model: Any, order: int, *more: Callback, **settings: Any) -> Any:
        pair = [EarlyStopping(figure, patience=9), Checkpoint(tmp_path / "c", every_steps=4)][::order]
        return fit(model, epochs=4, callbacks=[Judge(), *pair, *more], **settings)

    class Look(Callback):
        def on_epoch_end(self, trainer: Trainer) -> None:
            seen.append([tensor.clone() for tensor in trainer.module.state_dict().values()])

    for order in (1, -1):
        seen: list[list[Tensor]] = []
        straight = make()
        run(straight, order, Look())
        assert all(torch.equal(a, b) for a, b in zip(bits(straight), seen[1], strict=True))
        with pytest.raises(Interrupted):
            run(make(), order, InterruptAt(14))
        resumed = make()
        run(resumed, order, resume_from=tmp_path / "c")
        assert same(straight, resumed)


@each
def test_the_end_of_a_training_is_what_its_last_epoch_was_judged_by(make: Callable[[], Any]) -> None:
    model = make()
    history = fit(model)
    found = model.evaluate(VALID if isinstance(model, RankingModel) else HELD_OUT)
    for name, value in found.items():
        assert history.history[f"val_{name}"][-1] == value


@each
def test_what_compile_chose_is_saved_with_the_model(make: Callable[[], Any], tmp_path: Path) -> None:
    model = make()
    fit(model, epochs=2)
    model.save(tmp_path / "m")
    loaded = load_model(tmp_path / "m")
    assert loaded.plan == model.plan and loaded.compiled() == model.compiled()
    assert same(model, loaded)
    for one in (model, loaded):
        fit(one, seed=5)
    assert same(model, loaded)


def test_a_folder_from_before_schedules_loads() -> None:
    model = wide_and_deep()
    known = ("optimizer", "precision", "metrics", "target_weights", "positive_weight", "sample_weight")
    model.compile(SGD(0.3))
    old = {name: model.compiled()[name] for name in known}
    model.compile_as(json.loads(json.dumps(old)))
    assert model.plan == TrainingPlan(SGD(0.3))


def test_the_statistics_of_batch_normalization_are_learned_saved_and_exported(tmp_path: Path) -> None:
    import onnxruntime

    model = two_tower()
    fresh = {name: tensor.clone() for name, tensor in model.towers.state_dict().items() if "running" in name}
    fit(model)
    after = model.towers.state_dict()
    assert len(fresh) == 8 and not any(torch.equal(tensor, after[name]) for name, tensor in fresh.items())
    encoder = model.query_encoder
    encoder.save(tmp_path / "e")
    rows = HELD_OUT.head(7)
    vectors = encoder.encode(rows).numpy()
    assert np.array_equal(type(encoder).load(tmp_path / "e").encode(rows).numpy(), vectors)
    given = {name: rows[name].to_numpy().astype(np.int64) for name in ("user_id", "hour")}
    given["age"] = rows["age"].to_numpy()
    given["history__values"] = rows["history"].explode().drop_nulls().to_numpy().astype(np.int64)
    given["history__offsets"] = np.concatenate([[0], rows["history"].list.len().cum_sum().to_numpy()]).astype(np.int64)
    session = onnxruntime.InferenceSession(encoder.to_onnx(tmp_path / "e.onnx"))
    assert np.allclose(session.run(["vector"], given)[0], vectors, atol=1e-5)


@pytest.mark.parametrize("normalization", ["batch", "layer"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_normalized_layers_learn_in_both_precisions(normalization: str, precision: str) -> None:
    model = WideAndDeepModel(ranking_world.SCHEMA, MLPBlock([16, 8], normalization=normalization), wide=["age"])
    model.compile(Adam(0.02), precision=precision)
    model.fit(ranking_world.impressions(2000), batch_size=100, epochs=8, verbose=False)
    assert model.evaluate(VALID)["auc"] > 0.8


def test_batches_of_one_row_train() -> None:
    model = wide_and_deep()
    model.compile(Adam(0.01))
    few = Dataset(pl.concat([ROWS.compute().filter(click=value).head(2) for value in (0, 1)]), schema=ROWS.schema)
    history = model.fit(few, batch_size=1, epochs=2, verbose=False)
    assert np.isfinite(history.history["loss"]).all()


def test_a_schedule_over_the_training_refuses_to_end_elsewhere_after_a_resume(tmp_path: Path) -> None:
    fit(wide_and_deep(), epochs=2, callbacks=[Checkpoint(tmp_path / "c")])
    match = r"its schedule was laid out over 12 steps, but here over 24, so the learning rates would differ\. Ask"
    with pytest.raises(SettingError, match=match):
        fit(wide_and_deep(), epochs=4, resume_from=tmp_path / "c")


def test_a_schedule_with_its_own_length_may_go_on(tmp_path: Path) -> None:
    def made() -> WideAndDeepModel:
        model = wide_and_deep()
        model.compile("adam", schedule=CosineSchedule(num_steps=20), average=WeightAverage(None))
        return model

    straight, first, second = made(), made(), made()
    fit(straight, epochs=4)
    fit(first, epochs=2, callbacks=[Checkpoint(tmp_path / "c")])
    fit(second, epochs=4, resume_from=tmp_path / "c")
    assert same(straight, second)


def test_a_checkpoint_of_another_plan_is_refused(tmp_path: Path) -> None:
    fit(wide_and_deep(), epochs=1, callbacks=[Checkpoint(tmp_path / "c")])
    model = wide_and_deep()
    for changed in ({"clip_norm": 0.6}, {"embedding_l2": 0.0}, {"average": None}, {"schedule": "linear"}):
        model.compile({"wide": FTRL(0.1), "embeddings": Adagrad(0.1), "*": Adam(0.02)}, **{**EVERYTHING, **changed})
        with pytest.raises(FormatError, match=r"it was trained with .*, not .*Compile the model so"):
            fit(model, resume_from=tmp_path / "c")


def test_a_training_that_breaks_at_the_end_of_an_epoch_leaves_its_own_weights() -> None:
    class Break(Callback):
        def on_epoch_end(self, trainer: Trainer) -> None:
            raise Interrupted

    averaged, plain = wide_and_deep(), wide_and_deep()
    averaged.compile("adam", average=WeightAverage(0.9))
    plain.compile("adam")
    for model in (averaged, plain):
        with pytest.raises(Interrupted):
            fit(model, callbacks=[Break()])
    assert same(averaged, plain)


def test_names_and_settings_are_checked_by_compile() -> None:
    model = wide_and_deep()
    with pytest.raises(UnknownNameError, match=r"compile: there is no part of the network 'wyde'\. Did you mean"):
        model.compile({"wyde": "sgd", "*": "adam"})
    with pytest.raises(SettingError, match=r"compile: no optimizer is given for heads\.linear\.weight, heads\."):
        model.compile({"embeddings": "sgd", "wide": "sgd", "deep": "adam"})
    with pytest.raises(UnknownNameError, match=r"compile: there is no schedule 'cosin'\. Did you mean 'cosine'"):
        model.compile(schedule="cosin")
    for limit in (0.0, -1.0, float("nan")):
        with pytest.raises(SettingError, match=r"compile: clip_norm is .*\. Choose a number above 0, or None"):
            model.compile(clip_norm=limit)
    for strength in (-0.1, float("inf"), float("nan")):
        with pytest.raises(SettingError, match=r"compile: embedding_l2 is .*\. Choose 0 or more"):
            model.compile(embedding_l2=strength)


def test_schedules_go_by_name() -> None:
    model = two_tower()
    model.compile(schedule="exponential")
    assert model.plan == TrainingPlan(Adam(), schedule=ExponentialSchedule())
