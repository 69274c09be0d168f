"""A search over settings: what `tamis tune` does. It selects on validation rows alone."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tamis.data.dataset import Dataset
from tamis.errors import DataError, SettingError, TamisError
from tamis.journey.config import TrainConfig
from tamis.journey.console import Say
from tamis.journey.search_space import describe_space, search_space, start_of, with_settings
from tamis.journey.stages import MONITOR, RANKING_MONITOR, build_model, build_ranker, fit, fit_ranker
from tamis.journey.study_folder import BEST, ROWS, TABLE, TRIALS, fingerprint, held_study, replace_text
from tamis.journey.toml_text import settings_from, to_toml
from tamis.journey.trial_tables import Progress, table_of
from tamis.journey.trials import COMPLETE, FAILED, INTERRUPTED, PRUNED, Outcome, Trial, Trials, check_installed
from tamis.journey.tuning_rows import rows_to_tune_on
from tamis.progress import Advance, progress
from tamis.training.callbacks import Callback, EarlyStopping
from tamis.training.history import History
from tamis.training.trainer import Trainer

# what a trial's value depends on, besides the space
_TABLES = {
    "retrieval": ("data", "model", "training"),
    "ranking": ("data", "model", "training", "index", "sources", "ranking"),
}


@dataclass(frozen=True)
class Tuned:
    """What a search found so far.

    Args:
        folder: of the study.
        stage: that was searched.
        metric: that was judged by.
        is_more_better: whether higher values of it are.
        outcomes: all trials that were begun, in order.
        best: the best complete trial, if there is one.
        is_interrupted: whether Ctrl-C ended it before its time.
    """

    folder: Path
    stage: str
    metric: str
    is_more_better: bool
    outcomes: list[Outcome]
    best: Outcome | None
    is_interrupted: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        best = self.best
        return {
            "stage": self.stage,
            "metric": self.metric,
            "value": best and best.value,
            "trial": best and best.number,
            "settings": best and best.settings,
            "trials": {state: self.count(state) for state in (COMPLETE, PRUNED, FAILED, INTERRUPTED)},
            "best_config": best and str(self.folder / BEST),
            "table": str(self.folder / TABLE),
        }

    def count(self, state: str) -> int:
        """Trials that ended so."""
        return sum(outcome.state == state for outcome in self.outcomes)


class _NotWorthIt(Exception):
    """Ends a training whose trial is pruned."""


def tune(
    config: TrainConfig,
    *,
    study: str | Path | None = None,
    trials: int | None = None,
    timeout_s: float | None = None,
    say: Say,
    verbose: bool = True,
) -> Tuned:
    """Search until the study has so many trials, or the time is up; a study that is there goes on.

    The first trial is the configuration as it is, or as near as the space comes to it. A trial that fails counts, and
    says why; one that was interrupted does not, and is tried again.

    Args:
        config: what to train on, and what to search.
        study: its folder; by default the output's name with `-tune` after it.
        trials: in all, those of before included; by default `tune.trials`.
        timeout_s: no trial begins later; one that runs is not stopped.
        say: called with a line per trial.
        verbose: progress bars on stderr.

    Raises:
        MissingExtraError: Optuna is not installed.
        SettingError: the space, another study in the folder, or no trial with a value.
        TamisError: whatever is wrong with data or settings.
    """
    check_installed()  # a missing one is told before any work
    deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
    folder = Path(study or f"{config.output.rstrip('/')}-tune").expanduser()
    _check_outside(folder, config)
    space, chosen = search_space(config), config.tune
    with held_study(folder, _searched(config, folder)):
        rows = rows_to_tune_on(config, folder / ROWS, say=say, verbose=verbose)
        store = Trials(
            folder / TRIALS,
            space,
            start=start_of(space, config),
            is_more_better=chosen.is_more_better,
            pruning=chosen.pruning,
            seed=chosen.seed,
        )
        told = Progress(chosen.measured, trials or chosen.trials, deadline, say)
        is_interrupted = False
        try:
            while told.has_more(store):
                _run(config, rows, store.ask(), told, verbose=verbose)
                _write(config, folder, store)
                told.tell(store)
        except KeyboardInterrupt:
            is_interrupted = True
        _write(config, folder, store)
    judged = chosen.measured, chosen.is_more_better
    found = Tuned(folder, chosen.stage, *judged, store.outcomes, store.best, is_interrupted)
    _check_found(found)
    return found


def _check_outside(folder: Path, config: TrainConfig) -> None:
    if folder.resolve().is_relative_to(Path(config.output).expanduser().resolve()):
        raise SettingError(
            f"{folder}: a training replaces {config.output} as a whole, and the study would go with it. Name another "
            "folder with --study."
        )


def _searched(config: TrainConfig, folder: Path) -> dict[str, Any]:
    """What must stay the same for trials to be comparable."""
    settings = settings_from(config, folder)
    del settings["data"]["show"]
    chosen = config.tune
    files = {name: fingerprint(getattr(config.data, name)) for name in ("interactions", "users", "items")}
    return {
        "tune": {"stage": chosen.stage, "metric": chosen.measured, "seed": chosen.seed, "pruning": chosen.pruning},
        **{name: settings[name] for name in _TABLES[chosen.stage]},
        "files": files,
        "space": describe_space(search_space(config)),
    }


def _run(config: TrainConfig, rows: dict[str, Dataset], trial: Trial, told: Progress, *, verbose: bool) -> None:
    """Train with a trial's settings, and say in the study how it ended."""
    try:
        tried = with_settings(config, trial.settings)
        epochs = (tried.ranking if config.tune.stage == "ranking" else tried.training).epochs
        with progress(told.title(trial), epochs, unit="epochs", verbose=verbose) as advance:
            watch = _Watch(trial, config.tune.measured, advance)
            trial.complete(_kept(train_once(tried, rows, watch), tried))
    except _NotWorthIt:
        trial.prune()
    except KeyboardInterrupt:
        trial.interrupt()
        raise
    except OSError:  # the disk's, not the trial's
        raise
    except (TamisError, MemoryError, torch.OutOfMemoryError) as error:
        trial.fail(str(error) or type(error).__name__)


def train_once(config: TrainConfig, rows: dict[str, Dataset], watch: Callback) -> History:
    """The training that `tamis train` does of the searched stage."""
    seed = config.training.seed
    if config.tune.stage == "ranking":
        ranker = build_ranker(rows["learned"].schema, config.ranking, seed=seed)
        return fit_ranker(ranker, config, rows["learned"], rows["judged"], verbose=False, callbacks=[watch])
    model = build_model(rows["train"].schema, config.model, seed=seed)
    return fit(model, config.training, rows, verbose=False, callbacks=[watch])


class _Watch(Callback):
    """Reports each epoch's value, and ends a training that is not worth it."""

    def __init__(self, trial: Trial, metric: str, advance: Advance) -> None:
        self.trial, self.metric, self.advance = trial, metric, advance

    def on_epoch_end(self, trainer: Trainer) -> None:
        value, epoch = trainer.history.last()[self.metric], trainer.history.num_epochs
        if not math.isfinite(value):
            raise DataError(f"{self.metric} is {value} after epoch {epoch}. Look at the validation rows.")
        self.advance(1, f"{self.metric} {value:.4f}")
        if not self.trial.report(epoch, value):
            raise _NotWorthIt


def _kept(history: History, config: TrainConfig) -> float:
    """The metric in the epoch whose weights training keeps: the best by its own monitor, or the last."""
    is_ranking = config.tune.stage == "ranking"
    patience = (config.ranking if is_ranking else config.training).patience
    if patience < 0:
        return history.last()[config.tune.measured]
    stopping = EarlyStopping(RANKING_MONITOR if is_ranking else MONITOR)
    stopping.find_best(history)
    return history.history[config.tune.measured][stopping.best_epoch - 1]


def _write(config: TrainConfig, folder: Path, store: Trials) -> None:
    """The table of trials, and the best one's configuration."""
    replace_text(folder / TABLE, table_of(store.outcomes).write_csv())
    best = store.best
    if best is not None:
        tried = with_settings(config, best.settings)
        text = f"# trial {best.number} of `tamis tune`: {config.tune.measured} {best.value}\n"
        replace_text(folder / BEST, text + to_toml(replace(tried, tune=config.tune), folder))


def _check_found(found: Tuned) -> None:
    failed = [outcome for outcome in found.outcomes if outcome.state == FAILED]
    if found.best is None and failed and not found.is_interrupted:
        raise SettingError(
            f"tune: none of {len(failed)} trials has a value; the last one ended so: {failed[-1].reason} Other ranges "
            f"in [tune.space] may help; {found.folder / TABLE} holds all trials."
        )
