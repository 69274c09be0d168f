"""Locks, estimates, admission, logs, settings and drift: the small parts that a server stands on."""

import asyncio
import json
import logging
import math
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tamis.errors import FormatError, SettingError
from tamis.serving.admission import Admission, TooBusyError
from tamis.serving.estimates import Estimate, StageEstimates
from tamis.serving.logs import REQUEST_ID, JsonLines
from tamis.serving.read_write_lock import ReadWriteLock
from tamis.serving.score_drift import ScoreDrift
from tamis.serving.serving_settings import pairs, read_settings
from tamis.serving.shadow import overlap_of


def test_readers_share_and_a_writer_is_alone() -> None:
    lock, inside, seen = ReadWriteLock(), [], []

    def read() -> None:
        with lock.reading():
            inside.append("r")
            time.sleep(0.002)
            seen.append(tuple(inside))
            inside.remove("r")

    def write() -> None:
        with lock.writing():
            inside.append("w")
            time.sleep(0.002)
            seen.append(tuple(inside))
            inside.remove("w")

    threads = [threading.Thread(target=read if number % 4 else write) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all("w" not in one or one == ("w",) for one in seen)
    assert any(len(one) > 1 for one in seen)


def test_an_estimate_follows_slowly_and_one_hold_up_counts_little() -> None:
    estimate = Estimate()
    assert estimate.ms == 0
    estimate.add(20.0, units=10)
    assert estimate.ms == 2.0
    estimate.add(1000.0)  # at most three times the mean counts: 2 + 0.1 * (6 - 2)
    assert estimate.ms == pytest.approx(2.4)
    estimate.add(1000.0)
    assert estimate.ms == pytest.approx(2.88)
    estimate.add(500.0)  # the third in a row is no accident
    assert estimate.ms == 500.0
    estimate.skipped()
    assert estimate.ms == pytest.approx(485.0)
    estimate.add(3.0)  # what looking again finds counts in full
    assert estimate.ms == 3.0
    estimate.add(5.0)
    assert estimate.ms == pytest.approx(3.6)  # 3 + 0.3 * 2
    estimate.add(1.6)
    assert estimate.ms == pytest.approx(3.4)  # 3.6 - 0.1 * 2


def test_what_can_be_afforded_is_the_time_left_by_the_time_a_pair_takes() -> None:
    estimates = StageEstimates()
    assert estimates.affordable(10.0) == math.inf and estimates.affordable(-1.0) == 0
    estimates.ranking.add(100.0, units=1000)
    estimates.ordering.add(2.0)
    assert estimates.affordable(12.0) == pytest.approx(100)
    assert estimates.affordable(1.0) == 0


def test_beyond_the_queue_requests_are_refused_at_once() -> None:
    async def run() -> tuple[list[int], int]:
        admission, gate = Admission(1, 2, name="test"), threading.Event()
        waiting = [asyncio.ensure_future(admission.run(lambda n=n: gate.wait(5) and n)) for n in range(1, 4)]
        await asyncio.sleep(0)
        with pytest.raises(TooBusyError, match="as many requests as it can take") as refused:
            await admission.run(lambda: None)
        gate.set()
        found = await asyncio.gather(*waiting)
        await asyncio.sleep(0.01)
        assert admission.num_inside == 0
        assert await admission.run(lambda: 7) == 7
        admission.close()
        return found, refused.value.retry_after_s

    assert asyncio.run(run()) == ([1, 2, 3], 1)


def test_a_log_line_is_json_with_the_request_and_the_traceback() -> None:
    token = REQUEST_ID.set("abc")
    try:
        raise ValueError("wrong")
    except ValueError as error:
        record = logging.LogRecord(
            "tamis.serving", logging.ERROR, "file", 1, "it %s", ("failed",), (ValueError, error, None)
        )
    record.version = "v1"
    found = json.loads(JsonLines().format(record))
    REQUEST_ID.reset(token)
    assert found["message"] == "it failed" and found["level"] == "error" and found["request_id"] == "abc"
    assert found["version"] == "v1" and "ValueError: wrong" in found["error"]


def test_the_command_line_counts_before_the_environment_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text('[serve]\nport = 1\nworkers = 2\nthreads = 3\ncors_origins = ["https://a.example"]\n')
    environment = {"TAMIS_PORT": "10", "TAMIS_WORKERS": "20", "TAMIS_API_KEY": "", "PATH": "/bin"}
    settings = read_settings({"port": 100, "host": None}, file=file, environment=environment)
    assert (settings.port, settings.workers, settings.threads, settings.host) == (100, 20, 3, "127.0.0.1")
    assert settings.cors_origins == ("https://a.example",) and settings.api_key is None
    both = read_settings(pairs(["cors_origins=a,b", "log_requests=false"]), environment={})
    assert both.cors_origins == ("a", "b") and both.log_requests is False


def test_the_key_is_not_printed() -> None:
    shown = read_settings({"api_key": "a secret key"}, environment={}).shown()
    assert shown["api_key"] == "***" and "a secret key" not in str(shown)


def test_a_setting_that_there_is_not_or_out_of_range_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"environment: port is '99999': Input should be less"):
        read_settings(environment={"TAMIS_PORT": "99999"})
    with pytest.raises(SettingError, match=r"command line: prot is '1': .* There are host, port"):
        read_settings(pairs(["prot=1"]), environment={})
    with pytest.raises(SettingError, match=r"command line: --set got 'port'\. Give name=value\."):
        pairs(["port"])
    file = tmp_path / "serve.toml"
    file.write_text("port = ")
    with pytest.raises(FormatError, match=r"serve\.toml: it cannot be read as TOML"):
        read_settings(file=file, environment={})
    file.write_text("workers = 0")
    with pytest.raises(SettingError, match=r"serve\.toml: workers is 0"):
        read_settings(file=file, environment={})


def test_the_same_scores_do_not_drift_and_shifted_ones_do() -> None:
    scores = np.linspace(0, 1, 1000)
    drift = ScoreDrift(scores)
    drift.add(scores[:100])
    assert math.isnan(drift.index)  # too few
    drift.add(scores)
    drift.add(scores)  # of the last 2,000 all bins hold a tenth
    assert drift.index == pytest.approx(0, abs=1e-3)
    for _ in range(20):
        drift.add(np.full(100, 0.05))  # all in the first bin: (1 - .1) ln 10 + 9 (1e-4 - .1) ln(1e-4 / .1)
    assert drift.index == pytest.approx(0.9 * math.log(10) + 9 * (1e-4 - 0.1) * math.log(1e-3), rel=1e-3)


def test_of_few_training_scores_nothing_is_said() -> None:
    drift = ScoreDrift([0.1, float("nan")])
    drift.add([0.5] * 1000)
    assert math.isnan(drift.index)


def test_lists_overlap_by_what_they_share() -> None:
    assert overlap_of([1, 2, 3, 4], [4, 3, 9, 8]) == 0.5
    assert overlap_of([], []) == 1.0 and overlap_of([1], []) == 0.0 and overlap_of([], [1]) == 0.0
