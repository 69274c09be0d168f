"""From what callers give, ids or rows of raw features with a context, to queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from tamis.data.dataset import Dataset
from tamis.errors import SettingError, UnknownColumnError
from tamis.features.workflow import Workflow
from tamis.recommender.audience import Audience
from tamis.recommender.context_codes import ContextCodes
from tamis.recommender.id_rows import Rows
from tamis.recommender.interactions import Interactions
from tamis.recommender.queries import KnownQueries, Queries
from tamis.recommender.query_columns import QueryColumns
from tamis.recommender.raw_encoding import RawEncoding
from tamis.recommender.raw_ids import as_ids
from tamis.recommender.row_values import RowValues
from tamis.recommender.stored_features import with_stored

Asked: TypeAlias = Iterable[Any] | pl.DataFrame | Dataset | Mapping[str, Any]
Context: TypeAlias = Mapping[str, Any] | pl.DataFrame | None


@dataclass(frozen=True)
class Request:
    """One call: raw user ids [n], raw features by column (whole columns) and raw context by column."""

    ids: pl.Series
    features: pl.DataFrame
    context: pl.DataFrame
    by_rows: bool

    def __len__(self) -> int:
        return len(self.ids)

    def slice(self, start: int, length: int) -> Request:
        """Some of the users."""
        features, context = self.features.slice(start, length), self.context.slice(start, length)
        return Request(self.ids.slice(start, length), features, context, by_rows=self.by_rows)


class Requests:
    """Reads what callers give and encodes it with the workflow's own code.

    Args:
        workflow: the whole workflow.
        columns: what queries are made of.
        audience: the known users.
        interactions: what they have seen.
        user_id: the raw user id column.
        defaults: raw context for requests that give none.
        dtypes: of the encoded query columns.
    """

    def __init__(
        self,
        workflow: Workflow,
        columns: QueryColumns,
        audience: Audience,
        interactions: Interactions,
        user_id: str,
        defaults: Mapping[str, Any],
        dtypes: Mapping[str, pl.DataType | None],
    ) -> None:
        self.columns, self.audience, self.interactions, self.user_id = columns, audience, interactions, user_id
        self.defaults, self.dtypes = dict(defaults), dict(dtypes)
        for name in self.defaults:
            if name not in columns.raw_context:
                raise UnknownColumnError(name, columns.raw_context, where="Recommender: context", what="context column")
        self._user_codes = RawEncoding(workflow, columns.raw_user, columns.user)
        self._context_codes = ContextCodes(RawEncoding(workflow, columns.raw_context, columns.context), self.dtypes)
        self._user_values = RowValues(audience.features)
        self.id_dtype = audience.ids.dtype

    def read(self, asked: Asked, context: Context = None) -> Request:
        """What a caller gave, checked.

        Raises:
            SettingError: no list of ids and no rows of features, or a context that is missing or of another length.
            UnknownColumnError: a column that is neither a user's nor the context's.
        """
        rows = _as_rows(asked)
        if rows is None:
            ids = as_ids(asked, self.user_id, self.id_dtype)  # type: ignore[arg-type]
            return Request(ids, pl.DataFrame(), self._context(context, len(ids)), by_rows=False)
        known = (*self.columns.raw_user, self.user_id, *self.columns.raw_context)
        for name in rows.columns:
            if name not in known:
                raise UnknownColumnError(name, known, where="recommend")
        given = rows[self.user_id] if self.user_id in rows.columns else [None] * len(rows)
        ids = as_ids(given, self.user_id, self.id_dtype)
        features = rows.select(name for name in rows.columns if name in self.columns.raw_user and name != self.user_id)
        of_rows = rows.select(name for name in rows.columns if name in self.columns.raw_context)
        return Request(ids, features, self._context(context, len(ids), of_rows), by_rows=features.width > 0)

    def _context(self, context: Context, count: int, of_rows: pl.DataFrame | None = None) -> pl.DataFrame:
        given = context if isinstance(context, pl.DataFrame) else dict(context or {})
        names = given.columns if isinstance(given, pl.DataFrame) else list(given)
        for name in names:
            if name not in self.columns.raw_context:
                raise UnknownColumnError(
                    name, self.columns.raw_context, where="recommend: context", what="context column"
                )
        if isinstance(given, pl.DataFrame) and len(given) != count:
            raise SettingError(f"recommend: the context has {len(given):,} rows for {count:,} users. Give one a user.")
        columns = {} if of_rows is None else {name: of_rows[name] for name in of_rows.columns}
        columns |= {
            name: given[name] if isinstance(given, pl.DataFrame) else _same(given[name], count) for name in names
        }
        for name in self.columns.raw_context:
            if name not in columns:
                columns[name] = _same(self._default(name), count)
        return pl.DataFrame({name: columns[name] for name in self.columns.raw_context})

    def _default(self, name: str) -> Any:
        if name not in self.defaults:
            raise SettingError(
                f"recommend: the context {name!r} is missing, which the models need. Give context={{{name!r}: ...}}, "
                "or a default when building: Recommender(context={...})."
            )
        return self.defaults[name]

    def queries(self, request: Request, stored: pl.DataFrame | None = None) -> Queries:
        """The encoded queries; users have their features of `stored`, see `FeatureStore.rows`, or of the audience."""
        users = self.audience.rows_of(request.ids)
        features, has_features = self._stored(users), users >= 0
        if stored is not None and len(stored):
            features, has_features = with_stored(features, has_features, request.ids, stored)
        if request.by_rows:
            features = self._with_given(features, request, has_features)
            has_features = np.ones(len(users), np.bool_)
        if self.columns.context:
            features = features.hstack(self._context_codes.encode(request.context))
        return Queries(users, features, has_features, self.interactions.history(users))

    def of_users(self, users: Sequence[Any], context: Mapping[str, Any] | None) -> Queries:
        """The queries of a few users by raw id, in the kind that ids have: what servers are asked most.

        Raises:
            SettingError: a context that is missing.
            UnknownColumnError: a context that there is not.
            DataError: a value that its column cannot hold.
        """
        rows = np.array([self.audience.row_of(user) for user in users], np.int64)
        codes = None
        if self.columns.context or context:
            codes = self._context_codes.of_one(context, lambda: self._context(context, 1))

        def features() -> pl.DataFrame:
            stored = self._stored(rows)
            if codes is None or not self.columns.context:
                return stored
            return stored.hstack(codes.frame if len(rows) == 1 else codes.frame[np.zeros(len(rows), np.int64)])

        seen = self.interactions.history(rows)
        if not self._user_values.is_quick or not len(self.audience):
            return Queries(rows, features(), rows >= 0, seen)
        each = [self._user_values.of(max(row, 0)) for row in rows.tolist()]
        if codes is not None and self.columns.context:
            each = [one | codes.values for one in each]
        return KnownQueries(rows, each, features, seen)

    def _stored(self, users: Rows) -> pl.DataFrame:
        """The features of known users; those of others mean nothing."""
        if not len(self.audience):
            return self.audience.features.clear(len(users))
        if len(users) == 1:  # a slice costs a tenth of looking up
            return self.audience.features.slice(max(int(users[0]), 0), 1)
        return self.audience.features[np.maximum(users, 0)]

    def _with_given(
        self, features: pl.DataFrame, request: Request, is_known: np.ndarray[tuple[int], np.dtype[np.bool_]]
    ) -> pl.DataFrame:
        """Stored features of known users, replaced where the request says more; those of others out of the request."""
        given = request.features.with_columns(request.ids.alias(self.user_id))
        missing = [name for name in self.columns.raw_user if name not in given.columns]
        encoded = self._user_codes.encode(given.with_columns(pl.lit(None).alias(name) for name in missing), self.dtypes)
        said = self._user_codes.made_of(set(given.columns))
        known = pl.Series(is_known)
        return features.with_columns(
            encoded[name]
            if name in said
            else (encoded[name] if name in encoded.columns else _unknown(features[name])).zip_with(
                ~known, features[name]
            )
            for name in features.columns
            if name in self.columns.user
        )


def _as_rows(asked: Asked) -> pl.DataFrame | None:
    """What was asked as a frame, if it is rows of features; None if it is a list of ids."""
    if isinstance(asked, Dataset):
        return asked.compute()
    if isinstance(asked, pl.DataFrame):
        return asked
    if isinstance(asked, Mapping):
        return pl.DataFrame([dict(asked)])
    if isinstance(asked, list) and asked and all(isinstance(one, Mapping) for one in asked):
        return pl.DataFrame(asked, infer_schema_length=None)
    if hasattr(asked, "__arrow_c_stream__") and not isinstance(asked, pl.Series):
        return Dataset(asked).compute()
    return None


def _unknown(column: pl.Series) -> pl.Series:
    """What stands for values that no request can give, a history out of the log say: empty lists, or nulls."""
    nothing: list[Any] | None = [] if column.dtype == pl.List else None
    return pl.Series(column.name, [nothing] * len(column), dtype=column.dtype)


def _same(value: Any, count: int) -> pl.Series:
    return pl.Series([value] * count)
