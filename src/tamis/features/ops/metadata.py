"""Say what columns are, without touching their values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tamis.features.ops.op import ColumnOp, Learned
from tamis.schema import ColumnSchema, Tags


@dataclass(frozen=True)
class AddMetadata(ColumnOp):
    """Add tags and properties. Tags that exclude the new ones (continuous by categorical) are replaced.

    Raises:
        SchemaError: two of the new tags exclude each other.
    """

    tags: str | Iterable[str] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tags = (self.tags,) if isinstance(self.tags, str) else self.tags
        object.__setattr__(self, "tags", tuple(sorted(str(tag) for tag in tags)))
        ColumnSchema(type(self).__name__, tags=frozenset(self.tags))  # refuses tags that exclude each other

    def describe(self, column: ColumnSchema, learned: Learned) -> ColumnSchema:
        """The column with the tags and properties added."""
        return column.with_tags(self.tags).with_properties(self.properties)


@dataclass(frozen=True)
class AddTags(AddMetadata):
    """Add tags: `AddTags([Tags.ITEM])`."""


@dataclass(frozen=True)
class AddProperties(AddMetadata):
    """Add properties: `AddProperties(properties={"unit": "s"})`."""


@dataclass(frozen=True)
class TagAsUserID(AddMetadata):
    """Say that a column is the user's id."""

    tags: str | Iterable[str] = (Tags.USER_ID,)


@dataclass(frozen=True)
class TagAsItemID(AddMetadata):
    """Say that a column is the item's id."""

    tags: str | Iterable[str] = (Tags.ITEM_ID,)


@dataclass(frozen=True)
class TagAsUserFeatures(AddMetadata):
    """Say that columns describe the user."""

    tags: str | Iterable[str] = (Tags.USER,)


@dataclass(frozen=True)
class TagAsItemFeatures(AddMetadata):
    """Say that columns describe the item."""

    tags: str | Iterable[str] = (Tags.ITEM,)
