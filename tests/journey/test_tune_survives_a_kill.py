"""A search that is killed with no time to say goodbye goes on as if nothing had been."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from known_world import write_world
from tamis.errors import SettingError
from tamis.journey.config import TrainConfig
from tamis.journey.settings_search import Tuned, tune

TUNE = """
[tune]
trials = 5
pruning = false
[tune.space]
"training.learning_rate" = { low = 1e-3, high = 1e-1, log = true }
"model.temperature" = { low = 0.05, high = 0.5 }
"""


def world(folder: Path) -> Path:
    folder.mkdir()
    file = write_world(folder)
    file.write_text(file.read_text().replace("epochs = 12", "epochs = 16") + TUNE)
    return file


def begun(journal: Path) -> tuple[int, int]:
    """Trials that ended, and epochs of the one that runs."""
    if not journal.exists():
        return 0, 0
    lines = [json.loads(line) for line in journal.read_text().split("\n")[:-1]]
    ended = [line["trial_id"] for line in lines if line["op_code"] == 6 and line["state"] == 1]
    return len(ended), sum(line["op_code"] == 7 and line["trial_id"] not in ended for line in lines)


def search(file: Path, **settings: Any) -> tuple[Tuned, list[str]]:
    said: list[str] = []
    return tune(TrainConfig.read(file), say=said.append, verbose=False, **settings), said


def test_killed_in_the_middle_of_a_trial_it_goes_on_to_the_same_end(tmp_path: Path) -> None:
    file = world(tmp_path / "killed")
    study = file.parent / "out-tune"
    command = [sys.executable, "-c", "from tamis.cli import cli; cli()", "tune", str(file)]
    with (file.parent / "said").open("w") as said_to:
        process = subprocess.Popen(command, stdout=said_to, stderr=said_to, env={**os.environ, "OMP_NUM_THREADS": "1"})
        deadline = time.monotonic() + 120
        is_refused = False
        while (progress := begun(study / "trials.jsonl"))[0] < 2 or progress[1] < 2:
            if progress[0] and not is_refused:
                with pytest.raises(SettingError, match="another search is running there"):
                    search(file)
                is_refused = True
            assert process.poll() is None and time.monotonic() < deadline, (file.parent / "said").read_text()
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    ended, epochs = begun(study / "trials.jsonl")
    assert is_refused and ended < 5 and epochs >= 1, "it was too fast to be killed in the middle"

    # what ended is in the table already, and the best of it is kept
    table = pl.read_csv(study / "trials.csv")
    assert table["state"].to_list() == ["complete"] * ended
    assert str(table["value"].max()) in (study / "best.toml").read_text().split("\n")[0]

    # two more kills cost nothing: no trial begins, and the one that was killed counts once
    for _ in range(2):
        tuned, _ = search(file, timeout_s=0)
        assert [one.state for one in tuned.outcomes] == ["complete"] * ended + ["interrupted"]

    tuned, said = search(file)
    assert f"{ended} of 5 trials are there already" in said[0] and len(said) == 1 + 5 - ended
    assert (tuned.count("complete"), tuned.count("interrupted"), tuned.count("failed")) == (5, 1, 0)
    left, again = (one for one in tuned.outcomes if one.number == ended + 1)
    assert (left.state, again.state) == ("interrupted", "complete") and left.settings == again.settings
    assert tuned.best is not None and tuned.best.value >= table["value"].max()

    whole, _ = search(world(tmp_path / "whole"))
    finished = [one for one in tuned.outcomes if one.state == "complete"]
    assert [one.settings for one in finished] == [one.settings for one in whole.outcomes]
    assert [one.value for one in finished] == pytest.approx([one.value for one in whole.outcomes], abs=1e-6)
