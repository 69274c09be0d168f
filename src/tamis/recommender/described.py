"""Filters and steps of ordering as JSON and back: their kind and their settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from tamis.errors import FormatError, TamisError, UnknownNameError
from tamis.features.settings import from_json, to_json

KIND = "kind"


class Described:
    """A frozen dataclass whose fields are all there is to it.

    A direct subclass is a family, filters say; it has `kinds`, and the classes below it are known there by name.
    """

    kinds: ClassVar[dict[str, type[Any]]]

    def __init_subclass__(cls) -> None:
        if Described in cls.__bases__:
            cls.kinds = {}
        elif not cls.__name__.startswith("_"):
            cls.kinds[cls.__name__] = cls

    def describe(self) -> dict[str, Any]:
        """The kind and the settings, as JSON can hold them.

        Raises:
            NotSavableError: a setting is something else.
        """
        name = type(self).__name__
        assert dataclasses.is_dataclass(self)
        settings = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {KIND: name} | {key: to_json(value, where=f"{name}: {key}") for key, value in settings.items()}

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Self:
        """What `describe` was asked of.

        Raises:
            UnknownNameError: there is no such kind.
            FormatError: the settings do not fit it.
        """
        settings = dict(description)
        kind = settings.pop(KIND, None)
        family = cls.__name__.lower()
        if kind not in cls.kinds:
            raise UnknownNameError(str(kind), cls.kinds, where="Recommender", what=family)
        try:
            found: Self = cls.kinds[kind](**{key: from_json(value, kind) for key, value in settings.items()})
        except TamisError:
            raise
        except (TypeError, ValueError, AttributeError) as error:
            raise FormatError(f"{kind}: the settings {settings!r} do not fit ({error}). Save it again.") from error
        return found
