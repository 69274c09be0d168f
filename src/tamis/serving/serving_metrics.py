"""What a server counts and measures, as Prometheus reads it. Several processes add up."""

from __future__ import annotations

import os
import threading
from collections import Counter as Counting
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from tamis.recommender.sources.retrieval_source import Retrieval
from tamis.serving.live_version import LiveVersion
from tamis.serving.score_drift import ScoreDrift
from tamis.serving.seen_requests import ManyHistogram, Seen, SeenRequests
from tamis.serving.served_versions import Served

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # where processes put their numbers; set before prometheus_client is imported
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MS = (0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 25, 50, 100, 250, 1000)
_BUCKETS = tuple(ms / 1000 for ms in _MS)
_SHARES = tuple(i / 10 for i in range(11))
_WINDOW = 1000

disable_created_metrics()  # type: ignore[no-untyped-call] # a line more for each number, which nobody reads


class ServingMetrics:
    """Counters and gauges of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Requests by route and status.", "route", "status")
        self.request_s = self._seconds("request_seconds", "Whole requests.", "route")
        self.stage_s = self._seconds("stage_seconds", "Stages of requests.", "stage", "version")
        self.lists = self._counter("lists", "Lists given, and whether the user was known.", "version", "known")
        self.degraded = self._counter(
            "degraded", "Answers made simpler, for lack of time or of a part outside.", "level", "version"
        )
        self.cache = self._counter("filter_cache", "Filters found in memory or evaluated.", "result")
        self.updates = self._counter("updates", "Updates taken.", "kind")
        self.in_work = self._gauge("in_work", "Requests at work or waiting.", mode="livesum")
        self.unknown = self._gauge("unknown_user_share", "Of the last 1,000 lists.", "version")
        self.drift = self._gauge("score_drift", "Population stability index of scores against training.", "version")
        self.info = self._gauge("version_info", "1 for versions that are served.", "version", "role")
        self.failed = self._gauge("failed_versions", "Published versions that stay off.")
        self.items = self._gauge("items", "Items on offer.", "version")
        self.index_items = self._gauge("index_items", "Vectors in an index.", "version", "source")
        self.index_recall = self._gauge("index_recall", "As it was measured.", "version", "source")
        self.outside_up = self._gauge("outside_up", "1 if a store or an index answers.", "part", mode="livemin")
        self.refused = self._gauge("refused_updates", "That a version could not take.", "version")
        self.shadow_s = self._seconds("shadow_seconds", "Answers of the shadow.", "version")
        self.shadow_overlap = Histogram(
            "tamis_shadow_overlap",
            "Share of a list that the shadow gives too.",
            ["version"],
            buckets=_SHARES,
            registry=self.registry,
        )
        self._drifts: dict[str, ScoreDrift] = {}
        self._known: dict[str, deque[bool]] = {}
        self._roles: set[tuple[str, str]] = set()
        self._cached: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()
        self._seen = SeenRequests(self._count)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"tamis_{name}", what, labels, registry=self.registry)

    def _seconds(self, name: str, what: str, *labels: str) -> ManyHistogram:
        return ManyHistogram(f"tamis_{name}", what, labels, buckets=_BUCKETS, registry=self.registry)

    def _gauge(
        self, name: str, what: str, *labels: str, mode: Literal["livemax", "livesum", "livemin"] = "livemax"
    ) -> Gauge:
        return Gauge(f"tamis_{name}", what, labels, registry=self.registry, multiprocess_mode=mode)

    def watch(self, version: str, drift: ScoreDrift) -> None:
        """Compare a version's scores from now on."""
        self._drifts[version] = drift

    def requested(self, route: str, status: int, took_s: float) -> None:
        """A request was answered."""
        self._seen.add(lambda seen: seen.requests[route, str(status)].append(took_s))

    def answered(self, version: str, stage_ms: Mapping[str, float], degraded: str | None) -> None:
        """An answer went out."""

        def note(seen: Seen) -> None:
            for stage, ms in stage_ms.items():
                seen.stages[stage, version].append(ms / 1000)
            if degraded is not None:
                seen.degraded[degraded, version] += 1

        self._seen.add(note)

    def gave(self, version: str, known: Sequence[bool], scores: Sequence[float | None]) -> None:
        """Lists went out: whether each user was known, and the scores of all."""

        def note(seen: Seen) -> None:
            seen.known[version] += known
            seen.scores[version] += scores

        self._seen.add(note)

    def _count(self, seen: Seen) -> None:
        for (route, status), took in seen.requests.items():
            self.requests.labels(route, status).inc(len(took))
            self.request_s.labels(route).observe_many(took)
        for (stage, version), took in seen.stages.items():
            self.stage_s.labels(stage, version).observe_many(took)
        for (level, version), count in seen.degraded.items():
            self.degraded.labels(level, version).inc(count)
        for version, known in seen.known.items():
            for is_known, count in Counting(known).items():
                self.lists.labels(version, "true" if is_known else "false").inc(count)
            if version in self._drifts:  # else it went meanwhile
                self._known.setdefault(version, deque(maxlen=_WINDOW)).extend(known)
        for version, scores in seen.scores.items():
            drift = self._drifts.get(version)
            if drift is not None:
                drift.add(scores)

    def close(self) -> None:
        """End the thread that counts."""
        self._seen.close()

    def page(self, served: Served) -> bytes:
        """All numbers, as text. Those of other processes may lack what came in the last second."""
        self._seen.count()
        self._look_at(served)
        if FOLDER not in os.environ:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def _look_at(self, served: Served) -> None:
        """What is asked for rather than counted."""
        with self._lock:
            self._set_roles(served)
            for name, version in served.versions.items():
                self._look_at_version(name, version)
            self.failed.set(len(served.failed))

    def _set_roles(self, served: Served) -> None:
        state = served.state
        roles = {(state.current, "current"), *((name, "split") for name in state.split)}
        roles |= set() if state.shadow is None else {(state.shadow, "shadow")}
        for version, role in self._roles - roles:
            self.info.labels(version, role).set(0)
        for version, role in roles:
            self.info.labels(version, role).set(1)
        self._roles |= roles
        for gone in self._drifts.keys() - served.versions.keys():
            self._drifts.pop(gone, None)
            self._known.pop(gone, None)

    def _look_at_version(self, name: str, version: LiveVersion) -> None:
        self.items.labels(name).set(version.recommender.num_items)
        self.refused.labels(name).set(version.num_refused)
        for source in version.recommender.sources:
            if isinstance(source, Retrieval):
                self.index_items.labels(name, source.name).set(len(source.index))
                self.index_recall.labels(name, source.name).set(source.index.recall)
        if name in self._drifts:
            self.drift.labels(name).set(self._drifts[name].index)
        latest = list(self._known.get(name, ()))
        if latest:
            self.unknown.labels(name).set(1 - sum(latest) / len(latest))
        self._count_cache(name, version)

    def _count_cache(self, name: str, version: LiveVersion) -> None:
        now = (version.filters.hits, version.filters.misses)
        before = self._cached.get(name, (0, 0))
        self._cached[name] = now
        self.cache.labels("hit").inc(max(now[0] - before[0], 0))
        self.cache.labels("miss").inc(max(now[1] - before[1], 0))


def share_between_processes(folder: Path) -> None:
    """Let all processes that are started from now on add up their numbers, which start at 0."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.db"):
        file.unlink()
    os.environ[FOLDER] = str(folder)


def forget_dead_processes() -> None:
    """Drop the gauges of processes that were killed."""
    folder = os.environ.get(FOLDER)
    for file in Path(folder).glob("gauge_live*_*.db") if folder else ():
        pid = file.stem.rsplit("_", 1)[-1]
        if pid.isdigit() and not _is_alive(int(pid)):
            mark_process_dead(int(pid))  # type: ignore[no-untyped-call]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
