"""What a column is: dtype, list or not, tags, domain. Travels with the data, the model and the server."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from enum import StrEnum
from numbers import Real
from pathlib import Path
from typing import Any, overload

from tamis.errors import FormatError, NotSavableError, SchemaError, UnknownColumnError
from tamis.folders import read_json

SCHEMA_FILE = "schema.json"
_VERSION = 1


class Tags(StrEnum):
    """What a column means. A column may carry several; free strings are tags too."""

    CATEGORICAL = "categorical"
    CONTINUOUS = "continuous"
    LIST = "list"
    SEQUENCE = "sequence"
    TEXT = "text"
    TOKENIZED = "tokenized"
    TIME = "time"
    EMBEDDING = "embedding"
    ID = "id"
    USER = "user"
    ITEM = "item"
    SESSION = "session"
    CONTEXT = "context"
    TARGET = "target"
    REGRESSION = "regression"
    CLASSIFICATION = "classification"
    BINARY = "binary"
    MULTI_CLASS = "multi_class"
    USER_ID = "user_id"
    ITEM_ID = "item_id"
    SESSION_ID = "session_id"
    BINARY_CLASSIFICATION = "binary_classification"
    MULTI_CLASS_CLASSIFICATION = "multi_class_classification"


# A compound tag and its parts come together: one implies the others. So a selection by tag is plain membership.
_PARTS: dict[str, frozenset[str]] = {
    Tags.USER_ID: frozenset({Tags.USER, Tags.ID}),
    Tags.ITEM_ID: frozenset({Tags.ITEM, Tags.ID}),
    Tags.SESSION_ID: frozenset({Tags.SESSION, Tags.ID}),
    Tags.BINARY_CLASSIFICATION: frozenset({Tags.BINARY, Tags.CLASSIFICATION}),
    Tags.MULTI_CLASS_CLASSIFICATION: frozenset({Tags.MULTI_CLASS, Tags.CLASSIFICATION}),
}
_COLLIDING: dict[str, frozenset[str]] = {
    Tags.CATEGORICAL: frozenset({Tags.CONTINUOUS, Tags.EMBEDDING}),
    Tags.CONTINUOUS: frozenset({Tags.CATEGORICAL, Tags.EMBEDDING, Tags.ID}),
    Tags.EMBEDDING: frozenset({Tags.CATEGORICAL, Tags.CONTINUOUS, Tags.ID}),
}


_DTYPE_NAMES = {
    "int": "int64",
    "float": "float64",
    "double": "float64",
    "str": "string",
    "str_": "string",
    "large_string": "string",
    "string_view": "string",
    "utf8": "string",
    "bool": "boolean",
}


@dataclass(frozen=True)
class Domain:
    """The values a column may hold: `min` to `max`, both included. Columns of one `name` share an embedding table."""

    min: float
    max: float
    name: str


@dataclass(frozen=True)
class ColumnSchema:
    """One column: name, dtype of its values (`"int64"`, `"string"`), list or not, tags, properties.

    `dtype` may be given as a string, a Polars, NumPy or Python type; it is kept as a lower-case string. Properties are
    anything JSON can hold, and are copied; `properties["domain"]` is `{"min", "max", "name"}`, and a column of vectors
    (a Polars array) has its `properties["width"]`.

    Raises:
        SchemaError: two of the tags exclude each other; a domain without `max`, or with one below `min`.
    """

    name: str
    dtype: str = "int64"
    tags: frozenset[str] = frozenset()
    is_list: bool = False
    properties: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        dtype, is_list = _plain_dtype(self.dtype)
        properties = deepcopy(dict(self.properties))
        if not isinstance(self.dtype, str):  # a type says whether all lists are of one length
            properties.pop("width", None)
            properties |= {"width": self.dtype.size} if hasattr(self.dtype, "size") and is_list else {}
        object.__setattr__(self, "properties", properties)
        object.__setattr__(self, "dtype", dtype)
        object.__setattr__(self, "is_list", self.is_list or is_list)
        object.__setattr__(self, "tags", _complete_tags(self.tags, self.name))
        _check_domain(self.properties.get("domain"), self.name)

    def __hash__(self) -> int:
        return hash((self.name, self.dtype, self.tags, self.is_list))

    @property
    def domain(self) -> Domain | None:
        """The values the column may hold, where known."""
        found = self.properties.get("domain")
        if found is None:
            return None
        return Domain(found.get("min", 0), found["max"], found.get("name") or self.name)

    @property
    def width(self) -> int | None:
        """Length of the column's vectors; None where it holds single values, or lists of any length."""
        found: int | None = self.properties.get("width")
        return found

    @property
    def cardinality(self) -> int | None:
        """Number of codes, padding and null included: `domain.max + 1`. None where no domain is known."""
        return None if self.domain is None else int(self.domain.max) + 1

    def has_tag(self, tag: str) -> bool:
        """Whether the column carries the tag."""
        return str(tag).lower() in self.tags

    def with_name(self, name: str) -> ColumnSchema:
        """The same column under another name."""
        return replace(self, name=name)

    def with_dtype(self, dtype: Any, *, is_list: bool | None = None) -> ColumnSchema:
        """The same column with another dtype; a list type makes it a list, whatever `is_list` says."""
        return replace(self, dtype=dtype, is_list=self.is_list if is_list is None else is_list)

    def with_tags(self, tags: str | Iterable[str]) -> ColumnSchema:
        """The same column with these tags added. Tags that the new ones exclude are dropped."""
        new = _complete_tags(tags, self.name)
        excluded = frozenset().union(*(_COLLIDING.get(tag, frozenset()) for tag in new))
        excluded |= {compound for compound, parts in _PARTS.items() if parts & excluded}
        return replace(self, tags=(self.tags - excluded) | new)

    def with_properties(self, properties: Mapping[str, Any]) -> ColumnSchema:
        """The same column with these properties added or replaced."""
        return replace(self, properties={**self.properties, **properties})

    def with_domain(self, max: float, *, min: float = 0, name: str | None = None) -> ColumnSchema:
        """The same column holding values from `min` to `max`, both included."""
        return self.with_properties({"domain": {"min": min, "max": max, "name": name or self.name}})

    def to_dict(self) -> dict[str, Any]:
        """What JSON holds of the column."""
        return {
            "name": self.name,
            "dtype": self.dtype,
            "is_list": self.is_list,
            "tags": sorted(self.tags),
            "properties": deepcopy(dict(self.properties)),
        }


def _plain_dtype(dtype: Any) -> tuple[str, bool]:
    inner = getattr(dtype, "inner", None)
    if inner is not None and not isinstance(dtype, type):  # a Polars list or array
        return _plain_dtype(inner)[0], True
    # Arrow calls its float32 "float", which for everybody else is Python's type of 64 bits.
    if type(dtype).__module__.startswith("pyarrow") and str(dtype) == "float":
        return "float32", False
    name = str(dtype.__name__ if isinstance(dtype, type) else dtype).lower()
    if name in ("list", "array"):
        raise SchemaError(f"ColumnSchema: the dtype {name!r} lacks the type of its values. Give that, with is_list.")
    return _DTYPE_NAMES.get(name, name), False


def _check_domain(domain: Any, name: str) -> None:
    if domain is None:
        return
    known = isinstance(domain, Mapping) and isinstance(domain.get("max"), Real)
    if not known or not domain.get("min", 0) <= domain["max"]:
        raise SchemaError(
            f"column {name!r}: the domain {domain!r} has no `max`, or one below its `min`. "
            'Give {"min": 0, "max": the largest value, "name": ...}.'
        )


def _complete_tags(tags: str | Iterable[str], name: str) -> frozenset[str]:
    given = [tags] if isinstance(tags, str) else tags
    complete = {_as_tag(tag) for tag in given}
    for compound, parts in _PARTS.items():
        if compound in complete:
            complete |= parts
        elif parts <= complete:
            complete.add(_as_tag(compound))
    for tag in complete:
        clash = sorted(_COLLIDING.get(tag, frozenset()) & complete)
        if clash:
            raise SchemaError(f"column {name!r}: the tags {str(tag)!r} and {clash[0]!s} exclude each other. Drop one.")
    return frozenset(complete)


def _as_tag(tag: str) -> str:
    text = str(tag).lower()
    return Tags(text) if text in Tags._value2member_map_ else text


class Schema:
    """Columns in order, selectable by name and tag.

    `schema["a"]` is a ColumnSchema, `schema[["a", "b"]]` a Schema; `+` merges (the right-hand side wins on equal
    names), `-` removes columns by name or by another schema's names.
    """

    def __init__(self, columns: Iterable[ColumnSchema | str] = ()) -> None:
        columns = [columns] if isinstance(columns, str) else columns  # a name is not a sequence of letters here
        known = [ColumnSchema(column) if isinstance(column, str) else column for column in columns]
        self._columns: dict[str, ColumnSchema] = {column.name: column for column in known}
        if len(self._columns) < len(known):
            names = [column.name for column in known]
            twice = next(name for name in names if names.count(name) > 1)
            raise SchemaError(f"Schema: the column {twice!r} is given twice. Rename one of the two.")

    @property
    def column_names(self) -> list[str]:
        """Names in order."""
        return list(self._columns)

    @property
    def columns(self) -> list[ColumnSchema]:
        """Columns in order."""
        return list(self._columns.values())

    @property
    def first(self) -> ColumnSchema:
        """The first column; handy after a selection that leaves one.

        Raises:
            SchemaError: the schema has no columns.
        """
        if not self._columns:
            raise SchemaError("Schema: it has no columns, so there is no first one. Check the tags selected by.")
        return next(iter(self._columns.values()))

    def select_by_tag(self, tags: str | Iterable[str]) -> Schema:
        """Columns that carry the tag, or any of several."""
        wanted = _wanted(tags)
        return Schema(column for column in self if column.tags & wanted)

    def excluding_by_tag(self, tags: str | Iterable[str]) -> Schema:
        """Columns that carry none of the tags."""
        unwanted = _wanted(tags)
        return Schema(column for column in self if not column.tags & unwanted)

    def select_by_name(self, names: str | Iterable[str]) -> Schema:
        """Columns of these names, in the order given; a name given twice counts once.

        Raises:
            UnknownColumnError: a name that the schema does not have.
        """
        return Schema(self[name] for name in dict.fromkeys([names] if isinstance(names, str) else names))

    select = select_by_name

    def excluding_by_name(self, names: str | Iterable[str]) -> Schema:
        """All columns but these; names that the schema does not have are ignored."""
        unwanted = {names} if isinstance(names, str) else set(names)
        return Schema(column for column in self if column.name not in unwanted)

    excluding = without = excluding_by_name

    def get(self, name: str, default: ColumnSchema | None = None) -> ColumnSchema | None:
        """The column of this name, or the default."""
        return self._columns.get(name, default)

    @overload
    def __getitem__(self, name: str) -> ColumnSchema: ...

    @overload
    def __getitem__(self, name: list[str] | tuple[str, ...]) -> Schema: ...

    def __getitem__(self, name: str | list[str] | tuple[str, ...]) -> ColumnSchema | Schema:
        if not isinstance(name, str):
            return self.select_by_name(name)
        if name not in self._columns:
            raise UnknownColumnError(name, self._columns, where="Schema")
        return self._columns[name]

    def __add__(self, other: Schema | ColumnSchema) -> Schema:
        added = [other] if isinstance(other, ColumnSchema) else other.columns
        return Schema({**self._columns, **{column.name: column for column in added}}.values())

    def __sub__(self, other: Schema | Iterable[str] | str) -> Schema:
        return self.excluding_by_name(other.column_names if isinstance(other, Schema) else other)

    def __iter__(self) -> Iterator[ColumnSchema]:
        return iter(self._columns.values())

    def __len__(self) -> int:
        return len(self._columns)

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and self.columns == other.columns

    def __hash__(self) -> int:
        return hash(tuple(self.columns))

    def __repr__(self) -> str:
        rows = [_cells(column) for column in self]
        widths = [max([len(row[i]) for row in rows], default=0) for i in range(4)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n  ".join([f"Schema of {len(self)} columns", *lines])

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{title}</th>" for title in ("name", "dtype", "cardinality", "tags"))
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(column)) + "</tr>" for column in self
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def to_dict(self) -> dict[str, Any]:
        """What JSON holds of the schema."""
        return {"kind": "schema", "version": _VERSION, "columns": [column.to_dict() for column in self]}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], *, where: str = "Schema") -> Schema:
        """The schema that `to_dict` described.

        Raises:
            FormatError: not a schema, or one of a newer version.
        """
        if not isinstance(content, Mapping) or content.get("kind") != "schema" or "columns" not in content:
            raise FormatError(f"{where}: this is not a schema. Give what `Schema.save` wrote.")
        if not isinstance(content.get("version"), int):
            raise FormatError(f"{where}: the schema has no version. Give what `Schema.save` wrote.")
        if content["version"] > _VERSION:
            raise FormatError(
                f"{where}: schema version {content['version']} is newer than the {_VERSION} that this Tamis reads. "
                "Upgrade Tamis."
            )
        try:
            return cls(ColumnSchema(**{**column, "tags": frozenset(column["tags"])}) for column in content["columns"])
        except (TypeError, KeyError, ValueError) as error:
            raise FormatError(
                f"{where}: a column of the schema is broken ({error}). Write the schema again."
            ) from error

    def to_json(self) -> str:
        """The schema as JSON text.

        Raises:
            NotSavableError: a column's properties hold something that JSON cannot, NaN for example.
        """
        for column in self:
            try:
                json.dumps(column.to_dict(), allow_nan=False)
            except (TypeError, ValueError) as error:
                raise NotSavableError(
                    f"column {column.name!r}: its properties cannot be saved as JSON ({error}). "
                    "Use plain numbers, texts, lists and dicts."
                ) from error
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def save(self, path: str | Path) -> None:
        """Write the schema as a JSON file, or as `schema.json` into a folder."""
        file = Path(path)
        (file / SCHEMA_FILE if file.is_dir() else file).write_text(self.to_json() + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Schema:
        """The schema of a JSON file, or of `schema.json` in a folder.

        Raises:
            FormatError: no such file, or not a schema.
        """
        file = Path(path)
        file = file / SCHEMA_FILE if file.is_dir() else file
        return cls.from_dict(read_json(file), where=str(file))


def _wanted(tags: str | Iterable[str]) -> frozenset[str]:
    return frozenset(_as_tag(tag) for tag in ([tags] if isinstance(tags, str) else tags))


def _cells(column: ColumnSchema) -> tuple[str, str, str, str]:
    dtype = f"list[{column.dtype}]" if column.is_list else column.dtype
    cardinality = "" if column.cardinality is None else f"{column.cardinality:,}"
    return column.name, dtype, cardinality, ", ".join(sorted(column.tags))
