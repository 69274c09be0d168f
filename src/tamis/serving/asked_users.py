"""From the users of a request, with what updates say of them, to queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from tamis.errors import DataError, UnknownColumnError
from tamis.index.protocol import FEW_QUERIES
from tamis.recommender.id_rows import Rows
from tamis.recommender.queries import Queries
from tamis.recommender.recommender import Recommender
from tamis.serving.update_log import RawId, UserState

_NOTHING = UserState()


@dataclass(frozen=True)
class AskedUser:
    """Whom a list is for: a raw id, raw features, or both."""

    id: RawId | None = None
    features: Mapping[str, Any] = field(default_factory=dict)


class UserQueries:
    """Makes queries for one recommender.

    Args:
        recommender: fitted.
    """

    def __init__(self, recommender: Recommender) -> None:
        self._recommender = recommender
        self._is_text = recommender.audience.ids.dtype == pl.String
        self._raw = set(recommender.raw_user_columns) - {recommender.user_id}
        self._histories = _histories(recommender)

    def ids(self, users: Sequence[AskedUser]) -> pl.Series:
        """Their raw ids in the bundle's kind; null where there is none, or none of this kind."""
        return pl.Series([self._id(one.id) for one in users], dtype=self._recommender.audience.ids.dtype, strict=False)

    def queries(
        self,
        users: Sequence[AskedUser],
        states: Sequence[UserState],
        context: Mapping[str, Any] | None,
        stored: pl.DataFrame | None = None,
    ) -> Queries:
        """One query for each user.

        Features of the request count more than those of updates, these more than those of a store, and these more than
        those of the bundle.

        Args:
            users: of the request.
            states: what updates say of each of them.
            context: raw context columns, the same for all users.
            stored: what a store has of them, see `FeatureStore.rows`.

        Raises:
            UnknownColumnError: a feature or context that there is not.
            DataError: a value that its column cannot hold.
            SettingError: a context that is missing.
        """
        if len(users) <= FEW_QUERIES and stored is None and not _any_features(users, states):
            few = self._recommender.queries_of([self._id(user.id) for user in users], context)
            return self._with_events(few, states) if any(state.met for state in states) else few
        groups: dict[tuple[tuple[str, type], ...], list[int]] = {}
        known = [self._features(user, state) for user, state in zip(users, states, strict=True)]
        for place, features in enumerate(known):
            of_kind = tuple((name, type(features[name])) for name in sorted(features))
            groups.setdefault(of_kind, []).append(place)  # a frame's column holds values of one kind
        parts = [
            self._same_columns([users[i].id for i in at], [known[i] for i in at], context, stored)
            for at in groups.values()
        ]
        found = _joined(parts, np.concatenate(list(groups.values())))
        return self._with_events(found, states) if any(state.met for state in states) else found

    def met(self, user: AskedUser, state: UserState) -> tuple[bool, Rows]:
        """Whether the bundle knows a user, and the rows of the items that the user has met, oldest first."""
        found = self.queries([AskedUser(user.id)], [UserState(met=state.met)], _first_context(self._recommender))
        return bool(found.users[0] >= 0), found.seen[0]

    def check_features(self, features: Mapping[str, Any]) -> None:
        """Raise what `queries` would for a user with these features.

        Raises:
            UnknownColumnError: a feature that there is not.
            DataError: a value that its column cannot hold.
        """
        self._check_names(features)
        context = _first_context(self._recommender)
        self._same_columns([None], [dict(features)], context) if features else None

    def _features(self, user: AskedUser, state: UserState) -> dict[str, Any]:
        self._check_names(user.features)
        stored = {name: value for name, value in state.features.items() if name in self._raw}
        return {**stored, **user.features}

    def _check_names(self, features: Mapping[str, Any]) -> None:
        for name in features:
            if name not in self._raw:
                raise UnknownColumnError(name, sorted(self._raw), where="features", what="user column")

    def _same_columns(
        self,
        ids: Sequence[RawId | None],
        features: Sequence[Mapping[str, Any]],
        context: Mapping[str, Any] | None,
        stored: pl.DataFrame | None = None,
    ) -> Queries:
        of_kind = [self._id(one) for one in ids]
        if not features[0]:
            of_users = pl.Series(self._recommender.user_id, of_kind, strict=False)
            return self._recommender.queries(of_users, context, stored=stored)
        rows = [{**one, self._recommender.user_id: own} for one, own in zip(features, of_kind, strict=True)]
        try:
            frame = pl.DataFrame(rows, infer_schema_length=None)
        except (TypeError, pl.exceptions.PolarsError) as error:
            what = str(error).partition("\n")[0]
            raise DataError(
                f"features: the users give values of different kinds for one column ({what}). Give one kind."
            ) from error
        return self._recommender.queries(frame, context, stored=stored)

    def _id(self, given: RawId | None) -> RawId | None:
        """The id in the kind that the training data has; None where it cannot be one."""
        if self._is_text or given is None:
            return None if given is None else str(given)
        try:
            return int(given)
        except ValueError:
            return None

    def _with_events(self, queries: Queries, states: Sequence[UserState]) -> Queries:
        """The queries of users who met these items too, after all that the bundle knows of."""
        met = [self._rows(state.met) for state in states]
        seen = [np.append(before[~np.isin(before, rows)], rows) for before, rows in zip(queries.seen, met, strict=True)]
        fresh = [rows[~np.isin(rows, before)] for before, rows in zip(queries.seen, met, strict=True)]
        features = queries.features
        for history, item_column, length in self._histories:
            if history in features.columns:
                features = features.with_columns(self._longer(features[history], item_column, fresh, length))
        return Queries(queries.users, features, queries.has_features, seen)

    def _rows(self, items: Sequence[RawId]) -> Rows:
        """Rows of raw ids; unknown ones are left out."""
        if not items:
            return np.zeros(0, np.int64)
        rows = self._recommender.catalogue.rows_of(pl.Series([str(item) for item in items]))
        return rows[rows >= 0]

    def _longer(self, history: pl.Series, item_column: str, fresh: Sequence[Rows], length: int | None) -> pl.Series:
        """Each list with the item column's values of these items at its end; of more than `length`, the last."""
        values = self._recommender.catalogue.features[item_column]
        lists = [
            [*([] if old is None else old), *values.gather(rows).to_list()]
            for old, rows in zip(history.to_list(), fresh, strict=True)
        ]
        return pl.Series(history.name, [one[-length:] if length else one for one in lists], dtype=history.dtype)


def _any_features(users: Sequence[AskedUser], states: Sequence[UserState]) -> bool:
    return any(user.features for user in users) or any(state.features for state in states)


def _histories(recommender: Recommender) -> list[tuple[str, str, int | None]]:
    """Columns of queries that list items' codes or categories, the item column of each, and their largest length.

    A list belongs to the item column with which it shares its domain, as models see it too.
    """
    schema, items = recommender.workflow.output_schema, recommender.catalogue.features
    single = {c.domain.name: c.name for c in schema if c.name in items.columns and c.domain and not c.is_list}
    found = []
    for column in schema:
        if column.is_list and column.domain and column.domain.name in single and column.name not in items.columns:
            count = column.properties.get("value_count") or {}
            found.append((column.name, single[column.domain.name], count.get("max")))
    return found


def _joined(parts: Sequence[Queries], places: Iterable[int]) -> Queries:
    """The queries of all parts, each at its place."""
    if len(parts) == 1:
        return parts[0]
    order = np.argsort(np.fromiter(places, np.int64))
    together = Queries(
        np.concatenate([part.users for part in parts]),
        pl.concat([part.features for part in parts]),
        np.concatenate([part.has_features for part in parts]),
        [seen for part in parts for seen in part.seen],
    )
    return together.select(order)


def _first_context(recommender: Recommender) -> dict[str, Any]:
    """Any context at all, to try features with: what the recommender has, else nulls."""
    return {name: recommender.context.get(name) for name in recommender.raw_context_columns}
