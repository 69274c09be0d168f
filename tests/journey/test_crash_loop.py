"""Two hundred kills: writers of the log of updates by the score, and whole servers in between."""

import json
import subprocess
import sys
from pathlib import Path

import log_writer

WRITER_KILLS = 180  # twenty kills of whole servers are in test_serving.py


def test_nothing_acknowledged_is_lost_by_killing_the_writer_again_and_again(tmp_path: Path) -> None:
    """The log is all that makes updates durable, so a process that does nothing else stands for a server."""
    command = [sys.executable, log_writer.__file__, str(tmp_path), str(WRITER_KILLS), "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] == WRITER_KILLS
    assert found["item"] >= WRITER_KILLS and min(found["removed"], found["user"], found["event"]) > 10
