"""What somebody who tries a server out has to know: the versions, what to ask them, and what a user has met."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from tamis.serving.answering import user_states
from tamis.serving.asked_users import AskedUser
from tamis.serving.conditions_to_try import conditions_to_try
from tamis.serving.live_version import LiveVersion
from tamis.serving.served_versions import Served
from tamis.serving.telling import check_show, plain
from tamis.serving.update_log import RawId, UpdateLog

_NUM_USERS = 20  # to choose from


def versions_told(served: Served) -> dict[str, Any]:
    """All that are loaded, the current one first; and those that should be, but failed."""
    return {
        "current": served.state.current,
        "versions": [_version_told(served, served.versions[name]) for name in served.state.versions],
        "previous": list(served.state.previous),
        "failed": dict(served.failed),
    }


def _version_told(served: Served, version: LiveVersion) -> dict[str, Any]:
    recommender, split = version.recommender, served.state.split
    is_current = version.name == served.state.current
    with version.lock.reading():
        return {
            "name": version.name,
            "role": "current" if is_current else "split" if version.name in split else "shadow",
            "share": round(1 - sum(split.values()), 6) if is_current else split.get(version.name),
            "loaded_at": version.loaded_at,
            "num_items": recommender.num_items,
            "num_users": len(recommender.audience),
            "sources": {source.name: source.quota for source in recommender.sources},
            "targets": list(recommender.targets),
            "user_id": recommender.user_id,
            "item_id": recommender.item_id,
            "item_columns": {name: kind_of(dtype) for name, dtype in recommender.catalogue.columns.schema.items()},
            "context": {name: plain(recommender.context.get(name)) for name in recommender.raw_context_columns},
            "users_to_try": _users_to_try(recommender.audience.ids),
            "filters_to_try": conditions_to_try(recommender.catalogue.columns),
        }


def kind_of(dtype: pl.DataType) -> str:
    """What values of a column are, in a word."""
    if dtype.is_numeric():
        return "number"
    if isinstance(dtype, pl.List | pl.Array):
        return "list"
    return {pl.String: "text", pl.Boolean: "boolean"}.get(type(dtype), "time" if dtype.is_temporal() else "other")


def _users_to_try(ids: pl.Series) -> list[Any]:
    """Some that are known, from all over."""
    places = np.unique(np.linspace(0, len(ids) - 1, min(_NUM_USERS, len(ids))).astype(np.int64))
    return [plain(one) for one in ids.gather(places).to_list()]


def history_told(
    served: Served, user: RawId, *, k: int, show: Sequence[str], version: str | None, log: UpdateLog | None
) -> dict[str, Any]:
    """The latest `k` items that a user has met, the last one first.

    Raises:
        UnknownNameError: no such version is loaded.
        UnknownColumnError: the items do not have one of `show`.
        SettingError: there are no item columns to show.
    """
    live = served.asked_for(version, user)
    asked = AskedUser(user)
    with live.lock.reading():
        recommender = live.recommender
        check_show(recommender, show)
        is_known, met = live.users.met(asked, user_states([asked], log)[0])
        latest = met[::-1][:k]
        ids = recommender.catalogue.ids.gather(latest).to_list()
        shown = recommender.catalogue.columns.select(show)[latest].to_dicts() if show else [{}] * len(ids)
    items = [{"id": one, "columns": plain(columns)} for one, columns in zip(ids, shown, strict=True)]
    return {"user": user, "known": is_known, "version": live.name, "num_items": len(met), "items": items}
