"""What every model is: something with a schema and settings that learns, and comes back from a folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

from tamis.errors import FormatError
from tamis.folders import read_json, read_manifest, saving, write_json
from tamis.schema import Schema

KIND = "model"
VERSION = 1


class Model(ABC):
    """What was learned, with its schema, its settings and what `compile` chose."""

    registry: ClassVar[dict[str, type[Model]]] = {}
    schema: Schema

    def __init_subclass__(cls) -> None:
        Model.registry[cls.__name__] = cls

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The constructor's arguments besides the schema, as JSON can hold them."""

    @classmethod
    @abstractmethod
    def from_settings(cls, schema: Schema, settings: dict[str, Any]) -> Self:
        """The model that `settings` described, untrained."""

    @abstractmethod
    def compiled(self) -> dict[str, Any]:
        """What `compile` chose, as JSON can hold it."""

    @abstractmethod
    def compile_as(self, compiled: dict[str, Any]) -> None:
        """Choose again what `compiled` described."""

    @abstractmethod
    def save_learned(self, folder: Path) -> None:
        """Write what `fit` learned: weights, or trees."""

    @abstractmethod
    def load_learned(self, folder: Path) -> None:
        """Read what `save_learned` wrote."""

    def save_parts(self, folder: Path) -> None:  # noqa: B027 # a model may have nothing else
        """Write whatever the model knows besides what it learned."""

    def load_parts(self, folder: Path) -> None:  # noqa: B027
        """Read what `save_parts` wrote."""

    def save(self, path: str | Path) -> None:
        """Write the model as a folder: schema, settings, what `compile` chose, what `fit` learned.

        Metrics of your own are not among it: compile again after `load`.

        Raises:
            NotFittedError: a retrieval model that knows no items yet, or a model of trees that has none.
        """
        with saving(path, kind=KIND, version=VERSION, model=type(self).__name__) as folder:
            write_json(folder / "settings.json", self.settings())
            write_json(folder / "compiled.json", self.compiled())
            self.schema.save(folder)
            self.save_learned(folder)
            self.save_parts(folder)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            FormatError: no such folder, another kind, changed files, or a newer version.
        """
        folder = Path(path)
        manifest = read_manifest(folder, kind=KIND, version=VERSION)
        kind = Model.registry.get(manifest["model"])
        if kind is None:
            raise FormatError(
                f"{folder}: it holds a {manifest['model']!r}, which this Tamis does not know. Upgrade it."
            )
        if not issubclass(kind, cls):
            raise FormatError(f"{folder}: it holds a {kind.__name__}, no {cls.__name__}. Use tamis.load_model.")
        model = kind.from_settings(Schema.load(folder), read_json(folder / "settings.json"))
        model.compile_as(read_json(folder / "compiled.json"))
        model.load_learned(folder)
        model.load_parts(folder)
        return model
