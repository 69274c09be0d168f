"""What requests leave to be counted is counted as if it had been counted at once."""

import re
import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from tamis.serving.seen_requests import ManyHistogram, Seen, SeenRequests

BOUNDS = (0.25, 0.5, 1.0, 4.0)


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 1.0, 1.5, 4.0, 5.0, 1e9]), max_size=50))
def test_many_amounts_at_once_are_the_same_as_one_by_one(amounts: list[float]) -> None:
    pages = []
    for kind in (Histogram, ManyHistogram):
        registry = CollectorRegistry()
        histogram = kind("took", "Seconds.", ["route"], buckets=BOUNDS, registry=registry)
        child = histogram.labels("a")
        if isinstance(child, ManyHistogram):
            child.observe_many(amounts)
        else:
            for amount in amounts:
                child.observe(amount)
        pages.append(
            [line for line in generate_latest(registry).decode().splitlines() if not re.search("_sum|_created", line)]
        )
        total = registry.get_sample_value("took_sum", {"route": "a"})
        assert total is not None and np.isclose(total, sum(amounts))
    assert pages[0] == pages[1]


def test_notes_are_counted_once_when_asked_and_by_themselves_within_a_second_or_so() -> None:
    counted: list[int] = []
    seen = SeenRequests(lambda found: counted.append(sum(len(took) for took in found.requests.values())))

    def note(found: Seen) -> None:
        found.requests["/", "200"].append(0.1)

    for _ in range(3):
        seen.add(note)
    seen.count()
    assert sum(counted) == 3
    seen.add(note)
    deadline = time.monotonic() + 10
    while sum(counted) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert sum(counted) == 4
    seen.add(note)
    seen.close()
    assert sum(counted) == 5
