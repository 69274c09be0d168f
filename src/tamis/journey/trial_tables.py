"""Trials as people read them: a line after each, and a table of all."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import polars as pl

from tamis.journey.console import Say, print_table
from tamis.journey.trials import COMPLETE, FAILED, PRUNED, Outcome, Trial, Trials


class Progress:
    """Says after each trial what became of it, which is the best so far, and how much time is left.

    Args:
        metric: that is judged by.
        wanted: trials in all.
        deadline: of `time.monotonic`, after which no trial begins.
        say: called with a line.
    """

    def __init__(self, metric: str, wanted: int, deadline: float, say: Say) -> None:
        self.metric, self.wanted, self.deadline, self.say = metric, wanted, deadline, say
        self._is_first = True

    def has_more(self, store: Trials) -> bool:
        """Whether another trial may begin; says what a study holds that goes on."""
        done = len(store.settled)
        if self._is_first and done:
            self.say(f"{done} of {self.wanted} trials are there already{_best(store)}")
        self._is_first = False
        return done < self.wanted and time.monotonic() < self.deadline

    def title(self, trial: Trial) -> str:
        """What stands before a trial's bar."""
        return f"trial {trial.number}/{self.wanted}"

    def tell(self, store: Trials) -> None:
        """Say what became of the latest trial."""
        trials = store.settled
        latest = trials[-1]
        left = (self.wanted - len(trials)) * sum(one.seconds for one in trials) / len(trials)
        left = min(left, max(self.deadline - time.monotonic(), 0.0))
        ended = {
            COMPLETE: f"{self.metric} {latest.value or 0:.4f}",
            PRUNED: f"pruned after epoch {latest.epochs} at {latest.value or 0:.4f}",
            FAILED: f"failed: {latest.reason}",
        }[latest.state]
        took = f"{latest.seconds:.1f} s" + (f", about {_duration(left)} left" if left else "")
        self.say(f"trial {latest.number}/{self.wanted}  {ended}{_best(store)}, {took}  {_settings(latest)}")


def print_best(outcomes: list[Outcome], metric: str, *, is_more_better: bool, most: int = 10) -> None:
    """The best complete trials as a table on stderr, the best first."""
    complete = [outcome for outcome in outcomes if outcome.state == COMPLETE]
    if complete:
        best = sorted(complete, key=lambda one: one.value or 0.0, reverse=is_more_better)[:most]
        rows = [(one.number, one.value, one.epochs, f"{one.seconds:.1f}", _settings(one)) for one in best]
        frame = pl.DataFrame(rows, schema=["trial", metric, "epochs", "seconds", "settings"], orient="row")
        print_table(frame, "Best trials", file=sys.stderr)


def _best(store: Trials) -> str:
    best = store.best
    return "" if best is None else f" (best {best.value:.4f} of trial {best.number})"


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _settings(outcome: Outcome) -> str:
    return ", ".join(f"{name} {_text(value)}" for name, value in outcome.settings.items())


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value) if isinstance(value, tuple) else str(value)


def table_of(outcomes: list[Outcome]) -> pl.DataFrame:
    """A row per trial that was begun: number, state, value, epochs, seconds, reason, and a column per setting."""
    rows = [
        {
            "trial": outcome.number,
            "state": outcome.state,
            "value": outcome.value,
            "epochs": outcome.epochs,
            "seconds": round(outcome.seconds, 3),
            "reason": outcome.reason,
            **{
                name: json.dumps(value) if isinstance(value, tuple) else value
                for name, value in outcome.settings.items()
            },
        }
        for outcome in outcomes
    ]
    return pl.DataFrame(rows, infer_schema_length=None)
