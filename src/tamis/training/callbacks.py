"""What may happen between epochs: stop early, keep the best weights, write checkpoints."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tamis.errors import SettingError, UnknownNameError
from tamis.training.checkpoint import save_checkpoint
from tamis.training.history import History

if TYPE_CHECKING:
    from tamis.training.trainer import Trainer


class Callback:
    """Base of all callbacks: override what you need."""

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Once, before the first epoch; a checkpoint to resume from is loaded by then."""

    def on_step_end(self, trainer: Trainer) -> None:
        """After each step; `trainer.optimizer.num_steps` counts them."""

    def on_epoch_end(self, trainer: Trainer) -> None:
        """After each epoch and its validation; set `trainer.should_stop` to end.

        Where weights are averaged, the module holds the average meanwhile.
        """

    def on_fit_end(self, trainer: Trainer) -> None:
        """Once, after the last epoch."""


@dataclass
class EarlyStopping(Callback):
    """Ends training when a figure has not improved for `patience` epochs, and puts the best weights back.

    After a resume it judges the whole history, and `Checkpoint` carries the best weights along, so the end is the
    same as without the interruption. Where the checkpoint holds none (the run before had no EarlyStopping), the last
    weights stay unless a later epoch is better.

    Args:
        monitor: a name in the history, for example `"val_ndcg_at_10"`.
        patience: epochs without improvement that are allowed.
        mode: `"max"` if higher is better, `"min"` if lower is.
        min_delta: smaller improvements do not count.
        restore_best: end with the weights of the best epoch instead of the last.
    """

    monitor: str = "val_ndcg_at_10"
    patience: int = 2
    mode: str = "max"
    min_delta: float = 0.0
    restore_best: bool = True
    best: float | None = field(default=None, init=False)
    best_epoch: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.mode not in ("max", "min"):
            raise SettingError(f"EarlyStopping: mode is {self.mode!r}. Choose 'max' or 'min'.")
        if self.patience < 0:
            raise SettingError(f"EarlyStopping: patience is {self.patience}. Choose 0 or more.")

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Judge what happened before a resume; a checkpoint may be from before this callback's turn."""
        self.best, self.best_epoch = None, 0
        if self.monitor in trainer.history.history and trainer.epoch_rows == 0:
            self.on_epoch_end(trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Compare with the best so far."""
        history = trainer.history
        self.find_best(history)
        if self.best_epoch == history.num_epochs and self.restore_best:
            with trainer.optimizer.averaged():
                trainer.best_weights = {name: tensor.clone() for name, tensor in trainer.module.state_dict().items()}
        elif history.num_epochs - self.best_epoch > self.patience:
            trainer.should_stop = True

    def find_best(self, history: History) -> None:
        """Set `best` and `best_epoch` to what the history says.

        Raises:
            UnknownNameError: the history has no such figure.
        """
        if self.monitor not in history.history:
            raise UnknownNameError(self.monitor, history.history, where="EarlyStopping", what="figure to monitor")
        values = history.history[self.monitor]
        self.best = None
        for epoch, value in enumerate(values, start=history.num_epochs - len(values) + 1):
            gain = 0.0 if self.best is None else (value - self.best) * (1 if self.mode == "max" else -1)
            if self.best is None or math.isnan(self.best) or gain > self.min_delta:
                self.best, self.best_epoch = value, epoch

    def on_fit_end(self, trainer: Trainer) -> None:
        """Put the best weights back."""
        if self.restore_best and trainer.best_weights:
            trainer.module.load_state_dict(trainer.best_weights)
            trainer.best_weights = {}


@dataclass
class Checkpoint(Callback):
    """Writes everything needed to continue into a folder, replacing it as a whole each time.

    `fit(..., resume_from=folder)` continues to the same numbers as without the interruption.

    Args:
        path: the folder.
        every_steps: write after so many steps too, not only after each epoch.
    """

    path: str | Path
    every_steps: int | None = None

    def __post_init__(self) -> None:
        if self.every_steps is not None and self.every_steps < 1:
            raise SettingError(f"Checkpoint: every_steps is {self.every_steps}. Choose 1 or more, or None.")

    def on_step_end(self, trainer: Trainer) -> None:
        """Write in the middle of an epoch."""
        if self.every_steps and trainer.optimizer.num_steps % self.every_steps == 0:
            save_checkpoint(self.path, trainer)

    def on_epoch_end(self, trainer: Trainer) -> None:
        """Write between epochs."""
        save_checkpoint(self.path, trainer)
