"""The training loop."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from tamis.data.batch import Batch
from tamis.data.loader import Loader
from tamis.errors import NonFiniteLossError, SettingError
from tamis.progress import progress
from tamis.training.allocator import keep_freed_memory
from tamis.training.callbacks import Callback
from tamis.training.checkpoint import load_checkpoint
from tamis.training.history import History
from tamis.training.model_optimizer import ModelOptimizer

StepLoss = Callable[[Batch, torch.Generator], Tensor]
Validate = Callable[[], dict[str, float]]


class Trainer:
    """Moves a module's parameters so that `step_loss` falls.

    Args:
        module: what is trained.
        optimizer: moves its parameters.
        loader: the training batches.
        step_loss: a batch's loss, a scalar; its generator is for whatever the loss draws.
        seed: of the generator and of torch's own random numbers (dropout).
    """

    def __init__(
        self, module: nn.Module, optimizer: ModelOptimizer, loader: Loader, step_loss: StepLoss, *, seed: int = 0
    ) -> None:
        self.module = module
        self.optimizer = optimizer
        self.loader = loader
        self.step_loss = step_loss
        self.generator = torch.Generator().manual_seed(seed)
        self.seed = seed
        self.history = History()
        self.should_stop = False
        self.epoch_loss = 0.0  # sum over the rows of the running epoch
        self.epoch_rows = 0
        self.best_weights: dict[str, Tensor] = {}  # set aside by EarlyStopping; checkpoints carry them

    def fit(
        self,
        epochs: int,
        *,
        validate: Validate | None = None,
        callbacks: Iterable[Callback] = (),
        resume_from: str | Path | None = None,
        verbose: bool = True,
    ) -> History:
        """Train until there are `epochs` epochs in all, or a callback sets `should_stop`.

        Raises:
            NonFiniteLossError: the loss became NaN or infinite; checkpoints written before stay as they are.
            SettingError: epochs below 1, or a warm-up that is longer than the training.
        """
        if epochs < 1:
            raise SettingError(f"fit: epochs is {epochs}. Choose 1 or more.")
        keep_freed_memory()
        callbacks = list(callbacks)
        self.optimizer.plan(epochs, len(self.loader))
        with torch.random.fork_rng(devices=[]):  # the caller's own random numbers stay as they are
            torch.manual_seed(self.seed)
            if resume_from is not None:
                load_checkpoint(resume_from, self)
            for callback in callbacks:
                callback.on_fit_begin(self)
            while self.history.num_epochs < epochs and not self.should_stop:
                title = f"epoch {self.history.num_epochs + 1}/{epochs}"
                figures = self._train_epoch(title, callbacks, verbose=verbose)
                self.module.eval()
                with self.optimizer.averaged():
                    self._end_epoch(title, figures, validate, callbacks, verbose=verbose)
            self.optimizer.keep_average()
            for callback in callbacks:
                callback.on_fit_end(self)
        return self.history

    def _end_epoch(
        self,
        title: str,
        figures: dict[str, float],
        validate: Validate | None,
        callbacks: list[Callback],
        *,
        verbose: bool,
    ) -> None:
        if validate is not None:
            figures |= {f"val_{name}": value for name, value in validate().items()}
        self.history.add(figures)
        if verbose:
            print(title, *[f"{name} {value:.5g}" for name, value in figures.items()], sep="  ", file=sys.stderr)
        for callback in callbacks:
            callback.on_epoch_end(self)

    def _train_epoch(self, title: str, callbacks: list[Callback], *, verbose: bool) -> dict[str, float]:
        start, rows_before = time.perf_counter(), self.epoch_rows
        # A checkpoint may lie between an epoch's last step and its end: resumed there, no step is left.
        batches = self.loader if self.loader.epoch == self.history.num_epochs else ()
        self.module.train()
        with progress(title, self.loader.num_rows, verbose=verbose) as advance:
            advance(self.epoch_rows)
            for batch in batches:
                loss = self._step(batch)
                self.epoch_loss += loss * len(batch)
                self.epoch_rows += len(batch)
                advance(len(batch), f"loss {self.epoch_loss / self.epoch_rows:.4f}")
                for callback in callbacks:
                    callback.on_step_end(self)
        figures = {"loss": self.epoch_loss / self.epoch_rows}
        figures["rows_per_s"] = (self.epoch_rows - rows_before) / (time.perf_counter() - start)
        self.epoch_loss, self.epoch_rows = 0.0, 0
        return figures

    def _step(self, batch: Batch) -> float:
        loss = self.step_loss(batch, self.generator)
        value = loss.item()
        if not math.isfinite(value):
            raise NonFiniteLossError(
                f"fit: the loss is {value} at step {self.optimizer.num_steps + 1}, epoch "
                f"{self.history.num_epochs + 1}. Lower the learning rate, or look for NaN and huge values in the "
                "continuous columns. Checkpoints written before are kept."
            )
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        self.optimizer.step()
        return value
