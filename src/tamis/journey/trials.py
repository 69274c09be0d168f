"""Trials of a search, with Optuna: what to try next, which to end early, and a journal that survives a kill."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tamis.errors import FormatError, MissingExtraError
from tamis.journey.search_space import Choices, Domain

if TYPE_CHECKING:
    import optuna

COMPLETE, PRUNED, FAILED, INTERRUPTED = "complete", "pruned", "failed", "interrupted"
_NAME = "tamis"
_REASON = "reason"  # why a trial failed; one that was interrupted has none
_RANDOM_TRIALS = 10  # before the sampler models what is good, Optuna's own default
# complete trials to compare with, and the first epoch in which it may happen: slow learners get two
_PRUNING_SETTINGS = {"n_startup_trials": 5, "n_warmup_steps": 2}


@dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    Args:
        number: its place among all, from 1; an interrupted trial and the one in its stead have the same.
        state: `"complete"`, `"pruned"`, `"failed"` or `"interrupted"`.
        value: of the metric; of a pruned trial that of its last epoch, of failed ones none.
        settings: what was tried.
        seconds: how long it took.
        epochs: that it was trained for.
        reason: why it failed.
    """

    number: int
    state: str
    value: float | None
    settings: dict[str, Any]
    seconds: float
    epochs: int
    reason: str = ""


class Trials:
    """The trials of a study, kept in a journal: a line of JSON for each thing that happens, on disk when it returns.

    What is tried next depends on the seed and on the trials that ended, and on nothing else, so a search that was
    interrupted goes on to the same trials. One process at a time: `held_study` sees to it.

    Args:
        file: the journal; made when it is not there.
        space: what to vary.
        start: tried first; settings that it leaves out are drawn.
        is_more_better: whether higher values are.
        pruning: whether `Trial.report` may say that a trial is not worth going on.
        seed: of what is tried.

    Raises:
        MissingExtraError: Optuna is not installed.
        FormatError: the file is no journal.
    """

    def __init__(
        self,
        file: Path,
        space: Mapping[str, Domain],
        *,
        start: Mapping[str, Any],
        is_more_better: bool,
        pruning: bool,
        seed: int,
    ) -> None:
        check_installed()
        self._space, self._seed = space, seed
        self._start = {name: _label(space[name], value) for name, value in start.items() if name in space}
        self.is_more_better = is_more_better
        _cut_torn_line(file)
        try:
            self._study = self._opened(file, pruning)
        except (ValueError, KeyError, AssertionError) as error:
            raise FormatError(
                f"{file}: it cannot be read as a journal of trials ({error}). Restore it, or name another folder with "
                "--study."
            ) from error
        self._end_interrupted()

    def _opened(self, file: Path, pruning: bool) -> optuna.Study:
        import optuna
        from optuna.storages.journal import JournalFileBackend

        lock: Any = _NoLock()
        is_new = not file.exists() or not file.stat().st_size
        settings: dict[str, Any] = {
            "storage": optuna.storages.JournalStorage(JournalFileBackend(str(file), lock_obj=lock)),
            "study_name": _NAME,
            "pruner": optuna.pruners.MedianPruner(**_PRUNING_SETTINGS) if pruning else optuna.pruners.NopPruner(),
        }
        if is_new:
            return optuna.create_study(**settings, direction="maximize" if self.is_more_better else "minimize")
        return optuna.load_study(**settings)

    def _end_interrupted(self) -> None:
        """Nobody else works here, so a trial that runs was left by a process that died."""
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state.name == "RUNNING":
                self._study.tell(trial.number, state=_state("FAIL"))

    def ask(self) -> Trial:
        """The next trial, begun."""
        from optuna.samplers import TPESampler

        slot = len(self.settled)
        seed = int(np.random.SeedSequence([self._seed, slot]).generate_state(1)[0])
        self._study.sampler = TPESampler(seed=seed, n_startup_trials=_RANDOM_TRIALS)
        waiting = any(trial.state.name == "WAITING" for trial in self._study.get_trials(deepcopy=False))
        if slot == 0 and self._start and not waiting:
            self._study.enqueue_trial(self._start)
        trial = self._study.ask({name: self._distribution(domain) for name, domain in self._space.items()})
        return Trial(self._study, trial, self._settings(trial.params), slot + 1)

    @property
    def settled(self) -> list[Outcome]:
        """What became of the trials that ended by themselves, in order."""
        return [outcome for outcome in self.outcomes if outcome.state != INTERRUPTED]

    @property
    def outcomes(self) -> list[Outcome]:
        """What became of all that were begun, in order."""
        found: list[Outcome] = []
        number = 1
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state.is_finished():
                found.append(self._outcome(trial, number))
                number += found[-1].state != INTERRUPTED
        return found

    @property
    def best(self) -> Outcome | None:
        """The best complete trial, the first of equal ones."""
        complete = [one for one in self.outcomes if one.state == COMPLETE]
        sign = 1 if self.is_more_better else -1
        return max(complete, key=lambda one: sign * (one.value or 0.0), default=None)

    def _outcome(self, trial: optuna.trial.FrozenTrial, number: int) -> Outcome:
        reason = trial.user_attrs.get(_REASON, "")
        states = {"COMPLETE": COMPLETE, "PRUNED": PRUNED, "FAIL": FAILED if reason else INTERRUPTED}
        seconds = trial.duration.total_seconds() if trial.duration else 0.0
        value = None if trial.state.name == "FAIL" else trial.value
        epochs = len(trial.intermediate_values)
        return Outcome(number, states[trial.state.name], value, self._settings(trial.params), seconds, epochs, reason)

    def _settings(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {name: _value(domain, params[name]) for name, domain in self._space.items() if name in params}

    def _distribution(self, domain: Domain) -> optuna.distributions.BaseDistribution:
        from optuna import distributions as kinds

        if isinstance(domain, Choices):
            return kinds.CategoricalDistribution(list(domain.labels()))
        if isinstance(domain.low, int):
            return kinds.IntDistribution(domain.low, int(domain.high), log=domain.log, step=int(domain.step or 1))
        return kinds.FloatDistribution(domain.low, domain.high, log=domain.log, step=domain.step)


class Trial:
    """A trial that runs; one of `complete`, `prune`, `fail` and `interrupt` ends it.

    Args:
        study: where it is kept.
        trial: Optuna's.
        settings: what is tried.
        number: its place among all, from 1.
    """

    def __init__(self, study: optuna.Study, trial: optuna.Trial, settings: dict[str, Any], number: int) -> None:
        self._study, self._trial = study, trial
        self.settings, self.number = settings, number

    def report(self, epoch: int, value: float) -> bool:
        """Keep an epoch's value; returns whether the trial is worth going on."""
        self._trial.report(value, epoch)
        return not self._trial.should_prune()

    def complete(self, value: float) -> None:
        """It ended with this value."""
        self._study.tell(self._trial, value)

    def prune(self) -> None:
        """It was not worth going on."""
        self._study.tell(self._trial, state=_state("PRUNED"))

    def fail(self, reason: str) -> None:
        """It has no value, and this is why."""
        self._trial.set_user_attr(_REASON, reason)
        self._study.tell(self._trial, state=_state("FAIL"))

    def interrupt(self) -> None:
        """It was stopped from outside, and will be tried again."""
        self._study.tell(self._trial, state=_state("FAIL"), skip_if_finished=True)


def check_installed() -> None:
    """Refuse where Optuna is missing.

    Raises:
        MissingExtraError: it is.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingExtraError("optuna", "tune", where="tune") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # we say ourselves what became of a trial


def _state(name: str) -> optuna.trial.TrialState:
    from optuna.trial import TrialState

    return TrialState[name]


class _NoLock:
    """Optuna's locks are files that a killed process leaves behind, to be waited for; `held_study` has a better one."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _cut_torn_line(file: Path) -> None:
    """Remove a last line whose end never reached the disk: the next one would be glued to it, and neither be read."""
    if not file.exists():
        return
    content = file.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with file.open("r+b") as handle:
            handle.truncate(whole)


def _label(domain: Domain, value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(domain, Choices) else value


def _value(domain: Domain, label: Any) -> Any:
    return domain.labels()[label] if isinstance(domain, Choices) else label
