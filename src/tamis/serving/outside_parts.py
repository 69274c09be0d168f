"""Which parts of a server lie outside its process, by its settings: a store of users' features, an index."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import polars as pl

from tamis.errors import SettingError
from tamis.recommender.recommender import Recommender
from tamis.recommender.sources.retrieval_source import Retrieval
from tamis.serving.degradation import BUNDLE_FEATURES, FEWER_SOURCES
from tamis.serving.live_version import LiveVersion
from tamis.serving.outside import Outside
from tamis.serving.remote_index import RemoteIndex
from tamis.serving.serving_settings import ServingSettings
from tamis.store.redis_store import RedisStore, without_password

if TYPE_CHECKING:
    from tamis.index.qdrant import QdrantIndex
    from tamis.store.feast_store import FeastStore

FEAST = "feast:"  # and the folder of a Feast repository
REDIS, QDRANT = ("redis://", "rediss://", "unix://"), {"qdrant://": "http://", "qdrants://": "https://"}
_NAME = 12  # letters of a bundle's identity


class OutsideParts:
    """Hands every version its parts outside, and asks them.

    Args:
        settings: of the server.
    """

    def __init__(self, settings: ServingSettings) -> None:
        self._settings = settings
        self._parts: dict[str, Outside] = {}
        self._open: list[RedisStore | FeastStore | QdrantIndex] = []

    def attach(self, version: LiveVersion) -> None:
        """Let a version ask them, from before its first update on.

        Raises:
            SettingError: a URL of a kind that is not known.
            MissingExtraError: the package that asks there is not installed.
        """
        if self._settings.store is not None:
            self._attach_store(version, self._settings.store)
        if self._settings.index is not None:
            for source in version.recommender.sources:
                if isinstance(source, Retrieval):
                    self._attach_index(version, source, self._settings.index)

    def _attach_store(self, version: LiveVersion, url: str) -> None:
        timeout_s = self._settings.store_timeout_ms / 1000
        recommender, identity = version.recommender, version.identity
        store = store_of(url, recommender, identity, timeout_s=timeout_s)
        weakref.finalize(version, store.close)
        if "store" not in self._parts:
            asked = store_of(url, recommender, identity, timeout_s=timeout_s)  # of its own, as versions come and go
            self._add("store", without_password(url), asked, timeout_s, BUNDLE_FEATURES)
        outside = self._parts["store"]

        def stored(ids: pl.Series) -> pl.DataFrame | None:
            return outside.ask(lambda: store.rows(ids)) if ids.null_count() < len(ids) else None

        version.stored = stored

    def _attach_index(self, version: LiveVersion, source: Retrieval, url: str) -> None:
        own, api_key, timeout_s = source.index, self._settings.index_api_key, self._settings.index_timeout_ms / 1000
        base = index_of(url, version.identity, source.name, api_key=api_key).attach(own.ids, own.dim)
        weakref.finalize(version, base.close)
        if "index" not in self._parts:
            asked = index_of(url, version.identity, source.name, api_key=api_key)
            self._add("index", url, asked, timeout_s, FEWER_SOURCES)
        source.index = RemoteIndex(base, self._parts["index"], recall=own.recall)

    def _add(
        self, part: str, url: str, asked: RedisStore | FeastStore | QdrantIndex, timeout_s: float, level: str
    ) -> None:
        """One for all versions: it is the same server that is gone or back."""
        self._open.append(asked)
        self._parts[part] = Outside(f"the {part} {url}", asked.ping, timeout_s=timeout_s, level=level)

    @property
    def are_used(self) -> bool:
        """Whether there are any."""
        return bool(self._parts)

    @property
    def are_up(self) -> dict[str, bool]:
        """Whether each part answers."""
        return {name: one.is_up for name, one in self._parts.items()}

    def close(self) -> None:
        """Let go of all."""
        for outside in self._parts.values():
            outside.close()
        for one in self._open:
            one.close()


def store_of(url: str, recommender: Recommender, identity: str, *, timeout_s: float) -> RedisStore | FeastStore:
    """The store at a URL, for a bundle.

    Raises:
        SettingError: a URL of a kind that is not known.
    """
    audience, bundle = recommender.audience, identity[:_NAME]
    if url.startswith(REDIS):
        return RedisStore(url, bundle, audience.features.schema, audience.ids.dtype, timeout_s=timeout_s)
    if url.startswith(FEAST):
        from tamis.store.feast_store import FeastStore  # it takes seconds to load

        return FeastStore(url.removeprefix(FEAST), bundle, audience.features.schema, audience.ids.dtype)
    raise SettingError(f"store: {without_password(url)!r} is not known. Give redis://HOST:PORT/0, or feast:FOLDER.")


def index_of(url: str, identity: str, source: str, *, api_key: str | None = None) -> QdrantIndex:
    """The index at a URL, for a source of a bundle.

    Raises:
        SettingError: a URL of a kind that is not known.
    """
    scheme = next((one for one in QDRANT if url.startswith(one)), None)
    if scheme is None:
        raise SettingError(f"index: {url!r} is not known. Give qdrant://HOST:6333, or qdrants:// for TLS.")
    from tamis.index.qdrant import QdrantIndex  # its client loads where it is first used

    real = QDRANT[scheme] + url.removeprefix(scheme)
    return QdrantIndex(real, f"tamis-{identity[:_NAME]}-{source}", api_key=api_key)
