"""Users' features in Redis: one hash for each bundle, in it one JSON object for each user.

tamis:bundles                  the bundles that were pushed, the latest first
tamis:<bundle>:schema          the columns and their types; written last, so that it says that all is there
tamis:<bundle>:users           raw id -> {"column": value, ...}, encoded as the bundle's models take them
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from tamis.errors import FormatError, MissingExtraError, NotSavableError, SettingError, UnreachableError
from tamis.store.feature_store import ID

if TYPE_CHECKING:
    from redis import Redis

_BUNDLES = "tamis:bundles"
_AT_ONCE = 1000  # users in one command of a push


class RedisStore:
    """A bundle's features in Redis.

    Args:
        url: `redis://host:6379/0`, `rediss://` for TLS, `unix://` for a socket.
        bundle: the bundle's identity.
        schema: its columns.
        id_dtype: of its raw ids.
        timeout_s: for a connection, and for an answer.

    Raises:
        MissingExtraError: the package of `tamis[redis]` is not installed.
        SettingError: no such URL.
    """

    def __init__(
        self,
        url: str,
        bundle: str,
        schema: Mapping[str, pl.DataType],
        id_dtype: pl.DataType,
        *,
        timeout_s: float = 0.02,
    ) -> None:
        self._redis = _connect(url, timeout_s)
        self._id_dtype, self._schema = id_dtype, dict(schema)
        self._schema_key, self._users_key = f"tamis:{bundle}:schema", f"tamis:{bundle}:users"
        self._bundle, self._where = bundle, f"RedisStore({without_password(url)})"

    def rows(self, ids: pl.Series) -> pl.DataFrame:
        """What Redis has of these users; see `FeatureStore.rows`."""
        asked = [one for one in ids.to_list() if one is not None]
        if not asked:
            return self._frame([], [])
        with self._telling():
            found: list[Any] = self._redis.hmget(self._users_key, [str(one) for one in asked])
            if not any(found) and not self._redis.exists(self._schema_key):
                raise FormatError(
                    f"{self._where}: it holds no features of the bundle {self._bundle}. "
                    "Run: tamis push BUNDLE --to URL."
                )
        pairs = [(one, value) for one, value in zip(asked, found, strict=True) if value is not None]
        return self._frame([one for one, _ in pairs], [value for _, value in pairs])

    def _frame(self, ids: list[Any], values: list[bytes]) -> pl.DataFrame:
        try:
            rows = [json.loads(value) for value in values]
            columns = {name: [row[name] for row in rows] for name in self._schema}
            features = [pl.Series(name, of_all, dtype=self._schema[name]) for name, of_all in columns.items()]
        except (ValueError, TypeError, KeyError, OverflowError, pl.exceptions.PolarsError) as error:
            raise FormatError(
                f"{self._where}: what is kept of one of the users {ids[:3]} does not fit the bundle {self._bundle} "
                f"({error!r}). Push the bundle again."
            ) from error
        return pl.DataFrame([pl.Series(ID, ids, dtype=self._id_dtype), *features])

    def ping(self) -> None:
        """See that Redis answers.

        Raises:
            UnreachableError: it does not.
        """
        with self._telling():
            self._redis.ping()

    def push(
        self, ids: pl.Series, features: pl.DataFrame, *, keep: int = 2, pushed: Callable[[int], None] | None = None
    ) -> None:
        """Write users' features, in place of those that this bundle had here.

        Args:
            ids: raw, distinct.
            features: of each, in the columns of the schema.
            keep: how many bundles stay, this one included; those that were pushed longest ago go.
            pushed: told how many more users are there, every now and then.

        Raises:
            NotSavableError: a column that JSON cannot hold.
            UnreachableError: Redis does not answer.
        """
        if keep < 1:
            raise SettingError(f"push: keep is {keep}. Keep 1 bundle or more.")
        for name, dtype in features.schema.items():
            if not _is_plain(dtype):
                raise NotSavableError(
                    f"{self._where}: {name!r} holds {dtype}, which JSON does not. Cast it to numbers."
                )
        with self._telling():
            self._redis.delete(self._schema_key)
            self._redis.unlink(self._users_key)
            for start in range(0, len(ids), _AT_ONCE):
                names = [str(one) for one in ids.slice(start, _AT_ONCE).to_list()]
                values = [json.dumps(row) for row in features.slice(start, _AT_ONCE).iter_rows(named=True)]
                self._redis.hset(self._users_key, mapping=dict(zip(names, values, strict=True)))
                if pushed is not None:
                    pushed(len(names))
            self._redis.set(self._schema_key, json.dumps({name: str(dtype) for name, dtype in features.schema.items()}))
            self._forget_old(keep)

    def _forget_old(self, keep: int) -> None:
        self._redis.lrem(_BUNDLES, 0, self._bundle)
        self._redis.lpush(_BUNDLES, self._bundle)
        old: list[Any] = self._redis.lrange(_BUNDLES, keep, -1)
        for name in (one.decode() for one in old):
            self._redis.unlink(f"tamis:{name}:schema", f"tamis:{name}:users")
        self._redis.ltrim(_BUNDLES, 0, keep - 1)

    def close(self) -> None:
        """Let go of the connections."""
        with suppress(OSError):
            self._redis.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """An error of the connection in our words."""
        from redis.exceptions import RedisError

        try:
            yield
        except (RedisError, OSError) as error:
            raise UnreachableError(
                f"{self._where}: it does not answer ({error}). See that Redis runs there."
            ) from error


def _connect(url: str, timeout_s: float) -> Redis:
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise MissingExtraError("redis", "redis", where="RedisStore") from error
    try:
        return Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),  # a request has no time for a second try
        )
    except ValueError as error:
        raise SettingError(f"RedisStore: {without_password(url)!r} is no URL of Redis ({error}).") from error


def without_password(url: str) -> str:
    """A URL that may be shown."""
    before, sign, after = url.rpartition("@")
    scheme, slashes, user = before.partition("://")
    return f"{scheme}{slashes}{user.partition(':')[0]}:***@{after}" if sign and ":" in user else url


def _is_plain(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.List | pl.Array):
        return _is_plain(dtype.inner)  # type: ignore[arg-type]
    return dtype.is_numeric() or dtype in (pl.Boolean, pl.String)
