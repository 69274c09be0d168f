"""What a load test asks: bodies out of a file, or one user each, out of a bundle or a list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson

from tamis.errors import FormatError, SettingError
from tamis.folders import MANIFEST
from tamis.recommender.audience import Audience
from tamis.serving.published import PublishedPlace

MOST = 100_000  # different bodies; after the last, the first comes again
_UNKNOWN = "nobody-in-particular"


def bodies_of_users(users: list[Any], k: int, more: dict[str, Any] | None = None) -> list[bytes]:
    """One body for each user; `more` are further fields of each request."""
    return [orjson.dumps({"users": [user], "k": k, **(more or {})}) for user in users]


def bodies_in(file: Path) -> list[bytes]:
    """The lines of a file, each a request in JSON.

    Raises:
        FormatError: it cannot be read, or a line is no JSON object.
    """
    try:
        lines = [line for line in file.read_bytes().splitlines() if line.strip()][:MOST]
    except OSError as error:
        raise FormatError(
            f"{file}: it cannot be read ({error}). Give a file with a request as JSON in each line."
        ) from error
    for number, line in enumerate(lines, 1):
        try:
            is_object = isinstance(orjson.loads(line), dict)
        except orjson.JSONDecodeError:
            is_object = False
        if not is_object:
            raise FormatError(f"{file}: line {number} is no JSON object: {line[:60]!r}. Give a request in each line.")
    if not lines:
        raise FormatError(f"{file}: it is empty. Give a request as JSON in each line.")
    return lines


def users_in(bundle: Path, *, seed: int) -> list[Any]:
    """Users that a bundle knows, in random order; of a published place, those of its current version.

    Raises:
        SettingError: there is no bundle.
    """
    place = PublishedPlace(bundle)
    folder = place.path_of(place.read().current) if place.exists else place.folder
    if not (folder / MANIFEST).is_file():
        raise SettingError(
            f"loadtest: {bundle} is no bundle, so it has no users to ask for. Give the folder that is served."
        )
    ids = Audience.load(folder).ids
    if not len(ids):
        return [_UNKNOWN]
    return ids.gather(np.random.default_rng(seed).permutation(len(ids))[:MOST]).to_list()


def questions(
    *, bundle: Path | None, users: list[str], bodies: Path | None, k: int, fields: str | None, seed: int
) -> list[bytes]:
    """The bodies, by what the command line says; without anything, of somebody who is not known.

    Raises:
        SettingError: more than one of bundle, users and bodies; fields that are no JSON object.
        FormatError: as `bodies_in`.
    """
    if (bundle is not None) + bool(users) + (bodies is not None) > 1:
        raise SettingError("loadtest: give one of --bundle, --user and --bodies, as each says what to ask.")
    if bodies is not None:
        return bodies_in(bodies)
    known = users_in(bundle, seed=seed) if bundle is not None else list(users) or [_UNKNOWN]
    return bodies_of_users(known, k, _fields(fields))


def _fields(text: str | None) -> dict[str, Any]:
    try:
        found = {} if text is None else orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise SettingError(
            f"loadtest: --fields is no JSON ({error}). Give an object such as '{{\"num_ranked\": 50}}'."
        ) from error
    if not isinstance(found, dict):
        raise SettingError(f"loadtest: --fields is {text}, no JSON object. Give one such as '{{\"num_ranked\": 50}}'.")
    return found
