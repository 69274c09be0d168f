"""What a server can be told: by the command line, before the environment, before a file, before the defaults."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tamis.errors import FormatError, SettingError
from tamis.store.redis_store import without_password

PREFIX = "TAMIS_"
_LISTS = ("cors_origins",)


class ServingSettings(BaseModel):
    """All settings of a server, with their defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: Annotated[str, Field(description="Address to listen on; by default only for this machine.")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="0 takes a free one.")] = 8000
    workers: Annotated[int, Field(ge=1, le=256, description="Processes.")] = 1
    threads: Annotated[
        int, Field(ge=1, le=256, description="Requests at work at once in each process, besides short ones.")
    ] = 2
    queue: Annotated[int, Field(ge=0, le=10_000, description="Requests that may wait in each process.")] = 32
    timeout_ms: Annotated[float, Field(gt=0, description="Time for an answer, where a request says nothing.")] = 100.0
    max_timeout_ms: Annotated[float, Field(gt=0, description="The most that a request may ask for.")] = 10_000.0
    max_body_bytes: Annotated[int, Field(ge=1024, description="Larger requests are refused.")] = 1_000_000
    num_ranked: Annotated[int | None, Field(ge=1, description="Candidates that are ranked; by default all.")] = None
    runtime: Annotated[
        str, Field(pattern="^(auto|onnx|torch)$", description="What runs the models; onnx where the bundle has it.")
    ] = "auto"
    store: Annotated[
        str | None, Field(description="Users' features: redis://HOST:PORT/0, feast:FOLDER; or the bundle's.")
    ] = None
    store_timeout_ms: Annotated[float, Field(gt=0, description="Then the bundle's features are taken.")] = 20.0
    index: Annotated[str | None, Field(description="Items' vectors: qdrant://HOST:PORT; by default the bundle's.")] = (
        None
    )
    index_timeout_ms: Annotated[float, Field(gt=0, description="Then answers do without these candidates.")] = 50.0
    index_api_key: Annotated[str | None, Field(description="Of Qdrant.")] = None
    state: Annotated[str | None, Field(description="Folder for updates; 'none' takes no updates.")] = None
    max_updates_mb: Annotated[float | None, Field(gt=0, description="The most that updates may take.")] = None
    event_days: Annotated[float, Field(gt=0, description="Events older than this are dropped at the start.")] = 90.0
    shadow_share: Annotated[float, Field(ge=0, le=1, description="Of the requests, for a shadow version.")] = 0.1
    api_key: Annotated[str | None, Field(min_length=8, description="Asked of every request but the probes.")] = None
    page: Annotated[bool, Field(description="The page at /, and what only it asks for.")] = True
    cors_origins: Annotated[tuple[str, ...], Field(description="Web pages that may call, by origin.")] = ()
    log_level: Annotated[
        str, Field(pattern="^(debug|info|warning|error)$", description="debug, info, warning or error.")
    ] = "info"
    log_requests: Annotated[bool, Field(description="A line for each request.")] = True
    grace_s: Annotated[float, Field(ge=0, description="How long requests may take to end at a shutdown.")] = 10.0

    def shown(self) -> dict[str, Any]:
        """The settings to print: no key or password is among them."""
        secrets = {name: "***" for name in ("api_key", "index_api_key") if getattr(self, name) is not None}
        return {**self.model_dump(), **secrets, "store": None if self.store is None else without_password(self.store)}


def read_settings(
    given: Mapping[str, Any] | None = None,
    *,
    file: str | Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> ServingSettings:
    """The settings out of all places.

    Args:
        given: what the command line says; None stands for nothing.
        file: TOML, with the settings at its top or in a table `serve`.
        environment: by default the process's; `TAMIS_PORT` is `port`, a list is separated by commas.

    Raises:
        FormatError: the file is no TOML.
        SettingError: a setting that there is not, or out of its range, and where it stands.
    """
    places = [
        (str(file), {} if file is None else _in_file(Path(file))),
        ("environment", _in_environment(os.environ if environment is None else environment)),
        ("command line", {name: value for name, value in (given or {}).items() if value is not None}),
    ]
    found: dict[str, Any] = {}
    for where, settings in places:
        _check(settings, where)
        found |= settings
    return ServingSettings(**found)


def _check(settings: Mapping[str, Any], where: str) -> None:
    try:
        ServingSettings(**settings)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        known = ", ".join(ServingSettings.model_fields)
        more = f" There are {known}." if first["type"] == "extra_forbidden" else ""
        raise SettingError(f"{where}: {name} is {first['input']!r}: {first['msg']}.{more}") from error


def _in_file(file: Path) -> dict[str, Any]:
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{file}: it cannot be read as TOML ({error}). Correct it, or give another file.") from error
    table = found.get("serve", found)
    return dict(table) if isinstance(table, dict) else {"serve": table}


def _in_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ServingSettings.model_fields:
        value = environment.get(PREFIX + name.upper())
        if value is not None and value != "":
            found[name] = tuple(one.strip() for one in value.split(",")) if name in _LISTS else value
    return found


def pairs(given: Iterable[str]) -> dict[str, Any]:
    """Settings given as `name=value`.

    Raises:
        SettingError: one without an equals sign.
    """
    found: dict[str, Any] = {}
    for one in given:
        name, sign, value = one.partition("=")
        if not sign:
            raise SettingError(f"command line: --set got {one!r}. Give name=value.")
        found[name] = tuple(value.split(",")) if name in _LISTS else value
    return found
