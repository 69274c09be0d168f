"""The loop on a small module: what it records, when it stops, how it goes on."""

from pathlib import Path

import polars as pl
import pytest
import torch
from torch import Tensor, nn

from tamis.data.batch import Batch
from tamis.data.dataset import Dataset
from tamis.data.loader import Loader
from tamis.errors import FormatError, NonFiniteLossError, SettingError, UnknownNameError
from tamis.training.callbacks import Callback, Checkpoint, EarlyStopping
from tamis.training.history import History
from tamis.training.model_optimizer import ModelOptimizer
from tamis.training.optimizers import SGD, Adam, OptimizerSettings
from tamis.training.trainer import Trainer

ROWS = pl.DataFrame({"x": [float(i % 7) for i in range(50)]})


class Curve(nn.Module):
    """Something with dropout."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(nn.Linear(1, 4), nn.Dropout(0.3), nn.Linear(4, 1))

    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        noise = torch.rand(len(batch), generator=generator)
        return (self.layers(batch.features["x"][:, None])[:, 0] - noise).square().mean()


def trainer(
    module: Curve | None = None,
    *,
    optimizer: OptimizerSettings | None = None,
    batch_size: int = 8,
    seed: int = 3,
    frame: pl.DataFrame = ROWS,
) -> Trainer:
    module = module or Curve()
    return Trainer(
        module,
        ModelOptimizer(module, optimizer or Adam(0.01)),
        Loader(Dataset(frame), batch_size, seed=seed),
        module.loss,
        seed=seed,
    )


class Interrupted(Exception):
    pass


class InterruptAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, trainer: Trainer) -> None:
        if trainer.optimizer.num_steps == self.step:
            raise Interrupted


def weights(trainer: Trainer) -> list[Tensor]:
    return list(trainer.module.state_dict().values())


def same(one: Trainer, other: Trainer) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


def test_the_history_holds_one_figure_an_epoch() -> None:
    figures = iter([{"recall_at_10": 0.1}, {"recall_at_10": 0.2}, {"recall_at_10": 0.3}])
    history = trainer().fit(3, validate=lambda: next(figures), verbose=False)
    assert list(history.history) == ["loss", "rows_per_s", "val_recall_at_10"]
    assert history.history["val_recall_at_10"] == [0.1, 0.2, 0.3]
    assert history.num_epochs == len(history.history["loss"]) == 3
    assert all(rate > 0 for rate in history.history["rows_per_s"])


def test_the_loss_of_an_epoch_is_the_mean_over_its_rows_not_its_batches() -> None:
    """Batches of 3, 3 and 1 rows."""
    module = Curve()
    frame = pl.DataFrame({"x": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]})
    scale = nn.Parameter(torch.ones(()))
    module.register_parameter("scale", scale)
    run = Trainer(
        module,
        ModelOptimizer(module, SGD(1e-12)),
        Loader(Dataset(frame), 3),
        lambda batch, _: batch.features["x"].mean() * scale,
    )
    assert run.fit(1, verbose=False).history["loss"] == pytest.approx([4.0])


def test_a_history_reads_as_a_table() -> None:
    history = History()
    history.add({"loss": 0.5})
    history.add({"loss": 0.25, "val_x": 1})
    assert repr(history) == "History of 2 epochs\n  loss: 0.5  0.25\n  val_x: 1"
    assert history.last() == {"loss": 0.25, "val_x": 1.0}


def test_callbacks_are_called_in_order() -> None:
    calls: list[str] = []

    class Listening(Callback):
        def __init__(self, name: str) -> None:
            self.name = name

        def on_fit_begin(self, trainer: Trainer) -> None:
            calls.append(f"{self.name} begin")

        def on_step_end(self, trainer: Trainer) -> None:
            calls.append(f"{self.name} step {trainer.optimizer.num_steps}")

        def on_epoch_end(self, trainer: Trainer) -> None:
            calls.append(f"{self.name} epoch {trainer.history.num_epochs}")

        def on_fit_end(self, trainer: Trainer) -> None:
            calls.append(f"{self.name} end")

    trainer(batch_size=30).fit(2, callbacks=[Listening("a"), Listening("b")], verbose=False)
    moments = ["begin", "step 1", "step 2", "epoch 1", "step 3", "step 4", "epoch 2", "end"]
    assert calls == [f"{name} {moment}" for moment in moments for name in "ab"]


def test_a_callback_that_does_nothing_is_a_callback() -> None:
    assert trainer().fit(1, callbacks=[Callback()], verbose=False).num_epochs == 1


def test_training_is_training_and_validating_is_not() -> None:
    run = trainer()
    seen = []

    def validate() -> dict[str, float]:
        seen.append(run.module.training)
        return {}

    class Look(Callback):
        def on_step_end(self, trainer: Trainer) -> None:
            seen.append(trainer.module.training)

    run.fit(2, validate=validate, callbacks=[Look()], verbose=False)
    assert seen == 2 * [*[True] * 7, False]
    assert not run.module.training


@pytest.mark.parametrize("epochs", [0, -1])
def test_no_epochs_are_refused(epochs: int) -> None:
    with pytest.raises(SettingError, match=rf"fit: epochs is {epochs}\. Choose 1 or more"):
        trainer().fit(epochs)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    one, again, other = trainer(), trainer(), trainer(seed=4)
    for run in (one, again, other):
        run.fit(2, verbose=False)
    assert same(one, again) and not same(one, other)
    assert one.history.history["loss"] == again.history.history["loss"]


def test_training_leaves_the_callers_random_numbers_alone() -> None:
    module = Curve()
    torch.manual_seed(99)
    expected = torch.rand(3)
    torch.manual_seed(99)
    trainer(module).fit(1, verbose=False)
    assert torch.equal(torch.rand(3), expected)


def test_silence_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    trainer().fit(2, validate=lambda: {"x": 1.0}, verbose=False)
    assert capfd.readouterr() == ("", "")


def test_a_nan_loss_stops_with_the_step_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    module = Curve()
    calls = 0

    def breaks_at_ten(batch: Batch, generator: torch.Generator) -> Tensor:
        nonlocal calls
        calls += 1
        return module.loss(batch, generator) * (float("nan") if calls == 10 else 1.0)

    run = Trainer(module, ModelOptimizer(module, Adam()), Loader(Dataset(ROWS), 8), breaks_at_ten)
    match = r"fit: the loss is nan at step 10, epoch 2\. Lower the learning rate, .* Checkpoints written before are"
    with pytest.raises(NonFiniteLossError, match=match):
        run.fit(5, callbacks=[Checkpoint(tmp_path / "c")], verbose=False)
    resumed = trainer(Curve(), optimizer=Adam(), seed=0)
    resumed.fit(1, resume_from=tmp_path / "c", verbose=False)
    assert resumed.history.num_epochs == 1 and resumed.optimizer.num_steps == 7
    assert all(torch.isfinite(tensor).all() for tensor in weights(resumed))


@pytest.mark.parametrize(("step", "every_steps"), [(8, None), (20, None), (7, 7), (14, 7), (9, 4), (20, 6), (1, 1)])
def test_a_resumed_training_ends_at_the_same_bits(tmp_path: Path, step: int, every_steps: int | None) -> None:
    """Interrupted between epochs, at the border of two, and amid one; with dropout and drawn numbers."""
    straight = trainer()
    straight.fit(3, validate=lambda: {"x": 1.0}, verbose=False)
    folder = tmp_path / "checkpoint"
    with pytest.raises(Interrupted):
        trainer().fit(
            3,
            validate=lambda: {"x": 1.0},
            callbacks=[Checkpoint(folder, every_steps=every_steps), InterruptAt(step)],
            verbose=False,
        )
    torch.manual_seed(12345)
    resumed = trainer()
    resumed.fit(3, validate=lambda: {"x": 1.0}, resume_from=folder, verbose=False)
    assert same(straight, resumed)
    for name in ("loss", "val_x"):
        assert resumed.history.history[name] == straight.history.history[name]
    assert resumed.optimizer.num_steps == straight.optimizer.num_steps == 21


def test_resuming_a_finished_training_trains_no_more(tmp_path: Path) -> None:
    first = trainer()
    first.fit(2, callbacks=[Checkpoint(tmp_path / "c")], verbose=False)
    again = trainer()
    again.fit(2, resume_from=tmp_path / "c", verbose=False)
    assert same(first, again) and again.optimizer.num_steps == first.optimizer.num_steps


def test_a_checkpoint_of_another_optimizer_model_or_data_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    trainer().fit(1, callbacks=[Checkpoint(folder)], verbose=False)
    with pytest.raises(FormatError, match=r"it was trained with Adam\(.*, not SGD\(.*Compile the model so"):
        trainer(optimizer=SGD()).fit(2, resume_from=folder)
    with pytest.raises(SettingError, match=r"the state was saved with batch_size=8, but here it is 9"):
        trainer(batch_size=9).fit(2, resume_from=folder)
    wider = Curve()
    wider.layers[2] = nn.Linear(4, 2)
    with pytest.raises(FormatError, match=r"its weights are not this model's .*Build the same model"):
        trainer(wider).fit(2, resume_from=folder)
    with pytest.raises(FormatError, match=r"there is no such folder, so it is not a saved checkpoint"):
        trainer().fit(2, resume_from=tmp_path / "nothing")


def test_a_checkpoint_every_no_steps_is_refused() -> None:
    with pytest.raises(SettingError, match=r"Checkpoint: every_steps is 0\. Choose 1 or more, or None"):
        Checkpoint("c", every_steps=0)


def stopped(values: list[float], **settings: object) -> tuple[Trainer, list[list[Tensor]], EarlyStopping]:
    """A training that measures these values, the weights after each epoch, and its callback."""
    run, after = trainer(), []
    left = iter(values)

    class Keep(Callback):
        def on_epoch_end(self, trainer: Trainer) -> None:
            after.append([tensor.clone() for tensor in weights(trainer)])

    stopping = EarlyStopping("val_x", **settings)  # type: ignore[arg-type]
    run.fit(len(values), validate=lambda: {"x": next(left)}, callbacks=[Keep(), stopping], verbose=False)
    return run, after, stopping


def is_epoch(run: Trainer, after: list[list[Tensor]], epoch: int) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(run), after[epoch - 1], strict=True))


def test_early_stopping_waits_for_its_patience_and_puts_the_best_back() -> None:
    run, after, stopping = stopped([0.1, 0.3, 0.2, 0.3, 0.1, 0.9], patience=2)
    assert run.history.num_epochs == 5
    assert (stopping.best, stopping.best_epoch) == (0.3, 2)
    assert is_epoch(run, after, 2)


def test_no_patience_stops_at_the_first_epoch_that_is_no_better() -> None:
    run, _, _ = stopped([0.1, 0.2, 0.2, 0.9], patience=0)
    assert run.history.num_epochs == 3


def test_lower_may_be_better_and_small_gains_may_not_count() -> None:
    run, after, stopping = stopped([5.0, 4.0, 3.95, 3.92, 1.0], patience=1, mode="min", min_delta=0.1)
    assert run.history.num_epochs == 4 and stopping.best_epoch == 2
    assert is_epoch(run, after, 2)


def test_the_last_weights_may_stay() -> None:
    run, after, _ = stopped([0.3, 0.2, 0.1], patience=1, restore_best=False)
    assert run.history.num_epochs == 3 and is_epoch(run, after, 3)


def test_the_best_comes_back_even_when_nothing_stopped_early() -> None:
    run, after, _ = stopped([0.3, 0.2, 0.1], patience=9)
    assert run.history.num_epochs == 3 and is_epoch(run, after, 1)


def test_a_figure_that_is_no_number_is_never_the_best() -> None:
    _, _, stopping = stopped([float("nan"), 0.2, float("nan"), 0.1], patience=9)
    assert (stopping.best, stopping.best_epoch) == (0.2, 2)


def test_an_early_stopping_used_twice_starts_anew() -> None:
    stopping = EarlyStopping("val_x", patience=0)
    for values in ([0.9, 0.8], [0.1, 0.2, 0.15]):
        left = iter(values)
        run = trainer()
        run.fit(len(values), validate=lambda left=left: {"x": next(left)}, callbacks=[stopping], verbose=False)
        assert run.history.num_epochs == len(values)
    assert (stopping.best, stopping.best_epoch) == (0.2, 2)


@pytest.mark.parametrize(("step", "stopping_first"), [(8, False), (17, True), (16, False), (31, True), (31, False)])
def test_early_stopping_after_a_resume_ends_as_without(tmp_path: Path, step: int, stopping_first: bool) -> None:
    """The best epoch, the second, may lie before the interruption."""
    values = [0.1, 0.5, 0.2, 0.3, 0.4, 0.9]
    folder = tmp_path / "c"

    def run(resume_from: Path | None, extra: list[Callback]) -> Trainer:
        training = trainer()
        pair = [EarlyStopping("val_x", patience=2), Checkpoint(folder, every_steps=8)]
        training.fit(
            6,
            validate=lambda: {"x": values[training.history.num_epochs]},
            callbacks=[*(pair if stopping_first else reversed(pair)), *extra],
            resume_from=resume_from,
            verbose=False,
        )
        return training

    straight = run(None, [])
    with pytest.raises(Interrupted):
        run(None, [InterruptAt(step)])
    resumed = run(folder, [])
    assert resumed.history.num_epochs == straight.history.num_epochs == 5
    assert same(straight, resumed)


def test_early_stopping_that_had_its_fill_trains_no_more_after_a_resume(tmp_path: Path) -> None:
    values = iter([0.5, 0.1, 0.2, 0.3])
    pair = [Checkpoint(tmp_path / "c"), EarlyStopping("val_x", patience=1)]
    first = trainer()
    first.fit(9, validate=lambda: {"x": next(values)}, callbacks=pair, verbose=False)
    again = trainer()
    again.fit(9, validate=lambda: {"x": 1.0}, callbacks=pair, resume_from=tmp_path / "c", verbose=False)
    assert again.history.num_epochs == first.history.num_epochs == 3
    assert same(first, again)


def test_early_stopping_says_what_it_can_watch() -> None:
    with pytest.raises(
        UnknownNameError, match=r"EarlyStopping: there is no figure to monitor 'val_los'\. Did you mean"
    ):
        trainer().fit(1, validate=lambda: {"loss": 1.0}, callbacks=[EarlyStopping("val_los")], verbose=False)


def test_early_stopping_refuses_other_modes_and_negative_patience() -> None:
    with pytest.raises(SettingError, match=r"EarlyStopping: mode is 'maximum'\. Choose 'max' or 'min'"):
        EarlyStopping(mode="maximum")
    with pytest.raises(SettingError, match=r"EarlyStopping: patience is -1\. Choose 0 or more"):
        EarlyStopping(patience=-1)
