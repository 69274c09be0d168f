"""Trials without any training: the journal, what is tried next, and what a kill leaves behind."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tamis.errors import FormatError, MissingExtraError
from tamis.journey.search_space import Choices, Range
from tamis.journey.trials import Trials

SPACE = {
    "model.dim": Range(2, 10, step=2),
    "model.layers": Choices(((64,), (128, 64), ())),
    "training.learning_rate": Range(1e-4, 1.0, log=True),
}
START = {"model.dim": 4, "model.layers": (128, 64), "training.learning_rate": 0.01}


def opened(file: Path, **settings: Any) -> Trials:
    given = {"start": START, "is_more_better": True, "pruning": True, "seed": 0, **settings}
    return Trials(file, SPACE, **given)


def value_of(settings: dict[str, Any]) -> float:
    return settings["model.dim"] + len(settings["model.layers"]) - settings["training.learning_rate"]


def run(store: Trials, count: int) -> None:
    for _ in range(count):
        trial = store.ask()
        trial.complete(value_of(trial.settings))


def test_the_start_comes_first_and_all_is_within_the_space(tmp_path: Path) -> None:
    store = opened(tmp_path / "t.jsonl")
    run(store, 15)
    tried = [outcome.settings for outcome in store.settled]
    assert tried[0] == START
    assert [outcome.number for outcome in store.settled] == list(range(1, 16))
    for settings in tried:
        assert settings["model.dim"] in (2, 4, 6, 8, 10)
        assert settings["model.layers"] in ((64,), (128, 64), ())
        assert 1e-4 <= settings["training.learning_rate"] <= 1
    assert len({json.dumps(settings) for settings in tried}) > 12


def test_the_best_is_that_of_the_direction_and_the_first_of_equal_ones(tmp_path: Path) -> None:
    for is_more_better, number in ((True, 2), (False, 4)):
        store = opened(tmp_path / f"{is_more_better}.jsonl", is_more_better=is_more_better)
        assert store.best is None
        for value in (1.0, 3.0, 3.0, -1.0, -1.0):
            store.ask().complete(value)
        best = store.best
        assert best is not None and best.number == number


def test_opened_again_it_goes_on_as_if_never_closed(tmp_path: Path) -> None:
    whole = opened(tmp_path / "whole.jsonl")
    run(whole, 14)
    for _ in range(14):
        run(opened(tmp_path / "parts.jsonl"), 1)
    parts = opened(tmp_path / "parts.jsonl")
    assert [one.settings for one in parts.settled] == [one.settings for one in whole.settled]
    other = opened(tmp_path / "other.jsonl", seed=1)
    run(other, 14)
    assert [one.settings for one in other.settled][1:] != [one.settings for one in whole.settled][1:]


@pytest.mark.parametrize("done", [0, 1, 12])
def test_a_trial_that_a_dead_process_left_does_not_count_and_is_tried_again(tmp_path: Path, done: int) -> None:
    file = tmp_path / "t.jsonl"
    run(opened(file), done)
    left = opened(file).ask()
    left.report(1, 0.5)
    store = opened(file)
    assert [one.state for one in store.outcomes] == ["complete"] * done + ["interrupted"]
    assert len(store.settled) == done
    again = store.ask()
    assert (again.number, again.settings) == (left.number, left.settings)
    again.complete(1.0)
    assert [one.number for one in store.outcomes] == [*range(1, done + 1), done + 1, done + 1]


def test_a_failure_counts_and_says_why(tmp_path: Path) -> None:
    store = opened(tmp_path / "t.jsonl")
    store.ask().fail("the loss is nan")
    (outcome,) = store.settled
    assert (outcome.state, outcome.value, outcome.reason) == ("failed", None, "the loss is nan")
    assert store.best is None
    assert store.ask().number == 2


def test_what_is_worse_than_the_median_is_not_worth_going_on(tmp_path: Path) -> None:
    store = opened(tmp_path / "t.jsonl")
    for value in (0.5, 0.6, 0.7, 0.8, 0.9):
        trial = store.ask()
        assert trial.report(1, value) and trial.report(2, value)  # five complete ones to compare with come first
        trial.complete(value)
    bad, good = store.ask(), opened(tmp_path / "unpruned.jsonl", pruning=False).ask()
    assert bad.report(1, 0.69) and not bad.report(2, 0.69)  # the first epoch is too early
    assert good.report(1, 0.0) and good.report(2, 0.0)
    bad.prune()
    outcome = store.settled[-1]
    assert (outcome.state, outcome.value, outcome.epochs) == ("pruned", 0.69, 2)
    best = store.best
    assert best is not None and best.value == 0.9


def test_a_line_that_was_torn_off_is_dropped_and_the_rest_stays(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    run(opened(file), 2)
    with file.open("ab") as handle:
        handle.write(b'{"op_code":4,"worker')
    store = opened(file)
    run(store, 1)
    assert len(opened(file).settled) == 3


def test_the_journal_is_text_of_one_json_value_a_line(tmp_path: Path) -> None:
    run(opened(tmp_path / "t.jsonl"), 3)
    assert all(isinstance(json.loads(line), dict) for line in (tmp_path / "t.jsonl").read_text().splitlines())
    assert [file.name for file in tmp_path.iterdir()] == ["t.jsonl"]  # no lock, no snapshot beside it


@pytest.mark.parametrize("content", ["no json\nat all\n", "{}\n{}\n", '{"op_code":0}\n'])
def test_what_is_no_journal_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "t.jsonl").write_text(content)
    with pytest.raises(FormatError, match=r"t.jsonl: it cannot be read as a journal of trials .* Restore it, or name"):
        opened(tmp_path / "t.jsonl")


def test_without_optuna_the_way_to_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"tune: needs 'optuna', .* Run: pip install 'tamis\[tune\]'"):
        opened(tmp_path / "t.jsonl")
