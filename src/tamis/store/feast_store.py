"""Users' features in a Feast online store: one feature view for each bundle, `tamis_<bundle>`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import polars as pl

from tamis.errors import FormatError, MissingExtraError, NotSavableError, SettingError, UnreachableError
from tamis.store.feature_store import ID

_USER, _IS_THERE = "tamis_user", "tamis_is_there"  # the entity and its key; a feature that no user lacks
_AT_ONCE = 1000  # users in one write
_PREFIX = "tamis_"


class FeastStore:
    """A bundle's features in Feast, whatever its online store is.

    Feast keeps to no time of its own: whoever asks must.

    Args:
        repo: the folder of `feature_store.yaml`.
        bundle: the bundle's identity.
        schema: its columns.
        id_dtype: of its raw ids.

    Raises:
        MissingExtraError: the package of `tamis[feast]` is not installed.
        SettingError: no such folder.
        NotSavableError: a column that Feast cannot hold.
    """

    def __init__(self, repo: str | Path, bundle: str, schema: Mapping[str, pl.DataType], id_dtype: pl.DataType) -> None:
        self._feast = _opened(Path(repo).expanduser())
        self._id_dtype, self._schema = id_dtype, dict(schema)
        self._view, self._where, self._bundle = f"{_PREFIX}{bundle}", f"FeastStore({repo})", bundle
        self._types = {name: _feast_type(dtype, name, self._where) for name, dtype in schema.items()}

    def rows(self, ids: pl.Series) -> pl.DataFrame:
        """What Feast has of these users; see `FeatureStore.rows`."""
        asked = [one for one in ids.to_list() if one is not None]
        found = self._asked(asked) if asked else {name: [] for name in (*self._schema, _IS_THERE)}
        there = found[_IS_THERE]

        def kept(values: list[Any]) -> list[Any]:
            return [value for value, is_there in zip(values, there, strict=True) if is_there]

        features = [pl.Series(name, kept(found[name]), dtype=dtype) for name, dtype in self._schema.items()]
        return pl.DataFrame([pl.Series(ID, kept(asked), dtype=self._id_dtype), *features])

    def _asked(self, ids: list[Any]) -> dict[str, list[Any]]:
        names = [f"{self._view}:{name}" for name in (*self._schema, _IS_THERE)]
        with self._telling():
            answer: dict[str, list[Any]] = self._feast.get_online_features(names, {_USER: ids}).to_dict()
        return answer

    def ping(self) -> None:
        """See that the online store answers.

        Raises:
            UnreachableError: it does not.
        """
        nobody = "" if self._id_dtype == pl.String else 0
        try:
            self._asked([nobody])
        except FormatError:  # it answers that it does not have this bundle
            return

    def push(
        self, ids: pl.Series, features: pl.DataFrame, *, keep: int = 2, pushed: Callable[[int], None] | None = None
    ) -> None:
        """Register the bundle's view and write users' features into the online store; see `RedisStore.push`."""
        if keep < 1:
            raise SettingError(f"push: keep is {keep}. Keep 1 bundle or more.")
        with self._telling():
            self._register()
            for start in range(0, len(ids), _AT_ONCE):
                some = features.slice(start, _AT_ONCE)
                now = [datetime.now(UTC)] * len(some)
                inputs = {_USER: ids.slice(start, _AT_ONCE).to_list(), "event_timestamp": now, "created": now}
                inputs |= {_IS_THERE: [True] * len(some)} | {name: some[name].to_list() for name in self._schema}
                self._feast.write_to_online_store(self._view, inputs=inputs)
                if pushed is not None:
                    pushed(len(some))
            self._forget_old(keep)

    def _register(self) -> None:
        from feast import Entity, FeatureView, Field, FileSource, PushSource, ValueType
        from feast.types import Bool

        kind = ValueType.STRING if self._id_dtype == pl.String else ValueType.INT64
        user = Entity(name=_USER, join_keys=[_USER], value_type=kind)
        nothing = FileSource(name=f"{self._view}_batch", path="none.parquet", timestamp_field="event_timestamp")
        fields = [Field(name=name, dtype=dtype) for name, dtype in self._types.items()]
        view = FeatureView(
            name=self._view,
            entities=[user],
            ttl=timedelta(0),  # it is as long as the bundle is
            schema=[*fields, Field(name=_IS_THERE, dtype=Bool)],
            source=PushSource(name=f"{self._view}_push", batch_source=nothing),
            online=True,
        )
        self._feast.apply([user, view])

    def _forget_old(self, keep: int) -> None:
        views = [one for one in self._feast.list_feature_views() if one.name.startswith(_PREFIX)]
        views.sort(key=lambda one: (one.name == self._view, one.last_updated_timestamp))
        if views[:-keep]:
            self._feast.apply([], objects_to_delete=views[:-keep], partial=False)

    def close(self) -> None:
        """Nothing is kept open here; Feast keeps its connections."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Any error of Feast or of what lies behind it in our words."""
        from feast.errors import FeatureViewNotFoundException

        try:
            yield
        except FeatureViewNotFoundException as error:
            self._feast.refresh_registry()  # somebody may push it
            raise FormatError(
                f"{self._where}: it holds no features of the bundle {self._bundle}. Run: tamis push BUNDLE --to URL."
            ) from error
        except Exception as error:  # which kinds there are depends on the online store
            raise UnreachableError(
                f"{self._where}: it does not answer ({error!r}). See that its store runs."
            ) from error


def _opened(repo: Path) -> Any:
    try:
        from feast import FeatureStore
    except ImportError as error:
        raise MissingExtraError("feast", "feast", where="FeastStore") from error
    if not (repo / "feature_store.yaml").is_file():
        raise SettingError(f"FeastStore: {repo} has no feature_store.yaml. Give the folder of a Feast repository.")
    return FeatureStore(repo_path=str(repo))


def _feast_type(dtype: pl.DataType, name: str, where: str) -> Any:
    from feast import types

    if isinstance(dtype, pl.List | pl.Array):
        return types.Array(_feast_type(dtype.inner, name, where))  # type: ignore[arg-type]
    if dtype.is_integer():
        return types.Int64
    plain = {pl.Float32: types.Float32, pl.Float64: types.Float64, pl.Boolean: types.Bool, pl.String: types.String}
    found = plain.get(type(dtype))
    if found is None:
        raise NotSavableError(f"{where}: {name!r} holds {dtype}, which Feast does not. Cast it to numbers.")
    return found
