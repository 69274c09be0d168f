"""Steady load with versions swapped meanwhile: no error, no mixed answer, no growing memory.

Twenty seconds; `TAMIS_STEADY_S=300` makes it five minutes, as `.ci/run` does; `benchmarks/bench_serving.py --steady 30`
is half an hour.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from serving_world import bundle, other_bundle, server
from tamis import Recommender
from tamis.serving.load_questions import bodies_of_users
from tamis.serving.load_test import load_test
from tamis.serving.process_memory import MemoryWatch
from tamis.serving.published import PublishedPlace

USERS, K = [f"u{number}" for number in range(60)], 5
SECONDS, SWAP_S, RATE = float(os.environ.get("TAMIS_STEADY_S", "20")), 4.0, 40.0


def expected(folder: Path) -> dict[str, list[int]]:
    """What a version recommends to each user."""
    frame = Recommender.load(folder).recommend(USERS, K)
    return {user: frame.filter(frame["user"] == user)["item"].to_list() for user in USERS}


class Judge:
    """Compares every answer with what the version that it names would say."""

    def __init__(self, lists: dict[str, dict[str, list[int]]]) -> None:
        self.lists, self.versions, self.wrong = lists, Counter[str](), list[Any]()

    def __call__(self, number: int, status: int, body: bytes) -> None:
        if status != 200:
            return
        for one in json.loads(body)["results"]:
            self.versions[one["version"]] += 1
            if [item["id"] for item in one["items"]] != self.lists[one["version"]][one["user"]]:
                self.wrong.append(one)


def swap(place: PublishedPlace, names: list[str], stop: threading.Event) -> None:
    number = 0
    while not stop.wait(SWAP_S):
        number += 1
        place.publish(place.path_of(names[number % 2]))


def test_steady_load_with_swaps(tmp_path: Path) -> None:
    place = PublishedPlace(tmp_path)
    names = [place.publish(folder).current for folder in (other_bundle(), bundle())]
    judge = Judge({name: expected(place.path_of(name)) for name in names})
    with server(place.folder, "--timeout-ms", "5000") as process:
        stop = threading.Event()
        swapping = threading.Thread(target=swap, args=(place, [names[1], names[0]], stop))
        swapping.start()
        with MemoryWatch(process.process.pid, every_s=0.5) as memory:
            found = load_test(
                f"http://127.0.0.1:{process.port}",
                bodies_of_users(USERS, K),
                rate=RATE,
                duration_s=SECONDS,
                on_answer=judge,
                verbose=False,
            )
        stop.set()
        swapping.join(timeout=60)
    assert found["statuses"] == {"200": RATE * SECONDS}, found
    assert judge.wrong == [] and set(judge.versions) == set(names)
    assert found["degraded"] == 0
    # versions of this size hold less than a megabyte: what grew by more was not let go of
    grown = max(memory.mb[-5:]) - max(memory.mb[10:20])
    assert grown < 30, memory.mb
    if SECONDS >= 300:  # less says nothing of a slope
        slope = memory.slope_mb_per_minute(after_s=120)
        assert slope < 1, (slope, memory.mb)
