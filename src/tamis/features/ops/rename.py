"""Other names for columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from tamis.errors import SettingError, UnknownColumnError
from tamis.features.ops.op import ColumnOp, Learned
from tamis.schema import ColumnSchema, Schema


@dataclass(frozen=True)
class Rename(ColumnOp):
    """Give columns another name: by a function of the name, a postfix, one new name, or a dict of names.

    With a function the workflow cannot be saved: use `names` then. The domain keeps its name, so that columns that
    shared an embedding table still do.

    Raises:
        SettingError: not exactly one way is given, or one name is given for several columns.
    """

    by_column: ClassVar[tuple[str, ...]] = ("names",)

    f: Callable[[str], str] | None = None
    postfix: str | None = None
    name: str | None = None
    names: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        given = [way for way in (self.f, self.postfix, self.name, self.names) if way is not None]
        if len(given) != 1:
            raise SettingError(f"Rename: {len(given)} ways to rename are given. Give one of f, postfix, name, names.")

    def check(self, columns: Schema) -> None:
        """Refuse one name for several columns, and names of columns that are not there."""
        if self.name is not None and len(columns) != 1:
            raise SettingError(f"Rename: name={self.name!r} is for one column, here are {len(columns)}. Use names.")
        for name in self.names or ():
            if name not in columns:
                raise UnknownColumnError(name, columns.column_names, where="Rename")

    def describe(self, column: ColumnSchema, learned: Learned) -> ColumnSchema:
        """The column under its new name."""
        return column.with_name(self._new(column.name))

    def _new(self, name: str) -> str:
        if self.f is not None:
            return self.f(name)
        if self.names is not None:
            return self.names.get(name, name)
        return self.name if self.name is not None else f"{name}{self.postfix}"
