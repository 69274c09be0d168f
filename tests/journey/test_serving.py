"""Real servers in processes of their own: swapped under load, killed, damaged, and still answering."""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from serving_world import NEW_ITEM, ServerProcess, bundle, call_on, light_bundle, other_bundle, server
from tamis.serving.published import PublishedPlace, PublishedState

USERS = [f"u{number}" for number in range(60)]


def versions_seen(process: ServerProcess, users: list[str]) -> set[str]:
    found = process.call("POST", "/v1/recommend", {"users": users, "k": 3}).json["results"]
    return {one["version"] for one in found}


class Load:
    """Clients that ask without a pause, over connections that stay open."""

    def __init__(self, port: int, num_clients: int = 2) -> None:
        self.statuses: Counter[Any] = Counter()
        self.versions: Counter[str] = Counter()
        self._port, self._stop = port, threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(num_clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def _run(self, number: int) -> None:
        draws = random.Random(number)
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while not self._stop.is_set():
            asked = {"users": [draws.choice(USERS)], "k": 5}
            try:
                found = call_on(connection, "POST", "/v1/recommend", asked)
            except (OSError, http.client.HTTPException) as error:
                self.statuses[repr(error)] += 1
                connection.close()
                continue
            self.statuses[found.status] += 1
            for one in found.json["results"] if found.status == 200 else ():
                self.versions[one["version"]] += 1
        connection.close()


def test_versions_are_swapped_under_load_without_a_failed_request(tmp_path: Path) -> None:
    place = PublishedPlace(tmp_path)
    names = [place.publish(bundle()).current]
    with server(place.folder) as process, Load(process.port) as load:
        process.call("PUT", "/v1/items", {"items": [NEW_ITEM]})
        names.append(place.publish(other_bundle()).current)
        until = time.monotonic() + 10
        swaps = 0
        while time.monotonic() < until:
            current = place.read().current
            process.wait_for(f"serving version {current}", times=swaps // 2 + 1)
            assert versions_seen(process, ["u1"]) == {current}
            found = process.call("POST", "/v1/rank", {"user": "u1", "items": [1000]}).json
            assert found["unknown_items"] == []  # the update goes with every version
            swaps += 1
            other = names[0] if current == names[1] else names[1]
            place.publish(place.path_of(other))
    assert swaps >= 2
    assert set(load.statuses) == {200}, load.statuses
    assert set(load.versions) == set(names) and sum(load.versions.values()) > 50


def test_a_damaged_version_stays_off_and_the_old_one_serves_on(tmp_path: Path) -> None:
    place = PublishedPlace(tmp_path)
    good = place.publish(light_bundle()).current
    with server(place.folder) as process:
        damaged = shutil.copytree(place.path_of(good), place.path_of("damaged"))
        (damaged / "users.arrow").write_bytes(b"not what it was")
        place._write(PublishedState("damaged", (good,)))
        process.wait_for("version damaged stays off")
        process.wait_for(f"serving version {good}")
        assert versions_seen(process, ["u1"]) == {good}
        ready = process.call("GET", "/readyz").json
        assert "users.arrow: its content changed" in ready["failed_versions"]["damaged"]
        assert "tamis_failed_versions 1.0" in process.call("GET", "/metrics").body.decode()
        (tmp_path / "state.json").write_text("{")
        process.wait_for(f"{tmp_path / 'state.json'}: it cannot be read as JSON")
        assert versions_seen(process, ["u1"]) == {good}
    with server(place_with(place, PublishedState("damaged", (good,)))) as process:
        assert versions_seen(process, ["u1"]) == {good}  # also after a restart


def place_with(place: PublishedPlace, state: PublishedState) -> Path:
    place._write(state)
    return place.folder


def test_a_worker_that_is_killed_comes_back_and_the_others_answer(tmp_path: Path) -> None:
    with server(light_bundle(), "--workers", "2", "--state", str(tmp_path)) as process:
        first, second = (process.wait_for("ready", times)["pid"] for times in (1, 2))
        assert process.call("PUT", "/v1/items", {"items": [NEW_ITEM]}).status == 200
        time.sleep(0.2)  # the other worker follows within a tenth of a second
        for _ in range(20):  # whichever worker it reaches
            assert process.call("POST", "/v1/rank", {"items": [1000]}).json["unknown_items"] == []
        time.sleep(1.5)  # what a worker counts is where others find it within a second
        os.kill(first, signal.SIGKILL)
        for _ in range(20):
            assert process.call("POST", "/v1/recommend", {"users": ["u1"], "k": 3}).status == 200
        third = process.wait_for("ready", times=3)["pid"]
        assert third not in (first, second)
        os.kill(second, signal.SIGKILL)  # now the new one must answer
        assert process.call("POST", "/v1/rank", {"items": [1000]}).json["unknown_items"] == []
        page = process.call("GET", "/metrics").body.decode()
        counted = next(line for line in page.splitlines() if line.startswith('tamis_requests_total{route="/v1/rank"'))
        assert float(counted.rsplit(" ", 1)[1]) >= 21  # all workers together, the dead ones too


def test_acknowledged_updates_survive_twenty_kills(tmp_path: Path) -> None:
    kills(tmp_path, 20)


def kills(state: Path, times: int) -> None:
    """Kill a server that takes updates, again and again; none that was acknowledged may be missing."""
    draws, acknowledged, removed = random.Random(1), {}, set()
    for round_ in range(times):
        process = ServerProcess(light_bundle(), "--state", str(state)).ready()
        check(process, acknowledged, removed)
        kill = threading.Timer(draws.uniform(0.0, 0.1), process.process.kill)
        write_until_it_dies(process, round_ * 10_000, acknowledged, removed, kill)
        kill.join()
        process.kill()
    with server(light_bundle(), "--state", str(state)) as process:
        check(process, acknowledged, removed)
    assert len(acknowledged) >= times


def write_until_it_dies(
    process: ServerProcess, first: int, acknowledged: dict[int, float], removed: set[int], kill: threading.Timer
) -> None:
    """Put items without a pause; the first that is acknowledged starts the timer that kills the server."""
    connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=10)
    for number in range(first, first + 10_000):
        item, price = 1000 + number, float(number % 97)
        try:
            found = call_on(connection, "PUT", "/v1/items", {"items": [NEW_ITEM | {"item": item, "price": price}]})
            assert found.status == 200
            acknowledged[item] = price
            if number == first:
                kill.start()
            if number % 5 == 4:
                removed.add(item)  # asked for; whether it happened is not known until it is acknowledged
                assert call_on(connection, "DELETE", f"/v1/items?id={item}").status == 200
        except (OSError, http.client.HTTPException):
            break
    connection.close()


def check(process: ServerProcess, acknowledged: dict[int, float], removed: set[int]) -> None:
    asked = sorted(set(acknowledged) - removed)[-4000:]
    if not asked:
        return
    found = process.call("POST", "/v1/rank", {"items": asked, "show": ["price"]})
    assert found.status == 200 and found.json["unknown_items"] == []
    assert {item["id"]: item["columns"]["price"] for item in found.json["items"]} == {
        item: acknowledged[item] for item in asked
    }


def test_the_server_says_how_it_was_started_and_ends_in_order(tmp_path: Path) -> None:
    environment = {"TAMIS_API_KEY": "a secret key", "TAMIS_THREADS": "3"}
    with server(light_bundle(), "--state", str(tmp_path), environment=environment) as process:
        settings = process.wait_for("settings")["settings"]
        assert settings["threads"] == 3 and settings["api_key"] == "***" and settings["host"] == "127.0.0.1"
        asked = {"users": ["u1"]}
        assert process.call("POST", "/v1/recommend", asked).status == 401
        found = process.call("POST", "/v1/recommend", asked, authorization="Bearer a secret key", x_request_id="r-1")
        assert found.status == 200 and found.headers["x-request-id"] == "r-1"
        line = process.wait_for("request", request_id="r-1")
        assert (line["status"], line["path"], line["degraded"]) == (200, "/v1/recommend", None)
        assert "secret" not in json.dumps(process.lines)
        assert process.terminate() == 0
        assert any(one["message"] == "Application shutdown complete." for one in process.lines)


def test_what_cannot_be_served_is_told_in_one_line(tmp_path: Path) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-c", "from tamis.cli import cli; cli()", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stderr

    code, text = run("serve", str(tmp_path))
    assert code == 1 and "so it is not a saved recommender" in text and "Traceback" not in text
    code, text = run("serve", str(tmp_path), "--set", "prot=1")
    assert code == 1 and "Error: command line: prot is '1'" in text
    code, text = run("rollback", str(tmp_path))
    assert code == 1 and "state.json" in text
