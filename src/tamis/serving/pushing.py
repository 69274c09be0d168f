"""What a bundle holds, written to where servers are told to ask for it."""

from __future__ import annotations

from pathlib import Path

from tamis.errors import SettingError
from tamis.progress import progress
from tamis.recommender.recommender import Recommender
from tamis.recommender.sources.retrieval_source import Retrieval
from tamis.serving.outside_parts import FEAST, QDRANT, REDIS, index_of, store_of

_AT_ONCE = 20_000  # items that are encoded together
_TIMEOUT_S = 30.0


def push(bundle: str | Path, to: str, *, keep: int = 2, api_key: str | None = None) -> dict[str, int]:
    """Write a bundle's users' features to Redis or Feast, or its items' vectors to Qdrant: how many of each.

    Args:
        bundle: a folder that `Recommender.save` wrote.
        to: `redis://` or `qdrant://` with host and port, or `feast:` with the folder of a Feast repository.
        keep: how many bundles stay in Redis or Feast, this one included.
        api_key: of Qdrant.

    Raises:
        FormatError: no bundle.
        SettingError: a URL of another kind, or a bundle without vectors.
        UnreachableError: nobody answers there.
    """
    if not to.startswith((FEAST, *REDIS, *QDRANT)):
        raise SettingError(f"push: {to!r} is not known. Give redis://HOST:PORT/0, qdrant://HOST:PORT or feast:FOLDER.")
    recommender = Recommender.load(bundle, verify=False)
    if not to.startswith(tuple(QDRANT)):
        return {"users": _push_users(recommender, to, keep)}
    return _push_vectors(recommender, to, api_key)


def _push_users(recommender: Recommender, to: str, keep: int) -> int:
    audience = recommender.audience
    with (
        store_of(to, recommender, recommender.identity, timeout_s=_TIMEOUT_S) as store,
        progress("push users", len(audience), unit="users") as advance,
    ):
        store.push(audience.ids, audience.features, keep=keep, pushed=advance)
    return len(audience)


def _push_vectors(recommender: Recommender, to: str, api_key: str | None) -> dict[str, int]:
    sources = [source for source in recommender.sources if isinstance(source, Retrieval)]
    if not sources:
        raise SettingError("push: no source of the bundle has vectors. Add a retrieval model.")
    pushed: dict[str, int] = {}
    for source in sources:
        index, ids = index_of(to, recommender.identity, source.name, api_key=api_key), source.index.ids
        with progress(f"push {source.name}", len(ids), unit="items") as advance:
            index.build(source.vectors_of(recommender.catalogue, ids), ids, added=advance)
        index.close()
        pushed[source.name] = len(ids)
    return pushed
