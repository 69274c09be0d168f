"""What the server does, without its web framework: models in, plain dicts out."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from tamis.errors import DataError
from tamis.recommender.golden import Golden
from tamis.serving.answering import Question, StageClock, answer
from tamis.serving.asked_users import AskedUser
from tamis.serving.degradation import worst
from tamis.serving.live_version import LiveVersion
from tamis.serving.outside import answering_until
from tamis.serving.outside_parts import OutsideParts
from tamis.serving.own_candidates import rank_own
from tamis.serving.published import PublishedPlace
from tamis.serving.request_models import (
    EventsRequest,
    PutItemsRequest,
    PutUserRequest,
    RankRequest,
    RecommendRequest,
    SimilarItemsRequest,
)
from tamis.serving.score_drift import ScoreDrift, training_scores
from tamis.serving.served_versions import ServedVersions
from tamis.serving.serving_metrics import ServingMetrics
from tamis.serving.serving_settings import ServingSettings
from tamis.serving.shadow import Shadow
from tamis.serving.similar import similar_lists
from tamis.serving.telling import check_show, items_told, lists_told
from tamis.serving.update_log import Event, RawId, UpdateLog

_LOG = logging.getLogger("tamis.serving")
NO_STATE = "none"
_SHORT_MS, _SHORT_LIST = 5.0, 100

Asked: TypeAlias = tuple[RecommendRequest, float]  # and when it came, by `time.perf_counter`


class UpdatesOffError(Exception):
    """The server was started without a place for updates."""

    def __init__(self) -> None:
        super().__init__("updates: this server takes none, as it was started without a folder for its state.")


class Service:
    """Everything that a process of the server holds. Any number of threads may use it.

    Args:
        path: a bundle, or a published place.
        settings: of the server.

    Raises:
        FormatError: nothing that can be served, or a damaged log of updates.
        SettingError: the folder for updates cannot be written.
    """

    def __init__(self, path: str | Path, settings: ServingSettings) -> None:
        self.settings, self.metrics = settings, ServingMetrics()
        folder = state_folder(path, settings)
        self.log = None if folder is None else UpdateLog(folder, max_bytes=_bytes(settings.max_updates_mb))
        self._place = PublishedPlace(path)
        self._path = Path(path)
        self.outside = OutsideParts(settings)
        self.live = ServedVersions(
            path, self.log, opened=self.outside.attach, loaded=self._prepare, runtime=settings.runtime
        )
        self.shadow = Shadow(self.metrics)
        self.live.start()

    def _prepare(self, version: LiveVersion) -> None:
        """Answer some users before the first request comes: caches fill, and the scores are what drift is seen by."""
        folder = self._place.path_of(version.name) if self._place.exists else self._path
        golden = Golden.load(folder, version.recommender)
        self.metrics.watch(
            version.name, ScoreDrift(training_scores(version, golden, num_ranked=self.settings.num_ranked))
        )
        if self.log is not None:
            _ = version.recommender.raw_item_columns  # what the first update of an item would have to wait for

    def recommend(self, asked: RecommendRequest, *, received: float, is_short: bool = False) -> dict[str, Any]:
        """Lists for users; `received` is when the request came, by `time.perf_counter`.

        With `is_short`, each user stands for a request and is counted as one, and nothing is waited for.

        Raises:
            WouldWaitError: an update is being applied, and it shall not be waited for.
            UnknownNameError: it names a version that is not loaded.
            UnknownColumnError: a feature, context, condition or column to show that there is not.
            DataError: a value that its column cannot hold.
            SettingError: a context that is missing, or no condition.
        """
        served = self.live.served
        users = _users(asked)
        groups: dict[str, list[int]] = {}
        for place, user in enumerate(users):
            groups.setdefault(served.asked_for(asked.version, user.id).name, []).append(place)
        question = self._question(asked, users, received)
        told: list[Any] = [None] * len(users)
        stage_ms: dict[str, float] = {}
        degraded: list[str] = []
        for name, places in groups.items():
            part = question if len(groups) == 1 else replace(question, users=[users[place] for place in places])
            lists, took_ms, level = self._lists(served.versions[name], part, asked, is_short=is_short)
            for place, one in zip(places, lists, strict=True):
                told[place] = one
            stage_ms = {stage: stage_ms.get(stage, 0.0) + ms for stage, ms in took_ms.items()}
            degraded += [] if level is None else [level]
        if served.shadow is not None and asked.version is None and random.random() < self.settings.shadow_share:
            self.shadow.compare(served.shadow, replace(question, deadline=math.inf), told, self.log)
        return {"results": told, "degraded": worst(degraded), "stage_ms": _rounded(stage_ms)}

    def recommend_together(self, several: Sequence[Asked]) -> list[dict[str, Any]]:
        """The answers to short requests that are `alike`, each for one user, and when they came; see `recommend`.

        Raises:
            WouldWaitError: an update is being applied.
        """
        first, received = several[0]
        if len(several) == 1:
            return [self.recommend(first, received=received, is_short=True)]
        together = first.model_copy(update={"users": [asked.users[0] for asked, _ in several]})
        found = self.recommend(together, received=min(received for _, received in several), is_short=True)
        return [{**found, "results": [one]} for one in found["results"]]

    def is_short(self, asked: RecommendRequest) -> bool:
        """Whether the answer takes so little time that no other request minds waiting for it.

        That is one known user with nothing to look up outside, no condition to evaluate and nothing to explain, if
        there were answers before that did not take long, and no update is being applied.
        """
        is_plain = len(asked.users) == 1 and not (asked.features or asked.filters or asked.version or asked.explain)
        is_small = asked.k <= _SHORT_LIST and len(asked.exclude) <= _SHORT_LIST
        if not (is_plain and is_small) or asked.num_candidates or asked.num_ranked or self.outside.are_used:
            return False
        version = self.live.served.version_of(asked.users[0])
        num_ranked = self._num_ranked(asked.k) or sum(source.quota for source in version.recommender.sources)
        return version.lock.is_free and 0 < version.estimates.whole_ms(num_ranked) < _SHORT_MS

    def _question(self, asked: RecommendRequest, users: Sequence[AskedUser], received: float) -> Question:
        timeout_ms = min(asked.timeout_ms or self.settings.timeout_ms, self.settings.max_timeout_ms)
        return Question(
            users,
            k=asked.k,
            context=asked.context,
            conditions=tuple(asked.filters),
            exclude=asked.exclude,
            exclude_seen=asked.exclude_seen,
            num_candidates=asked.num_candidates,
            num_ranked=asked.num_ranked or self._num_ranked(asked.k),
            deadline=received + timeout_ms / 1000,
        )

    def _num_ranked(self, k: int) -> int | None:
        return None if self.settings.num_ranked is None else max(self.settings.num_ranked, k)

    def _lists(
        self, version: LiveVersion, question: Question, asked: RecommendRequest, *, is_short: bool
    ) -> tuple[list[dict[str, Any]], Mapping[str, float], str | None]:
        with version.lock.reading(wait=not is_short):
            check_show(version.recommender, asked.show)
            answered = answer(version, question, self.log)
            started = time.perf_counter()
            told = lists_told(version, question.users, answered, asked.show, explain=asked.explain)
        stage_ms = {**answered.stage_ms, "telling": (time.perf_counter() - started) * 1000}
        for _ in told if is_short else (told,):
            self.metrics.answered(version.name, stage_ms, answered.degraded)
        is_whole = answered.degraded is None  # other scores than the ranker's are no drift
        scores = [item["score"] for one in told for item in one["items"]] if is_whole else []
        self.metrics.gave(version.name, [one["known"] for one in told], scores)
        return told, stage_ms, answered.degraded

    def similar(self, asked: SimilarItemsRequest) -> dict[str, Any]:
        """Items that resemble others, by the current version.

        Raises:
            SettingError: no source knows what items have in common.
            UnknownNameError: there is no such source.
            UnknownColumnError: a condition or a column to show that there is not.
        """
        version = self.live.served.current
        clock = StageClock(self._deadline())
        with version.lock.reading(), answering_until(clock.deadline) as under_way:
            check_show(version.recommender, asked.show)
            lists, rows, source = similar_lists(
                version,
                asked.items,
                asked.k,
                conditions=tuple(asked.filters),
                exclude=asked.exclude,
                source=asked.source,
            )
            clock.lap("similar")
            told = [
                {
                    "item": item,
                    "known": bool(rows[number] >= 0),
                    "items": items_told(version.recommender, lists, number, asked.show),
                }
                for number, item in enumerate(asked.items)
            ]
        degraded = worst(under_way.missed)
        self.metrics.answered(version.name, clock.ms, degraded)
        found = {"results": told, "source": source, "version": version.name, "degraded": degraded}
        return {**found, "stage_ms": _rounded(clock.ms)}

    def _deadline(self) -> float:
        """For questions that name no time."""
        return time.perf_counter() + self.settings.timeout_ms / 1000

    def rank(self, asked: RankRequest) -> dict[str, Any]:
        """A caller's candidates in order.

        Raises:
            UnknownColumnError: a feature, context or column to show that there is not.
            DataError: a value that its column cannot hold.
            SettingError: a context that is missing.
        """
        user = AskedUser(asked.user, asked.features)
        version = self.live.served.version_of(asked.user)
        with version.lock.reading():
            check_show(version.recommender, asked.show)
            answered, unknown = rank_own(version, user, asked.items, asked.context, self.log, self._deadline())
            told = lists_told(version, [user], answered, asked.show, explain=asked.explain)[0]
        told.pop("reason", None)
        self.metrics.answered(version.name, answered.stage_ms, answered.degraded)
        found = {**told, "unknown_items": unknown, "degraded": answered.degraded}
        return {**found, "stage_ms": _rounded(answered.stage_ms)}

    def put_items(self, asked: PutItemsRequest) -> dict[str, Any]:
        """Put items in; they are on the disk and live when this returns.

        Raises:
            DataError: what `Recommender.upsert_items` refuses.
            UnknownColumnError: a column that items do not have.
            DiskFullError: no room; nothing was kept.
        """
        log, version = self._log(), self.live.served.current
        item_id = version.recommender.item_id
        ids = [row.get(item_id) for row in asked.items]
        for number, item in enumerate(ids):
            if isinstance(item, bool) or not isinstance(item, int | str):
                raise DataError(f"items.{number}: {item_id!r} is {item!r}. Give each item its id, a number or a text.")
        if len({str(item) for item in ids}) < len(ids):
            twice = next(item for item in ids if [str(one) for one in ids].count(str(item)) > 1)
            raise DataError(f"items: the item {twice!r} is given more than once. Give each item one row.")
        version.check_items(asked.items, [log.columns_of(item) for item in ids])  # type: ignore[arg-type]
        given = [{name: value for name, value in row.items() if name != item_id} for row in asked.items]
        log.put_items(list(zip(ids, given, strict=True)))  # type: ignore[arg-type]
        return self._taken("items", len(ids))

    def remove_items(self, items: Sequence[RawId]) -> dict[str, Any]:
        """Offer items no more.

        Raises:
            DiskFullError: no room; nothing was kept.
        """
        self._log().remove_items(items)
        return self._taken("removed_items", len(items))

    def put_user(self, user: RawId, asked: PutUserRequest) -> dict[str, Any]:
        """Keep a user's features; the next request uses them.

        Raises:
            UnknownColumnError: a feature that there is not.
            DataError: a value that its column cannot hold.
            DiskFullError: no room; nothing was kept.
        """
        log, version = self._log(), self.live.served.current
        with version.lock.reading():
            version.users.check_features(asked.features)
        log.put_user(user, asked.features)
        return self._taken("users", 1)

    def put_events(self, asked: EventsRequest) -> dict[str, Any]:
        """Keep what users did; the next request knows of it.

        Raises:
            DiskFullError: no room; nothing was kept.
        """
        self._log().put_events([Event(one.user, one.item, one.kind) for one in asked.events])
        return self._taken("events", len(asked.events))

    def _log(self) -> UpdateLog:
        if self.log is None:
            raise UpdatesOffError
        return self.log

    def _taken(self, kind: str, count: int) -> dict[str, Any]:
        self.live.follow()
        self.metrics.updates.labels(kind).inc(count)
        return {"accepted": count}

    def readiness(self) -> dict[str, Any]:
        """What is served, since when, and what stays off."""
        served = self.live.served
        return {
            "ready": True,
            "version": served.state.current,
            "split": dict(served.state.split),
            "shadow": served.state.shadow,
            "failed_versions": dict(served.failed),
            "updates": None if self.log is None else {"applied": served.current.applied, **self.log.counts()},
            "outside": self.outside.are_up,
            "serving_s": round(time.time() - served.current.loaded_at, 1),
        }

    def close(self) -> None:
        """End all threads and let go of files."""
        self.live.stop()
        self.shadow.close()
        self.outside.close()
        if self.log is not None:
            self.log.close()
        self.metrics.close()


def state_folder(path: str | Path, settings: ServingSettings) -> Path | None:
    """Where updates are kept: in a published place, or in a folder beside a bundle."""
    if settings.state == NO_STATE:
        return None
    if settings.state is not None:
        return Path(settings.state).expanduser().absolute()
    place = PublishedPlace(path)
    if place.exists:
        return place.updates
    bundle = place.folder
    return bundle.with_name(f"{bundle.name}.state")


def alike(asked: RecommendRequest) -> Hashable | None:
    """What requests have in common that can be answered together; None where a request is like no other."""
    if asked.exclude:
        return None
    context = tuple((name, type(value), value) for name, value in asked.context.items())
    key = (asked.k, asked.exclude_seen, asked.explain, asked.timeout_ms, tuple(asked.show), context)
    try:
        hash(key)
    except TypeError:  # a list in the context
        return None
    return key


def _users(asked: RecommendRequest) -> list[AskedUser]:
    if not asked.features:
        return [AskedUser(user) for user in asked.users]
    ids: Sequence[RawId | None] = asked.users or [None] * len(asked.features)
    return [AskedUser(user, features) for user, features in zip(ids, asked.features, strict=True)]


def _rounded(stage_ms: Mapping[str, float]) -> dict[str, float]:
    return {stage: round(ms, 3) for stage, ms in stage_ms.items()}


def _bytes(megabytes: float | None) -> int | None:
    return None if megabytes is None else int(megabytes * 1e6)
