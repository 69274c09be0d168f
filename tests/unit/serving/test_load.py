"""The load test: fixed times, waits that count, and errors that are told."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from serving_world import light_bundle
from tamis.cli import cli
from tamis.errors import FormatError, SettingError, UnknownNameError
from tamis.serving.load_connection import address_of
from tamis.serving.load_questions import bodies_in, questions, users_in
from tamis.serving.load_report import table
from tamis.serving.load_run import BROKEN, TIMED_OUT, LoadRun
from tamis.serving.load_schedule import send_times
from tamis.serving.load_test import load_test

BODY = b'{"degraded":null}'
OK = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY


@contextlib.contextmanager
def stub(answer: Callable[[int], bytes | None], backlog: int = 50) -> Iterator[tuple[str, int]]:
    """A server that answers one request after the other, over any number of connections; None closes."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=backlog)
    turn, count, stopped = threading.Lock(), [0], threading.Event()

    def talk(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while not stopped.is_set() and connection.recv(65536):
                with turn:
                    number, count[0] = count[0], count[0] + 1
                    said = answer(number)
                if said is None:
                    return
                connection.sendall(said)

    def accept() -> None:
        while not stopped.is_set():
            with contextlib.suppress(OSError):
                threading.Thread(target=talk, args=(listening.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listening.getsockname()
    finally:
        stopped.set()
        listening.close()


def run(address: tuple[str, int], due: Any, **settings: Any) -> Any:
    request = b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n"
    return LoadRun(address, np.asarray(due, np.float64), [request], **settings).run()


def test_an_even_schedule_has_equal_gaps_and_a_random_one_as_many_requests() -> None:
    assert send_times(4, 1, arrivals="even").tolist() == [0, 0.25, 0.5, 0.75]
    times = send_times(1000, 10, seed=3)
    assert len(times) == 10_000 and times[0] == 0 and (np.diff(times) >= 0).all() and times[-1] < 10
    assert np.diff(times).std() == pytest.approx(0.001, rel=0.05)  # of exponential gaps, the mean
    assert send_times(1000, 10, seed=3).tolist() == times.tolist() != send_times(1000, 10, seed=4).tolist()


def test_what_a_load_test_may_do_has_bounds() -> None:
    for rate, duration, words in (
        (0, 1, "rate is 0"),
        (20_001, 1, "up to 20,000"),
        (1, 0, "duration is 0 seconds"),
        (1, 7201, "up to 7,200"),
        (20_000, 7200, "more than the 5,000,000 of one test"),
        (float("nan"), 1, "rate is nan"),
    ):
        with pytest.raises(SettingError, match=words):
            send_times(rate, duration)
    with pytest.raises(UnknownNameError, match="Did you mean 'poisson'"):
        send_times(1, 1, arrivals="poison")
    with pytest.raises(SettingError, match=r"connections is 0\. Give 1 to 500"):
        LoadRun(("127.0.0.1", 1), send_times(1, 1), [b""], connections=0)
    with pytest.raises(SettingError, match="timeout is 0 seconds"):
        LoadRun(("127.0.0.1", 1), send_times(1, 1), [b""], timeout_s=0)


def test_what_a_slow_server_lets_wait_counts() -> None:
    """One stop of 0.3 s makes thirty requests wait. A tool that waits too would see a single slow one."""

    def stops_once(number: int) -> bytes:
        time.sleep(0.3 if number == 20 else 0.0)
        return OK

    with stub(stops_once) as address:
        found = run(address, np.arange(100) * 0.01, connections=1)
    assert (found.status == 200).all()
    assert (found.latency_s > 0.1).sum() >= 15
    assert (found.service_s > 0.1).sum() <= 3  # each by itself was quick
    assert found.latency_s[21] == pytest.approx(0.29, abs=0.1)


def test_sending_goes_on_over_further_connections() -> None:
    gate = threading.Event()
    arrived = []

    def answer(number: int) -> bytes:
        arrived.append(number)
        return OK

    with stub(answer) as address:
        found = run(address, np.zeros(20), connections=20)
    gate.set()
    assert (found.status == 200).all() and len(arrived) == 20


def test_an_answer_may_come_in_pieces_and_a_connection_may_be_closed() -> None:
    closing = b"HTTP/1.1 429 Too Many\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
    with stub(lambda number: closing if number % 2 else OK) as address:
        found = run(address, np.arange(6) * 0.02)
    assert sorted(found.status.tolist()) == [200, 200, 200, 429, 429, 429]


def test_a_connection_that_the_server_closed_while_it_lay_idle_is_not_used_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def one_answer_each() -> None:  # without saying that the connection ends with it
            for _ in range(2):
                with listening.accept()[0] as connection:
                    connection.recv(65536)
                    connection.sendall(OK)

        thread = threading.Thread(target=one_answer_each, daemon=True)
        thread.start()
        found = run(listening.getsockname(), [0.0, 0.2], timeout_s=2.0)
        thread.join(timeout=5)
    assert found.status.tolist() == [200, 200], found.errors


def test_no_answer_a_broken_one_and_a_late_one_are_told_apart() -> None:
    def answer(number: int) -> bytes | None:
        if number == 1:
            return None
        if number == 2:
            return b"SSH-2.0-x\r\n\r\n"
        if number == 3:
            time.sleep(1.2)
        return OK

    with stub(answer) as address:
        found = run(address, [0, 0.1, 0.2, 0.3], timeout_s=0.5)
    assert found.status.tolist() == [200, BROKEN, BROKEN, TIMED_OUT]
    assert "closed before the answer was complete" in found.errors[0]
    assert "no HTTP answer" in found.errors[1] and "no answer within 0.5 s" in found.errors[2]
    assert np.isnan(found.latency_s[1:]).all()


def test_where_nobody_listens_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    with pytest.raises(SettingError, match=r"127.0.0.1:\d+ cannot be reached .*Start it with `tamis serve`"):
        run(address, [0.0])


def test_urls_are_read() -> None:
    assert address_of("http://localhost:8000") == (("localhost", 8000), "/v1/recommend")
    assert address_of("10.0.0.1:9/v1/rank?x=1") == (("10.0.0.1", 9), "/v1/rank?x=1")
    assert address_of("http://host/") == (("host", 80), "/v1/recommend")
    for url in ("https://host", "http://", "http://host:x"):
        with pytest.raises(SettingError, match=r"Give one such as http://127\.0\.0\.1:8000"):
            address_of(url)


def test_requests_of_the_warm_up_are_not_counted() -> None:
    def slow_start(number: int) -> bytes:
        time.sleep(0.15 if number == 0 else 0)
        return OK

    with stub(slow_start) as (host, port):
        found = load_test(
            f"http://{host}:{port}", [b"{}"], rate=50, duration_s=0.4, warm_up_s=0.4, arrivals="even", verbose=False
        )
    assert found["requests"] == 20 and found["statuses"] == {"200": 20} and found["errors"] == 0
    assert found["latency_ms"]["max"] < 140


def test_degraded_answers_and_errors_are_in_the_table() -> None:
    body = b'{"degraded":"popularity"}'
    said = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    bad = b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"
    with stub(lambda number: bad if number == 3 else said) as (host, port):
        found = load_test(f"http://{host}:{port}", [b"{}"], rate=50, duration_s=0.2, verbose=False)
    assert found["degraded"] == 9 and found["errors"] == 1 and found["statuses"] == {"200": 9, "500": 1}
    told = table(found)
    assert "by status: 9 x 200, 1 x 500" in told and "9 answers were simpler" in told and "p99.9" in told


def test_questions_come_from_a_bundle_a_list_or_a_file(tmp_path: Path) -> None:
    users = users_in(light_bundle(), seed=1)
    assert sorted(users) == sorted(f"u{n}" for n in range(60)) and users != users_in(light_bundle(), seed=2)
    nothing: dict[str, Any] = {"bundle": None, "users": [], "bodies": None, "k": 3, "fields": None, "seed": 0}
    asked = questions(**{**nothing, "users": ["a"], "fields": '{"show": ["x"]}'})
    assert [json.loads(one) for one in asked] == [{"users": ["a"], "k": 3, "show": ["x"]}]
    assert json.loads(questions(**nothing)[0])["users"] == ["nobody-in-particular"]
    file = tmp_path / "bodies.jsonl"
    file.write_text('{"a": 1}\n\n{"a": 2}\n')
    assert questions(**{**nothing, "bodies": file}) == [b'{"a": 1}', b'{"a": 2}']
    for text, words in (("[1]", "line 1 is no JSON object"), ("{", "line 1 is no JSON object"), ("", "it is empty")):
        file.write_text(text)
        with pytest.raises(FormatError, match=words):
            bodies_in(file)
    with pytest.raises(FormatError, match="it cannot be read"):
        bodies_in(tmp_path / "missing")
    for wrong, words in (
        ({"users": ["a"], "bodies": file}, "give one of"),
        ({"fields": "{"}, "--fields is no JSON"),
        ({"fields": "[]"}, "no JSON object"),
        ({"bundle": tmp_path}, "is no bundle, so it has no users"),
    ):
        with pytest.raises(SettingError, match=words):
            questions(**{**nothing, **wrong})


def test_the_command_prints_json_and_fails_where_answers_were_errors() -> None:
    def command(*more: str) -> Any:
        return CliRunner().invoke(cli, ["loadtest", url, "--rate", "50", "--duration", "0.2", "--warm-up", "0", *more])

    with stub(lambda number: OK) as (host, port):
        url = f"http://{host}:{port}"
        found = command("--bundle", str(light_bundle()))
        assert found.exit_code == 0, found.output
        assert json.loads(found.stdout)["statuses"] == {"200": 10} and "from when it was due" in found.stderr
        assert "give --bundle" in command().stderr
    with stub(lambda number: b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n") as (host, port):
        url = f"http://{host}:{port}"
        assert command("--user", "u1").exit_code == 1
    url = "http://127.0.0.1:1"
    found = command("--user", "u1")
    assert found.exit_code == 1 and "cannot be reached" in found.stderr and "Traceback" not in found.stderr
