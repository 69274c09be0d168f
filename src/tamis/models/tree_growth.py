"""Trees of several targets grow together, one each at a time, until there are enough or they stop getting better."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

from tamis.models.tree_rows import Floats
from tamis.progress import progress
from tamis.training.callbacks import EarlyStopping
from tamis.training.history import History


class Trees(ABC):
    """Trees that were grown."""

    @abstractmethod
    def scores(self, matrix: Floats) -> Floats:
        """A probability, an amount, or a score that orders: [rows]."""

    @abstractmethod
    def save(self, folder: Path, name: str) -> None:
        """Write them as text."""


class Growth(ABC):
    """Trees of one target while they grow."""

    @abstractmethod
    def grow(self) -> float | None:
        """Add a tree; the loss of the training rows with it, or None where no further tree lowers it."""

    @abstractmethod
    def validation_scores(self) -> Floats:
        """Scores of the validation rows by the trees so far."""

    @abstractmethod
    def trees(self, num_trees: int) -> Trees:
        """The first so many trees."""


def grow_together(
    growing: Mapping[str, Growth],
    num_trees: int,
    num_rows: int,
    *,
    validate: Callable[[], dict[str, float]] | None,
    early_stopping: EarlyStopping | None,
    verbose: bool,
) -> History:
    """The figures after each tree; it ends early where no tree lowers a loss any more.

    Raises:
        UnknownNameError: `early_stopping` monitors what is not in the history.
    """
    history, losses = History(), dict.fromkeys(growing, 0.0)
    with progress("trees", num_trees, unit="trees", verbose=verbose) as advance:
        while history.num_epochs < num_trees:
            start = time.perf_counter()
            grown = {name: growth.grow() for name, growth in growing.items()}
            losses |= {name: loss for name, loss in grown.items() if loss is not None}
            if history.num_epochs and all(loss is None for loss in grown.values()):
                break
            figures = {"loss": sum(losses.values()), "rows_per_s": num_rows / (time.perf_counter() - start)}
            history.add(figures | ({} if validate is None else validate()))
            advance(1, f"loss {figures['loss']:.4f}")
            if early_stopping is not None and _should_stop(early_stopping, history):
                break
    if verbose:
        told = [f"{name} {value:.5g}" for name, value in history.last().items()]
        print(f"{history.num_epochs} trees", *told, sep="  ", file=sys.stderr)
    return history


def _should_stop(early_stopping: EarlyStopping, history: History) -> bool:
    early_stopping.find_best(history)
    return history.num_epochs - early_stopping.best_epoch > early_stopping.patience
