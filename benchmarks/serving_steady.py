"""Half an hour of steady load, while the bundle is swapped every twenty seconds: errors, mixed answers, memory."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from tamis.serving.load_questions import bodies_of_users, users_in
from tamis.serving.load_test import load_test
from tamis.serving.process_memory import MemoryWatch
from tamis.serving.published import PublishedPlace

SWAP_S, WARM_UP_S, K, NUM_USERS, SHARE = 20.0, 120.0, 10, 2000, 0.7


class Judge:
    """Whether each answer is what the version that it names says: items of one with scores of another would show."""

    def __init__(self, expected: dict[str, dict[Any, list[Any]]]) -> None:
        self.expected, self.seen = expected, Counter[str]()
        self.mixed = 0

    def __call__(self, number: int, status: int, body: bytes) -> None:
        if status != 200:
            return
        told = json.loads(body)
        if told["degraded"] is not None:  # made simpler for lack of time, so it may say something else
            return
        for one in told["results"]:
            self.seen[one["version"]] += 1
            self.mixed += [item["id"] for item in one["items"]] != self.expected[one["version"]][one["user"]]


def expected_lists(url: str, users: list[Any], version: str) -> dict[Any, list[Any]]:
    """What a version says to each user, by asking it while nothing is swapped; processes may be late to serve it."""
    found: dict[Any, list[Any]] = {}

    def keep(number: int, status: int, body: bytes) -> None:
        for one in json.loads(body)["results"] if status == 200 else ():
            if one["version"] == version:
                found[one["user"]] = [item["id"] for item in one["items"]]

    for _ in range(20):
        bodies = bodies_of_users([user for user in users if user not in found], K)
        load_test(url, bodies, rate=100, duration_s=len(bodies) / 100, on_answer=keep, verbose=False)
        if len(found) == len(users):
            return found
        time.sleep(1)
    raise RuntimeError(f"version {version} answered {len(found)} of {len(users)} users")


def swapped(place: PublishedPlace, names: list[str], url: str, swap_s: float, stop: threading.Event) -> list[float]:
    """Publish one version after the other until told to stop: how long each took to be served."""
    took: list[float] = []
    while not stop.wait(swap_s):
        name, start = names[len(took) % 2], time.perf_counter()
        place._write(type(place.read())(name))  # both are there, and were checked when they came
        while not stop.is_set():
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/readyz", timeout=10) as answer:
                if json.load(answer)["version"] == name:
                    took.append(time.perf_counter() - start)
                    break
            time.sleep(0.1)
    return took


def steady(
    bundles: dict[str, Path],
    minutes: float,
    rate: float,
    command: Any,
    running: Any,
    port: int,
    swap_s: float = SWAP_S,
) -> dict[str, Any]:
    """The figures.

    Args:
        bundles: two, which answer otherwise.
        minutes: how long.
        rate: requests a second.
        command: from a place and a port to what starts a server.
        running: gives the server while a `with` runs.
        port: for it.
        swap_s: between a version that is served and the next.
    """
    with tempfile.TemporaryDirectory(prefix="tamis-steady-", dir=os.environ.get("TAMIS_BENCH_CACHE")) as folder:
        place = PublishedPlace(folder)
        url, users = f"http://127.0.0.1:{port}", []
        expected: dict[str, dict[Any, list[Any]]] = {}
        names = [place.publish(bundle).current for bundle in bundles.values()]
        users = users_in(place.path_of(names[0]), seed=0)[:NUM_USERS]
        with running(command(place.folder, port), port) as process:
            for name in names:
                place._write(type(place.read())(name))
                _wait_until_served(url, name)
                expected[name] = expected_lists(url, users, name)
            judge, stop, took = Judge(expected), threading.Event(), []
            thread = threading.Thread(target=lambda: took.extend(swapped(place, names, url, swap_s, stop)))
            thread.start()
            with MemoryWatch(process.pid, every_s=1.0) as memory:
                found = load_test(
                    url,
                    bodies_of_users(users, K),
                    rate=rate,
                    duration_s=minutes * 60,
                    on_answer=judge,
                    verbose=sys.stderr.isatty(),
                )
            stop.set()
            thread.join(timeout=120)
    warm_up_s = min(WARM_UP_S, minutes * 60 / 3)
    return {
        "minutes": minutes,
        "rate": rate,
        "swaps": len(took),
        "swap_every_s": swap_s,
        "swap_p50_s": round(sorted(took)[len(took) // 2], 2) if took else None,
        "errors": found["errors"],
        "first_errors": found["first_errors"],
        "mixed_answers": judge.mixed,
        "degraded": found["degraded"],
        "versions_seen": len(judge.seen),
        "latency_ms": found["latency_ms"],
        "statuses": found["statuses"],
        "memory_slope_mb_per_min": round(memory.slope_mb_per_minute(after_s=warm_up_s), 3),
        "memory_start_mb": round(memory.mb[0]),
        "memory_end_mb": round(memory.mb[-1]),
        "memory_most_mb": round(max(memory.mb)),
        "memory_mb": [round(mb) for mb in memory.mb[:: max(len(memory.mb) // 30, 1)]],
    }


def _wait_until_served(url: str, name: str) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        with urllib.request.urlopen(f"{url}/readyz", timeout=30) as answer:
            if json.load(answer)["version"] == name:
                return
        time.sleep(0.2)
    raise RuntimeError(f"version {name} was not served within two minutes")
