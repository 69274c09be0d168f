"""TOML tables as frozen dataclasses, each key and type checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_origin, get_type_hints

from tamis.errors import SettingError, UnknownNameError


def read_table(kind: type[Any], content: Mapping[str, Any], where: str) -> Any:
    """The dataclass of a TOML table; fields that are dataclasses are tables in it.

    Raises:
        UnknownNameError: a key that is no field, with the nearest one.
        SettingError: a key that is missing, or a value of the wrong type.
    """
    hints = get_type_hints(kind)
    for name in content:
        if name not in hints:
            raise UnknownNameError(name, hints, where=where, what="key")
    values: dict[str, Any] = {}
    for name, value in content.items():
        place = f"{where}: {name}"
        if is_dataclass(hints[name]):
            if not isinstance(value, dict):
                raise SettingError(f"{place} is {value!r}. Make it a table: [{name}].")
            values[name] = read_table(hints[name], value, f"{where} [{name}]")
        else:
            values[name] = typed(value, hints[name], place)
    for one in fields(kind):
        if one.default is one.default_factory is MISSING and one.name not in values:
            raise SettingError(f"{where}: {one.name} is missing. Add it; examples/movielens.toml shows how.")
    return kind(**values)


def typed(value: Any, hint: Any, place: str) -> Any:
    """A value out of TOML as a field of this type holds it.

    Raises:
        SettingError: it is of another type.
    """
    hint = float if hint == float | None else hint  # nothing is the absence of the key, TOML has no null
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    for listed, member in ((tuple[str, ...], str), (tuple[int, ...], int)):
        if hint == listed:
            if not isinstance(value, list) or not all(type(one) is member for one in value):
                raise SettingError(f"{place} is {value!r}. Give a list of {member.__name__} values.")
            return tuple(value)
    if get_origin(hint) is dict:
        if not isinstance(value, dict):
            raise SettingError(f"{place} is {value!r}. Make it a table.")
        return value
    if type(value) is not hint:
        raise SettingError(f"{place} is {value!r}, a {type(value).__name__}. Give a {hint.__name__}.")
    return value
